"""Which cached copies a VolumeImage needs, and what its status is after each step. There are no effects.

A copy is a snapshot on the array. All clones of it are in one volume tree, which has a limit. So a copy may
have only as many clones as the specification says. Shortly before that another copy is begun. When the first
is full, later claims get clones of that one. A copy that is full, unused or of an earlier revision is
retired: it is removed, and its clones stay.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from csi_powerflex.model.mover import Outcome
from csi_powerflex.operator.api import Condition, with_condition
from csi_powerflex.operator.images.definition import (
    MAKING,
    CachedCopy,
    ImageSpec,
    ImageStatus,
    Phase,
    Stage,
    VolumeImage,
    WaitingClaim,
)
from csi_powerflex.operator.movers.movers import Running
from csi_powerflex.operator.quantities import whole_bytes
from csi_powerflex.operator.sources import Taken
from csi_powerflex.units import readable

CACHED = "Cached"
"""The condition of an image that is True while a copy of its present revision can be cloned."""

MOST_CLAIMS = 100
"""The most claims in the status at a time. The others wait for a place."""

_MOST_WORDS = 1000
_FIRST_PAUSE = datetime.timedelta(minutes=5)
_LONGEST_PAUSE = datetime.timedelta(hours=1)

Clones = Mapping[str, Collection[str]]
"""The UIDs of the claims that have a clone, for each cached copy."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a volume of a claim would be.

    Attributes:
        pool: system, protection domain and pool of its classes, in words.
        storage_class: its StorageClass.
        attributes_class: its VolumeAttributesClass; empty for none.
    """

    pool: str
    storage_class: str
    attributes_class: str = ""


def revision_of(spec: ImageSpec) -> str:
    """What changes if, and only if, the image has to be imported again."""
    content = msgspec.json.encode((spec.source, spec.format, spec.checksum, spec.size))
    return hashlib.sha256(content).hexdigest()[:12]


def planned(
    found: VolumeImage,
    ahead: Sequence[Place],
    clones: Clones,
    now: datetime.datetime,
    primes: Collection[str] = (),
) -> ImageStatus:
    """The status with the copies that are needed, and with a copy for each claim that can have one.

    Args:
        found: the object; its status has the claims that wait.
        ahead: where a copy is needed before a claim needs it.
        clones: which clones exist.
        now: the present time.
        primes: the UIDs of the claims that a clone was begun for, if more claims wait than there are places.
    """
    plan = _Plan(found, ahead, clones, now)
    plan.retire_former()
    plan.limit(primes)
    plan.assign()
    plan.begin()
    plan.retire()
    return plan.status()


class _Plan:
    """The copies and claims of a status while they are planned."""

    def __init__(
        self, found: VolumeImage, ahead: Sequence[Place], clones: Clones, now: datetime.datetime
    ) -> None:
        self._image = found
        self._before = found.status
        self._spec, self._now, self._ahead = found.spec, now, ahead
        self._revision = revision_of(found.spec)
        self._copies = list(found.status.copies)
        self._claims = list(found.status.claims)
        self._made = found.status.made
        self._without_place: set[str] = set()
        self._used = {item.name: set(clones.get(item.name, ())) for item in self._copies}
        for claim in self._claims:
            if claim.copy in self._used:
                self._used[claim.copy].add(claim.uid)

    def status(self) -> ImageStatus:
        """What came of it."""
        before = self._before
        if before.revision != self._revision:
            before = replace(before, revision=self._revision, digest="", disk_bytes=0, format="")
        copies = tuple(replace(item, clones=len(self._used[item.name])) for item in self._copies)
        return replace(before, copies=copies, claims=tuple(self._claims), made=self._made)

    def retire_former(self) -> None:
        """Retire copies of other revisions. A claim whose copy cannot be used gets another one."""
        for number, item in enumerate(self._copies):
            if item.revision != self._revision:
                self._retire(number)
        usable = {item.name for item in self._copies if item.stage is Stage.READY}
        for number, claim in enumerate(self._claims):
            if claim.copy and claim.copy not in usable and not claim.volume:
                self._claims[number] = replace(claim, copy="")

    def limit(self, primes: Collection[str]) -> None:
        """Keep as many claims as there are places for. Those that cannot get a clone now leave first."""
        ranked = sorted(self._claims, key=lambda claim: self._rank(claim, primes))
        left_out = {claim.uid: claim.pool for claim in ranked[MOST_CLAIMS:]}
        self._without_place = set(left_out.values())
        self._claims = [claim for claim in self._claims if claim.uid not in left_out]

    def _rank(self, claim: WaitingClaim, primes: Collection[str]) -> int:
        """The smaller, the sooner the claim has a place. One that something was made for always has it."""
        if claim.copy or claim.volume or claim.uid in primes:
            return 0
        if not claim.pool or self._shortage(claim):
            return 4
        if any(self._left(at) > 0 for at in self._ready(claim.pool)):
            return 1
        failed = any(item.pool == claim.pool and item.stage is Stage.FAILED for item in self._copies)
        return 3 if failed else 2

    def assign(self) -> None:
        """Give each claim a copy, if there is one with a clone left."""
        for number, claim in enumerate(self._claims):
            if claim.copy or not claim.pool:
                continue
            if shortage := self._shortage(claim):
                self._claims[number] = replace(claim, message=shortage)
                continue
            position = next((at for at in self._ready(claim.pool) if self._left(at) > 0), None)
            if position is None:
                self._claims[number] = replace(claim, message=self._waits_for(claim.pool))
                continue
            chosen = self._copies[position]
            self._used[chosen.name].add(claim.uid)
            self._copies[position] = replace(chosen, used_at=self._now)
            self._claims[number] = replace(claim, copy=chosen.name, message="the clone is made")

    def begin(self) -> None:
        """Begin a copy where claims wait for one, and where the last one is nearly full."""
        waiting = [
            Place(claim.pool, claim.storage_class, claim.attributes_class)
            for claim in self._claims
            if claim.pool and not claim.copy and not self._shortage(claim)
        ]
        full = [
            Place(item.pool, item.storage_class, item.attributes_class)
            for item in self._copies
            if item.stage is Stage.READY
        ]
        for place in (*waiting, *self._ahead, *full):
            made = any(
                item.pool == place.pool and item.stage in (*MAKING, Stage.FAILED) for item in self._copies
            )
            reserve = self._spec.clones_per_copy // 10
            if not made and not any(self._left(at) > reserve for at in self._ready(place.pool)):
                self._add(place)

    def retire(self) -> None:
        """Retire what is full and has a successor, what is not used, and what is too much."""
        for at, item in enumerate(self._copies):
            if not self._is_idle(at):
                continue
            others = [other for other in self._ready(item.pool) if other != at and self._left(other) > 0]
            replaced = self._left(at) <= 0 and bool(others)
            if replaced or (self._is_unused(item) and not self._is_ahead(item)):
                self._retire(at)
        for at, item in enumerate(self._copies):
            if item.stage is Stage.FAILED and not self._is_wanted(item):
                self._retire(at)
        for at in self._surplus():
            if self._is_idle(at) and not self._is_ahead(self._copies[at]):
                self._retire(at)

    def _surplus(self) -> Sequence[int]:
        """The ready copies that are too many: of the pool that was not used for longest, the older first."""
        ready = [at for at, item in enumerate(self._copies) if item.stage is Stage.READY]
        used: dict[str, str] = {}
        for at in ready:
            pool, since = self._copies[at].pool, str(self._copies[at].used_at)
            used[pool] = max(used.get(pool, ""), since)
        ready.sort(key=lambda at: (used[self._copies[at].pool], at))
        return ready[: max(0, len(ready) - self._spec.keep.copies)]

    def _add(self, place: Place) -> None:
        self._made += 1
        made = CachedCopy(
            name=f"image-{self._image.metadata.uid}-{self._made}",
            pool=place.pool,
            revision=self._revision,
            storage_class=place.storage_class,
            attributes_class=place.attributes_class,
            message="the import begins",
        )
        self._used[made.name] = set()
        self._copies.append(made)

    def _retire(self, at: int) -> None:
        self._copies[at] = replace(self._copies[at], stage=Stage.RETIRED, progress=None, message="is removed")

    def _ready(self, pool: str) -> list[int]:
        return [
            at
            for at, item in enumerate(self._copies)
            if item.pool == pool and item.stage is Stage.READY and item.revision == self._revision
        ]

    def _left(self, at: int) -> int:
        """How many more clones the copy may have: a fifth more while its successor cannot be made."""
        limit, item = self._spec.clones_per_copy, self._copies[at]
        if any(other.pool == item.pool and other.stage is Stage.FAILED for other in self._copies):
            limit += limit // 5
        return limit - len(self._used[item.name])

    def _is_idle(self, at: int) -> bool:
        """Whether no claim waits for a clone of the copy, and it is ready."""
        name = self._copies[at].name
        return self._copies[at].stage is Stage.READY and all(claim.copy != name for claim in self._claims)

    def _is_unused(self, item: CachedCopy) -> bool:
        hours, since = self._spec.keep.unused_hours, item.used_at or self._now
        return hours > 0 and self._now - since >= datetime.timedelta(hours=hours)

    def _is_ahead(self, item: CachedCopy) -> bool:
        return any(place.pool == item.pool for place in self._ahead)

    def _is_wanted(self, item: CachedCopy) -> bool:
        """Whether a claim waits in its pool, or it is made ahead or as the successor of another copy."""
        waits = any(claim.pool == item.pool and not claim.copy for claim in self._claims)
        waits |= item.pool in self._without_place
        return waits or self._is_ahead(item) or bool(self._ready(item.pool))

    def _shortage(self, claim: WaitingClaim) -> str:
        """Why the claim is too small; empty if it is not."""
        ready = self._ready(claim.pool)
        needed = self._copies[ready[0]].size_bytes if ready else whole_bytes(self._spec.size)
        if claim.requested_bytes >= needed:
            return ""
        return (
            f"it asks for {readable(claim.requested_bytes)}, and the image needs {readable(needed)}; create "
            "the claim again with at least that"
        )

    def _waits_for(self, pool: str) -> str:
        """What the claim waits for, in words."""
        making = [
            item for item in self._copies if item.pool == pool and item.stage in (*MAKING, Stage.FAILED)
        ]
        return f"waits for the image: {making[-1].message}" if making else "waits for the image"


# --- the steps of a copy ----------------------------------------------------------------------------


def waiting(item: CachedCopy, text: str) -> CachedCopy:
    """Something is missing. The step is repeated."""
    return replace(item, message=text)


def running(item: CachedCopy, mover: Running) -> CachedCopy:
    """The Job works."""
    return replace(item, progress=mover.progress or item.progress, message=mover.words)


def imported(item: CachedCopy, outcome: Outcome) -> CachedCopy:
    """The Job is done."""
    return replace(item, stage=Stage.CACHING, progress=None, message=outcome.message)


def secured(item: CachedCopy, taken: Taken) -> CachedCopy:
    """The snapshot exists, and the operator's namespace has it."""
    return replace(
        item,
        stage=Stage.CLEANING,
        content=taken.content,
        size_bytes=taken.size,
        message="what was temporary is removed",
    )


