"""Snapshot policies of the array: they take snapshots of volumes by a schedule, and remove them.

A volume is in at most one policy. A snapshot that a policy has taken is an auto snapshot: the policy removes
it when it expires, unless it is locked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from csi_powerflex.ids import VolumeHandle

SNAPSHOT_POLICY = "snapshotPolicy"
"""The class parameter that names the policy of a volume."""

DELETE_POLICY_SNAPSHOTS = "deletePolicySnapshots"
"""The class parameter that says whether the auto snapshots of a volume are deleted with it."""

NO_POLICY = "none"
"""What the class parameter says for no policy, in any case of letters."""


@dataclass(frozen=True, slots=True)
class SnapshotPolicy:
    """A snapshot policy.

    Attributes:
        paused: whether it takes no snapshots now.
        minutes: the time between two snapshots.
        retained: how many snapshots it keeps on each of its levels, the most frequent level first.
    """

    id: str
    name: str
    paused: bool
    minutes: int
    retained: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} (id {self.id})" if self.name != self.id else self.id

    @property
    def schedule(self) -> str:
        """How often it takes snapshots and how many it keeps, in words."""
        kept = " + ".join(map(str, self.retained))
        state = ", paused" if self.paused else ""
        return f"every {self.minutes} minutes, keeps {kept}{state}"


class PolicyNeeds(Protocol):
    """What the classes of a volume say about snapshot policies, as far as it is known without a request."""

    def names_policy(self, handle: VolumeHandle, /) -> bool:
        """Whether a class of the volume names a policy.

        Raises:
            Unavailable: it is not known now.
        """
        ...

    def deletes_policy_snapshots(self, handle: VolumeHandle, /) -> bool:
        """Whether the auto snapshots of the volume are deleted with it.

        Raises:
            Unavailable: it is not known now.
        """
        ...


NeededHandles = Callable[[], Collection[str]]
"""Returns the handles that PersistentVolumes and VolumeSnapshotContents have, of every CSI driver.

It raises DriverError if it cannot tell.
"""


def is_none(named: str) -> bool:
    """Whether the parameter says that the volume is in no policy."""
    return named.casefold() == NO_POLICY
