"""Counting in the background what ``csi-powerflex volumes orphans`` and ``snapshots orphans`` show.

It makes no request to an array. It takes the list of all volumes that a call has read, mostly a call of the
attacher. Only the replica whose sidecars list volumes has such lists, so only that one counts.
"""

from __future__ import annotations

import collections
import datetime
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from csi_powerflex import names
from csi_powerflex.background import Loop
from csi_powerflex.errors import DriverError
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import VolumeOutline
from csi_powerflex.model.cluster import Needed
from csi_powerflex.model.ports import Fleet
from csi_powerflex.names import Kind
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.listing import Contents, Listing, SystemContents

log = Log(__name__)

_NAME = "orphans"
# The call that creates a younger object may not have ended. The commands have the same default.
_LEAST_AGE = datetime.timedelta(hours=1)
# Without a list for this long, another replica has them.
_LIST_SECONDS = 900.0
# After Kubernetes could not be asked, and between two looks whether there was a list.
_RETRY_SECONDS = 60.0

_KINDS = {True: ("volume",), False: ("snapshot",)}


@dataclass(frozen=True, slots=True)
class _Question:
    """What the cluster needs, and the value of ``time.monotonic()`` when that was read."""

    needed: Needed
    at: float


class OrphanCount:
    """Counts again every ``seconds``.

    Args:
        fleet: the systems.
        listing: whose lists are used.
        read_needed: reads what the cluster needs. It may raise ``DriverError``.
        cluster_id: the cluster whose objects count.
        seconds: between two counts.
        least_age: of an object that counts.
    """

    def __init__(
        self,
        fleet: Fleet,
        listing: Listing,
        read_needed: Callable[[], Needed],
        cluster_id: str,
        *,
        seconds: float,
        least_age: datetime.timedelta = _LEAST_AGE,
    ) -> None:
        self._fleet = fleet
        self._read_needed = read_needed
        self._cluster_id = cluster_id
        self._seconds = seconds
        self._least_age = least_age
        self._lock = threading.Lock()
        self._listed_at = float("-inf")
        self._due = float("-inf")
        self._question: _Question | None = None
        self._contents: Contents | None = None
        self._logged: dict[str, collections.Counter[tuple[str, ...]]] = {}
        self._loop = Loop(_NAME, self._step)
        listing.after_read(self._take)

    def start(self) -> None:
        """Begin to count."""
        self._loop.start()

    def stop(self) -> None:
        """Begin no further count. One under way ends by itself."""
        self._loop.request_stop()

    def _take(self, contents: Contents, began: float) -> None:
        """Keep a list that a call has read, if a count waits for one."""
        with self._lock:
            self._listed_at = time.monotonic()
            # Kubernetes must be asked first. Else a volume that was deleted in between would be an orphan.
            if self._question is not None and began >= self._question.at:
                self._contents = contents
        self._loop.wake()

    def _step(self) -> float:
        """Ask Kubernetes, or count with the list that came since. Returns the seconds until the next step."""
        now = time.monotonic()
        with self._lock:
            question, contents, listed_at = self._question, self._contents, self._listed_at
            if contents is not None or now - listed_at >= _LIST_SECONDS:
                # What was read is old by the time of the next list.
                self._question = self._contents = None
        if now - listed_at >= _LIST_SECONDS:
            self._forget()
        elif question is not None and contents is not None:
            self._count(question.needed, contents)
            self._due = now + self._seconds
            return self._seconds
        elif question is None and now >= self._due:
            self._ask()
        return _RETRY_SECONDS

    def _ask(self) -> None:
        try:
            needed = self._read_needed()
        except DriverError as error:
            log.warning("orphans not counted", reason=error)
            self._due = time.monotonic() + _RETRY_SECONDS
            self._forget()
            return
        with self._lock:
            self._question = _Question(needed, time.monotonic())

    def _forget(self) -> None:
        """Report no figures: another replica has them, or no one."""
        self._logged = {}
        for array in self._fleet.arrays():
            metrics.ORPHANS.show(array.label, {})

    def _count(self, needed: Needed, contents: Contents) -> None:
        configured = {array.label for array in self._fleet.arrays()}
        for system in contents.systems:
            label = system.label
            if label not in configured:
                continue  # it was removed from the systems file since
            counted = self._orphans_of(system, needed)
            metrics.ORPHANS.show(label, {kind: counted[kind] for kind in _KINDS.values()})
            if counted != self._logged.get(label, collections.Counter()):
                volumes, snapshots = (counted[kind] for kind in _KINDS.values())
                log.info("orphans counted", system=label, volumes=volumes, snapshots=snapshots)
            self._logged[label] = counted

    def _orphans_of(self, system: SystemContents, needed: Needed) -> collections.Counter[tuple[str, ...]]:
        counted: collections.Counter[tuple[str, ...]] = collections.Counter()
        latest = datetime.datetime.now(datetime.UTC) - self._least_age
        for positions in (system.volumes_in(system.pools), system.snapshots):
            for position in positions:
                volume = system.all[position]
                if volume.created <= latest and self._is_orphan(system.system_id, volume, needed):
                    counted[_KINDS[names.kind_of(volume.name) is Kind.VOLUME]] += 1
        return counted

    def _is_orphan(self, system_id: str, volume: VolumeOutline, needed: Needed) -> bool:
        return (
            names.belongs_to(volume.name, self._cluster_id)
            and volume.name not in needed.names
            and str(VolumeHandle(system_id, volume.volume_id)) not in needed.handles
        )