def ready(item: CachedCopy, now: datetime.datetime) -> CachedCopy:
    """It can be cloned."""
    return replace(item, stage=Stage.READY, content="", used_at=now, attempts=0, retry_at=None, message="")


def failed(item: CachedCopy, failure: str, now: datetime.datetime) -> CachedCopy:
    """The import has failed. It is tried again after a pause, which doubles each time."""
    pause = min(_FIRST_PAUSE * 2 ** min(item.attempts, 16), _LONGEST_PAUSE)
    return replace(
        item,
        stage=Stage.FAILED,
        attempts=item.attempts + 1,
        retry_at=now + pause,
        progress=None,
        message=f"the import failed: {failure}",
    )


def may_retry(item: CachedCopy, now: datetime.datetime) -> bool:
    """Whether the pause after a failure is over."""
    return item.retry_at is None or now >= item.retry_at


def retried(item: CachedCopy) -> CachedCopy:
    """The import begins again."""
    return replace(item, stage=Stage.IMPORTING, content="", retry_at=None, message="the import begins again")


def known(status: ImageStatus, outcome: Outcome) -> ImageStatus:
    """The status after an import. What is imported later must be the same image."""
    return replace(status, digest=outcome.digest, disk_bytes=outcome.size, format=outcome.format)


# --- the whole status -------------------------------------------------------------------------------


