"""A small model of the CSI specification: how each call in a sequence must end.

It has volumes, snapshots, groups and mappings. It has two facts of PowerFlex: the steps of sizes, and that
copies of a deleted volume count as copies of that volume's source. Sizes are GiB.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import grpc

from csi_powerflex.pb import csi_pb2

Code = grpc.StatusCode

DEFAULT_SIZE = 8


class Refused(Exception):
    """The call must be refused with one of ``codes``."""

    def __init__(self, *codes: Code) -> None:
        super().__init__(", ".join(code.name for code in codes))
        self.codes = codes


@dataclass(eq=False)
class Tree:
    """What the array moves as one: a volume with its snapshots and clones, and the pool that they are in."""

    pool: str = "sp1"


@dataclass(eq=False)
class Item:
    """A volume or a snapshot.

    ``origin`` is the id of its source or, if that was deleted, of the source's own source, or None. It is
    then ``orphaned``.
    """

    id: str
    size: int
    origin: str | None
    message: csi_pb2.Volume | csi_pb2.Snapshot
    copied: bool
    iops: int = 0
    orphaned: bool = False
    tree: Tree = field(default_factory=Tree)
    word: str = ""
    """What is in it."""
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
    """All objects that must exist, by CSI name."""

    def __init__(self, steps: dict[str, int], keeping: frozenset[str] = frozenset()) -> None:
        self._steps = steps
        # The systems that keep deleted volumes in a trash.
        self._keeping = keeping
        self.trash: list[Item] = []
        self.undeleted: list[Item] = []
        self.safety: list[Item] = []
        self.volumes: dict[str, Item] = {}
        self.snapshots: dict[str, Item] = {}
        self.groups: dict[str, Group] = {}

    def items(self) -> list[Item]:
        """Every volume and snapshot that is not in the trash."""
        return [*self.volumes.values(), *self.undeleted, *self.all_snapshots()]

    def all_snapshots(self) -> list[Item]:
        """Every snapshot."""
        members = [item for group in self.groups.values() for item in group.members.values()]
        return [*self.snapshots.values(), *members, *self.safety]

    # --- sizes -----------------------------------------------------------------------------------

    def rounded(self, system: str, *, required: int, limit: int) -> int:
        """The size of a new volume on a system.

        Raises:
            Refused: no size is in the range.
        """
        step = self._steps[system]
        highest = limit // step * step if limit else 10**6
        size = -(-required // step) * step if required else min(DEFAULT_SIZE, highest)
        if (limit and limit < required) or not 0 < size <= highest:
            raise Refused(Code.OUT_OF_RANGE)
        return size

    # --- volumes ---------------------------------------------------------------------------------

    def create(self, name: str, system: str, *, required: int, limit: int) -> int:
        """The size in the answer of CreateVolume."""
        existing = self.volumes.get(name)
        if existing is None:
            return self.rounded(system, required=required, limit=limit)
        if existing.copied or not _within(existing.size, required, limit):
            raise Refused(Code.ALREADY_EXISTS, Code.OUT_OF_RANGE)
        return existing.size

    def copy(self, name: str, source: Item | None, source_id: str, *, required: int, limit: int) -> int:
        """The size in the answer of CreateVolume with a source, which exists or has existed."""
        existing = self.volumes.get(name)
        if source is None:
            if existing is None or not (
                existing.origin == source_id
                or (existing.orphaned and existing.system == source_id.partition("-")[0])
            ):
                raise Refused(Code.NOT_FOUND)
            return self._copied_before(existing, required=required, limit=limit)
        if existing is None:
            if limit and limit < source.size:
                raise Refused(Code.OUT_OF_RANGE)
            return self.rounded(source.system, required=max(required, source.size), limit=limit)
        if existing.origin != source.id or (limit and existing.size > limit):
            raise Refused(Code.ALREADY_EXISTS, Code.OUT_OF_RANGE)
        if existing.size >= required:
            return existing.size
        if existing.size == source.size:
            # An earlier call could have been interrupted before the expansion, so it is expanded now.
            return self.rounded(source.system, required=required, limit=limit)
        raise Refused(Code.ALREADY_EXISTS, Code.OUT_OF_RANGE)

    def _copied_before(self, existing: Item, *, required: int, limit: int) -> int:
        """The size of a copy whose source was deleted. An earlier call could have been interrupted."""
        if limit and existing.size > limit:
            raise Refused(Code.ALREADY_EXISTS, Code.OUT_OF_RANGE)
        if existing.size >= required:
            return existing.size
        return self.rounded(existing.system, required=required, limit=limit)

    def delete(self, name: str) -> None:
        """DeleteVolume."""
        existing = self.volumes.get(name)
        if existing is not None:
            if existing.published:
                raise Refused(Code.FAILED_PRECONDITION)
            removed = self.volumes.pop(name)
            if removed.system in self._keeping:
                self.trash.append(removed)
            else:
                self._deleted(removed)

    def revert(self, volume: Item, snapshot: Item) -> None:
        """A revert in place."""
        taken = snapshot.origin == volume.id and not snapshot.orphaned
        made = volume.origin == snapshot.id and not volume.orphaned
        if not (taken or made) or volume.size != snapshot.size or volume.published:
            raise Refused(Code.FAILED_PRECONDITION)
        volume.word = snapshot.word

    def publish(self, name: str, node: str, access: str, *, shared: bool) -> None:
        """ControllerPublishVolume."""
        existing = self.found(name)
        if node in existing.published:
            if existing.published[node] != access:
                raise Refused(Code.ALREADY_EXISTS)
        elif existing.published and not shared:
            raise Refused(Code.FAILED_PRECONDITION)
        existing.published[node] = access

    def unpublish(self, name: str, node: str | None) -> None:
        """ControllerUnpublishVolume, of all nodes for None."""
        existing = self.volumes.get(name)
        if existing is not None:
            for each in [node] if node else list(existing.published):
                existing.published.pop(each, None)

    def expand(self, name: str, *, required: int, limit: int) -> int:
        """ControllerExpandVolume."""
        existing = self.found(name)
        if limit and existing.size > limit:
            raise Refused(Code.OUT_OF_RANGE)
        if existing.size < required:
            existing.size = self.rounded(existing.system, required=required, limit=limit)
        return existing.size

    def move(self, name: str, pool: str, *, whole_tree: bool) -> None:
        """ControllerModifyVolume to another pool. Only systems with mirrored pools do it.

        What is in the trash moves along.
        """
        existing = self.found(name)
        if existing.tree.pool == pool:
            return
        if self._steps[existing.system] == 1:
            raise Refused(Code.INVALID_ARGUMENT)
        volumes = [*self.volumes.values(), *self.undeleted]
        others = [
            item
            for item in self.items()
            if item.tree is existing.tree
            and item is not existing
            and (item in volumes or item.orphaned or item.origin != existing.id)
        ]
        if others and not whole_tree:
            raise Refused(Code.FAILED_PRECONDITION)
        existing.tree.pool = pool

    def found(self, name: str) -> Item:
        """A volume that must exist."""
        existing = self.volumes.get(name)
        if existing is None:
            raise Refused(Code.NOT_FOUND)
        return existing

    # --- snapshots -------------------------------------------------------------------------------

    def snapshot(self, name: str, volume: str) -> int:
        """The size in the answer of CreateSnapshot."""
        source = self.found(volume)
        existing = self.snapshots.get(name)
        if existing is not None and existing.origin != source.id:
            raise Refused(Code.ALREADY_EXISTS)
        return existing.size if existing else source.size

    def delete_snapshot(self, name: str) -> None:
        """DeleteSnapshot."""
        if name in self.snapshots:
            self._deleted(self.snapshots.pop(name))

    def group(self, name: str, volumes: Iterable[str]) -> None:
        """CreateVolumeGroupSnapshot."""
        known = [self.volumes.get(volume) for volume in volumes]
        sources = [volume for volume in known if volume is not None]
        if len({source.system for source in sources}) > 1:
            raise Refused(Code.INVALID_ARGUMENT, Code.NOT_FOUND)
        if len(sources) != len(known):
            raise Refused(Code.NOT_FOUND, Code.INVALID_ARGUMENT)
        existing = self.groups.get(name)
        if existing is not None and existing.members.keys() != {source.id for source in sources}:
            raise Refused(Code.ALREADY_EXISTS)

    def delete_group(self, name: str) -> None:
        """DeleteVolumeGroupSnapshot."""
        group = self.groups.pop(name, None)
        for member in group.members.values() if group else ():
            self._deleted(member)

    def _deleted(self, item: Item) -> None:
        for other in [*self.items(), *self.trash]:
            if other.origin == item.id:
                other.origin = item.origin
                other.orphaned = True


def _within(size: int, required: int, limit: int) -> bool:
    return required <= size and (not limit or size <= limit)
