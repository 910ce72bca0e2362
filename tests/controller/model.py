"""What the CSI specification makes of a sequence of calls, in a few lines, to judge the driver by.

It knows volumes, snapshots, groups and mappings, and of PowerFlex only in what steps sizes come and that the
copies of a deleted volume count as copies of what that was copied from. Sizes are GiB.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import grpc

from csi_powerflex.pb import csi_pb2

Code = grpc.StatusCode

DEFAULT_SIZE = 8


class Refused(Exception):
    """The call has to be refused, with one of ``codes``."""

    def __init__(self, *codes: Code) -> None:
        super().__init__(", ".join(code.name for code in codes))
        self.codes = codes


@dataclass(eq=False)
class Item:
    """A volume or a snapshot.

    ``origin`` is the id of what it was copied from, of what that was copied from once it is gone, or None.
    """

    id: str
    size: int
    origin: str | None
    message: csi_pb2.Volume | csi_pb2.Snapshot
    copied: bool
    iops: int = 0
    published: dict[str, str] = field(default_factory=dict)
    """Nodes, and whether each may write ("ReadWrite") or not ("ReadOnly")."""

    @property
    def system(self) -> str:
        return self.id.partition("-")[0]


@dataclass
class Group:
    """A group snapshot: its snapshots by the ids of their sources."""

    id: str
    members: dict[str, Item]


class Model:
    """Everything that should exist, by CSI name."""

    def __init__(self, steps: dict[str, int]) -> None:
        self._steps = steps
        self.volumes: dict[str, Item] = {}
        self.snapshots: dict[str, Item] = {}
        self.groups: dict[str, Group] = {}

    def items(self) -> list[Item]:
        """Every volume and snapshot."""
        members = [item for group in self.groups.values() for item in group.members.values()]
        return [*self.volumes.values(), *self.snapshots.values(), *members]

    # --- sizes -----------------------------------------------------------------------------------

    def rounded(self, system: str, *, required: int, limit: int) -> int:
        """The size that a volume gets on a system.

        Raises:
            Refused: there is none in the range.
        """
        step = self._steps[system]
        highest = limit // step * step if limit else 10**6
        size = -(-required // step) * step if required else min(DEFAULT_SIZE, highest)
        if (limit and limit < required) or not 0 < size <= highest:
            raise Refused(Code.OUT_OF_RANGE)
        return size

    # --- volumes ---------------------------------------------------------------------------------

    def create(self, name: str, system: str, *, required: int, limit: int) -> int:
        """The size that CreateVolume has to answer."""
        there = self.volumes.get(name)
        if there is None:
            return self.rounded(system, required=required, limit=limit)
        if there.copied or not _within(there.size, required, limit):
            raise Refused(Code.ALREADY_EXISTS, Code.OUT_OF_RANGE)
        return there.size

    def copy(self, name: str, source: Item | None, *, required: int, limit: int) -> int:
        """The size that CreateVolume from a source has to answer."""
        if source is None:
            raise Refused(Code.NOT_FOUND)
        there = self.volumes.get(name)
        if there is None:
            if limit and limit < source.size:
                raise Refused(Code.OUT_OF_RANGE)
            return self.rounded(source.system, required=max(required, source.size), limit=limit)
        if there.origin != source.id or (limit and there.size > limit):
            raise Refused(Code.ALREADY_EXISTS, Code.OUT_OF_RANGE)
        if there.size >= required:
            return there.size
        if there.size == source.size:
            # It could have been cut before it was grown, so it is grown now.
            return self.rounded(source.system, required=required, limit=limit)
        raise Refused(Code.ALREADY_EXISTS, Code.OUT_OF_RANGE)

    def delete(self, name: str) -> None:
        """DeleteVolume."""
        there = self.volumes.get(name)
        if there is not None:
            if there.published:
                raise Refused(Code.FAILED_PRECONDITION)
            self._gone(self.volumes.pop(name))

    def publish(self, name: str, node: str, access: str, *, shared: bool) -> None:
        """ControllerPublishVolume."""
        there = self.found(name)
        if node in there.published:
            if there.published[node] != access:
                raise Refused(Code.ALREADY_EXISTS)
        elif there.published and not shared:
            raise Refused(Code.FAILED_PRECONDITION)
        there.published[node] = access

    def unpublish(self, name: str, node: str | None) -> None:
        """ControllerUnpublishVolume, of all nodes for None."""
        there = self.volumes.get(name)
        if there is not None:
            for each in [node] if node else list(there.published):
                there.published.pop(each, None)

    def expand(self, name: str, *, required: int, limit: int) -> int:
        """ControllerExpandVolume."""
        there = self.found(name)
        if limit and there.size > limit:
            raise Refused(Code.OUT_OF_RANGE)
        if there.size < required:
            there.size = self.rounded(there.system, required=required, limit=limit)
        return there.size

    def found(self, name: str) -> Item:
        """A volume that has to be there."""
        there = self.volumes.get(name)
        if there is None:
            raise Refused(Code.NOT_FOUND)
        return there

    # --- snapshots -------------------------------------------------------------------------------

    def snapshot(self, name: str, volume: str) -> int:
        """The size that CreateSnapshot has to answer."""
        source = self.found(volume)
        there = self.snapshots.get(name)
        if there is not None and there.origin != source.id:
            raise Refused(Code.ALREADY_EXISTS)
        return there.size if there else source.size

    def delete_snapshot(self, name: str) -> None:
        """DeleteSnapshot."""
        if name in self.snapshots:
            self._gone(self.snapshots.pop(name))

    def group(self, name: str, volumes: Iterable[str]) -> None:
        """CreateVolumeGroupSnapshot."""
        known = [self.volumes.get(volume) for volume in volumes]
        sources = [volume for volume in known if volume is not None]
        if len({source.system for source in sources}) > 1:
            raise Refused(Code.INVALID_ARGUMENT, Code.NOT_FOUND)
        if len(sources) != len(known):
            raise Refused(Code.NOT_FOUND, Code.INVALID_ARGUMENT)
        there = self.groups.get(name)
        if there is not None and there.members.keys() != {source.id for source in sources}:
            raise Refused(Code.ALREADY_EXISTS)

    def delete_group(self, name: str) -> None:
        """DeleteVolumeGroupSnapshot."""
        group = self.groups.pop(name, None)
        for member in group.members.values() if group else ():
            self._gone(member)

    def _gone(self, item: Item) -> None:
        for other in self.items():
            if other.origin == item.id:
                other.origin = item.origin


def _within(size: int, required: int, limit: int) -> bool:
    return required <= size and (not limit or size <= limit)