def told(
    found: VolumeImage, status: ImageStatus, now: datetime.datetime, problems: Sequence[str] = ()
) -> ImageStatus:
    """The status with the phase, message, progress and condition that follow from its copies and claims.

    ``problems`` are what is wrong with the specification.
    """
    phase = _phase(found, status)
    texts = list(problems)
    texts += [item.message for item in status.copies if item.message and item.stage is not Stage.RETIRED]
    texts += [f"claim {claim.claim}: {claim.message}" for claim in status.claims if claim.message]
    cached = any(item.stage is Stage.READY and item.revision == status.revision for item in status.copies)
    condition = Condition(
        type=CACHED,
        status="True" if cached else "False",
        reason=phase.value,
        message="; ".join(texts)[:_MOST_WORDS]
        or ("a copy is cached" if cached else "no claim has needed the image yet"),
        last_transition_time=now,
    )
    return replace(
        status,
        phase=phase,
        message="; ".join(texts),
        progress=next((item.progress for item in status.copies if item.progress is not None), None),
        conditions=with_condition(status.conditions, condition),
    )


def _phase(found: VolumeImage, status: ImageStatus) -> Phase:
    if found.deleting:
        return Phase.DELETING
    stages = {item.stage for item in status.copies}
    if stages & set(MAKING):
        return Phase.IMPORTING
    if Stage.FAILED in stages:
        return Phase.FAILED
    return Phase.CLONING if any(claim.copy for claim in status.claims) else Phase.READY
