"""What an object on the array is, and whether this cluster may delete it.

The name says both: ``names.array_name`` gives one kind and one cluster to each name. An object with another
name was made by another cluster, another driver or a person. It is deleted only if the systems file names the
beginning of its name, as for volumes that were moved from another driver.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable, Collection, Set

from csi_powerflex import names
from csi_powerflex.errors import FailedPrecondition, InvalidArgument
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Volume
from csi_powerflex.model.ports import Array
from csi_powerflex.names import Kind

# An object that is not remembered costs one more request when it is deleted. Meanwhile a person may rename
# it, so that it must not be deleted any more, or another controller may put it into a snapshot policy.
_MAX_REMEMBERED = 16384
_REMEMBERED_SECONDS = 60.0

_WORDS = {Kind.VOLUME: "a volume", Kind.SNAPSHOT: "a snapshot", Kind.GROUP_MEMBER: "a snapshot"}


class Ownership:
    """The objects that this cluster may delete; safe to share between threads.

    For a minute it remembers objects that this process has created or read, so that their deletion needs no
    look.

    Args:
        cluster_id: the cluster.
        max_remembered: the most objects that are remembered.
        clock: returns seconds, such as ``time.monotonic``.
    """

    def __init__(
        self,
        cluster_id: str,
        *,
        max_remembered: int = _MAX_REMEMBERED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster_id = cluster_id
        self._max_remembered = max_remembered
        self._clock = clock
        self._lock = threading.Lock()
        # The kind of each object, and the time until which it is remembered.
        self._kinds: collections.OrderedDict[VolumeHandle, tuple[Kind, float]] = collections.OrderedDict()

    @property
    def cluster_id(self) -> str:
        """The cluster."""
        return self._cluster_id

    def kind_of(self, array: Array, volume: Volume) -> Kind | None:
        """The kind of an object that this cluster may delete; None for any other object."""
        if volume.taken_by is not None:
            return None  # its policy removes it, whatever the name is
        name = volume.name or ""
        if names.belongs_to(name, self._cluster_id):
            return names.kind_of(name)
        if name.startswith(tuple(array.adopted_volumes)):
            return Kind.VOLUME
        if name.startswith(tuple(array.adopted_snapshots)):
            return Kind.SNAPSHOT if volume.copied else Kind.VOLUME
        return None

    def is_named_by_cluster(self, volume: Volume) -> bool:
        """Whether its name says that this cluster created it as a volume."""
        own = names.belongs_to(volume.name, self._cluster_id)
        return own and names.kind_of(volume.name) is Kind.VOLUME

    def created(self, handle: VolumeHandle, kind: Kind) -> None:
        """Remember an object that this cluster has created."""
        with self._lock:
            self._kinds[handle] = kind, self._clock() + _REMEMBERED_SECONDS
            self._kinds.move_to_end(handle)
            if len(self._kinds) > self._max_remembered:
                self._kinds.popitem(last=False)

    def seen(self, array: Array, volume: Volume) -> None:
        """Remember an object that was read. A volume in a snapshot policy is read before its deletion."""
        kind = self.kind_of(array, volume)
        if kind is not None and volume.policy_id is None:
            self.created(volume.handle, kind)

    def forget(self, handle: VolumeHandle) -> None:
        """Forget an object: it does not exist any more, or is to be read before its deletion."""
        with self._lock:
            self._kinds.pop(handle, None)

    def require_volume(self, array: Array, handle: VolumeHandle) -> Volume | None:
        """Check that the object may be deleted as a volume. Raises as ``require_snapshot``.

        Returns the volume if it had to be read.
        """
        return self._require(array, handle, {Kind.VOLUME})

    def require_snapshot(self, array: Array, handle: VolumeHandle) -> None:
        """Check that the object may be deleted as a snapshot.

        Raises:
            NotFound: it does not exist.
            InvalidArgument: it is of another kind.
            FailedPrecondition: this cluster did not make it.
        """
        self._require(array, handle, {Kind.SNAPSHOT, Kind.GROUP_MEMBER})

    def require_group(self, array: Array, group: str, members: Collection[Volume]) -> None:
        """Check that a group consists of the snapshots of one group snapshot.

        Raises:
            InvalidArgument: an object is of another kind.
            FailedPrecondition: this cluster did not make it.
        """
        for member in members:
            kind = self.kind_of(array, member)
            if kind is None:
                raise _foreign(array, member, f"group snapshot {group}", self._cluster_id)
            if kind is not Kind.GROUP_MEMBER:
                raise InvalidArgument(
                    f"group snapshot {group} was not removed: {member.handle} in it is {_WORDS[kind]}, and "
                    "none that was taken for a group snapshot; correct the id"
                )

    def _remembered(self, handle: VolumeHandle) -> Kind | None:
        with self._lock:
            kind, until = self._kinds.get(handle, (None, 0.0))
            return kind if self._clock() < until else None

    def _require(self, array: Array, handle: VolumeHandle, kinds: Set[Kind]) -> Volume | None:
        wanted = _WORDS[min(kinds)]
        kind = self._remembered(handle)
        volume = None
        if kind is None:
            volume = array.volume(handle.volume_id)
            kind = self.kind_of(array, volume)
            if kind is None:
                raise _foreign(array, volume, str(handle), self._cluster_id)
        if kind not in kinds:
            raise InvalidArgument(
                f"{handle} was not removed: it is {_WORDS[kind]}, and its removal as {wanted} was asked for; "
                "correct the id"
            )
        return volume


def _foreign(array: Array, volume: Volume, what: str, cluster_id: str) -> FailedPrecondition:
    name = repr(volume.name) if volume.name else "nothing"
    return FailedPrecondition(
        f"{what} was not removed: on the array {volume.handle} is called {name}, so cluster {cluster_id} did "
        "not create it; remove it at the array. If it was moved from another driver, put the beginning of "
        f"its name into adoptVolumes or adoptSnapshots of system {array.label} in the systems file"
    )
