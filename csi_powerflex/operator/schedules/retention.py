"""Which snapshots of a schedule are removed. Only values are decided about; nothing here has an effect."""

from __future__ import annotations

import collections
import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.operator.schedules.definition import AGE_PATTERN, Keep

_MINUTES = {"m": 1, "h": 60, "d": 24 * 60, "w": 7 * 24 * 60}


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot of a schedule.

    Attributes:
        claim: the claim that it was taken of; empty for a group.
        created: when its object was created.
        ready: whether it has its data.
        claim_uid: the UID of that claim; empty if it is not known.
    """

    name: str
    uid: str
    claim: str
    created: datetime.datetime
    ready: bool
    claim_uid: str = ""


def age(text: str) -> datetime.timedelta | None:
    """The age as a time; None if it is empty.

    Raises:
        InvalidArgument: it has another form.
    """
    if not text:
        return None
    if re.fullmatch(AGE_PATTERN, text) is None:
        raise InvalidArgument(f"keep.age is {text!r}; give a number with m, h, d or w, such as 14d")
    return datetime.timedelta(minutes=int(text[:-1]) * _MINUTES[text[-1]])


def expired(taken: Iterable[Taken], keep: Keep, now: datetime.datetime) -> Sequence[Taken]:
    """What is removed, the oldest first.

    A snapshot is removed only if a newer one of the same claim is ready. So the newest usable one always
    stays, also if no snapshot could be taken since. A claim that was created again under the name is another
    one: it may be empty, and the snapshots of the first may have the only data.

    Raises:
        InvalidArgument: the age has another form.
    """
    longest = age(keep.age)
    by_claim: dict[tuple[str, str], list[Taken]] = collections.defaultdict(list)
    for item in taken:
        by_claim[item.claim, item.claim_uid].append(item)
    found: list[Taken] = []
    for items in by_claim.values():
        newer_ready = 0
        for item in sorted(items, key=_order, reverse=True):
            too_many = bool(keep.count) and newer_ready >= keep.count
            too_old = longest is not None and now - item.created > longest
            if newer_ready and (too_many or too_old):
                found.append(item)
            newer_ready += item.ready
    return sorted(found, key=_order)


def _order(item: Taken) -> tuple[datetime.datetime, str]:
    return item.created, item.name
