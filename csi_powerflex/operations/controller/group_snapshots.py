"""Group snapshots: snapshots of several volumes, taken at one instant by one request.

The array puts them into a consistency group, whose id is the id of the group snapshot. Members are matched by
the volume that they were taken of, never by their order in an answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from csi_powerflex import names
from csi_powerflex.errors import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from csi_powerflex.ids import GroupHandle, VolumeHandle
from csi_powerflex.model.array import Copy, NameInUse, TreeFull, Volume
from csi_powerflex.model.parameters import SnapshotParameters
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.lookup import (
    after_change,
    is_group_member,
    require_not_in_trash,
)
from csi_powerflex.operations.controller.ownership import Ownership
from csi_powerflex.operations.controller.size_errors import explained
from csi_powerflex.operations.controller.snapshots import pool_of

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class Group:
    """A group and its snapshots."""

    handle: GroupHandle
    snapshots: tuple[Volume, ...]


class Groups:
    """The group snapshots of one cluster."""

    def __init__(self, fleet: Fleet, ownership: Ownership, cluster_id: str) -> None:
        self._fleet = fleet
        self._ownership = ownership
        self._cluster_id = cluster_id

    def create(self, csi_name: str, sources: Sequence[VolumeHandle], parameters: SnapshotParameters) -> Group:
        """The group of that name, taken now if it does not exist.

        Raises:
            InvalidArgument: no sources, one named twice, or several systems.
            NotFound: a source does not exist; no snapshot was taken.
            AlreadyExists: the name belongs to a group of other volumes.
            ResourceExhausted: one of them cannot be stored; no snapshot was taken.
        """
        array = self._fleet.array(_only_system(sources))
        # Names follow from positions, not from volumes. So a group of other volumes gets the same names, and
        # the array refuses them.
        position = {source: number for number, source in enumerate(sorted(sources, key=str))}
        copies = [Copy(source.volume_id, self._member_name(csi_name, position[source])) for source in sources]
        try:
            what = f"group snapshot {csi_name} of volumes {', '.join(map(str, sources))}"
            require_not_in_trash(array, [source.volume_id for source in sources])
            with explained(array, lambda: pool_of(array, sources[0].volume_id), what):
                made = array.take_snapshots(
                    copies, access=parameters.access, retention_minutes=parameters.retention_minutes
                )
        except (NameInUse, NotFound, ResourceExhausted) as error:
            # The snapshots of an earlier call may be what filled the trees or the pool, and their sources may
            # have been deleted since.
            try:
                existing = self._existing(array, csi_name, copies)
            except AlreadyExists:
                if isinstance(error, NotFound):
                    raise error from None
                raise
            if existing is not None:
                return existing
            if not isinstance(error, TreeFull):
                raise
            raise TreeFull(
                f"group snapshot {csi_name} was not taken: the tree of one of its volumes has as many "
                "members as the array allows; delete some of their snapshots or clones"
            ) from error
        with after_change(f"group snapshot {csi_name} was taken"):
            group = _group(array.volumes_by_id(made), copies)
        log.info("group snapshot taken", group=group.handle, members=len(made))
        return group

    def get(self, handle: GroupHandle, members: Sequence[VolumeHandle]) -> Group:
        """The group.

        Args:
            handle: the group.
            members: the ids of its snapshots, if the caller knows them.

        Raises:
            NotFound: there is no such group.
            InvalidArgument: one of ``members`` is not in it.
        """
        array = self._fleet.array(handle.system_id)
        found = self._members(array, handle, members)
        if not found or not all(map(is_group_member, found)):
            raise NotFound(f"there is no group snapshot {handle}")
        return Group(handle, tuple(found))

    def delete(self, handle: GroupHandle, members: Sequence[VolumeHandle]) -> None:
        """Remove all snapshots of the group. Returns without error if it does not exist.

        Raises:
            InvalidArgument: one of ``members`` is not in it; nothing was removed.
                Or the group has other objects than the snapshots of one group snapshot.
            FailedPrecondition: this cluster did not make it; nothing was removed.
            VolumeInUse: one of them is mapped; nothing was removed.
        """
        array = self._fleet.array(handle.system_id)
        found = self._members(array, handle, members)
        if not found:
            log.info("group did not exist", group=handle)
            return
        self._ownership.require_group(array, str(handle), found)
        try:
            array.remove_group(handle.group_id)
        except NotFound:
            log.info("group was removed by another call", group=handle)
        else:
            log.info("group removed", group=handle)

    @staticmethod
    def _members(array: Array, handle: GroupHandle, members: Sequence[VolumeHandle]) -> Sequence[Volume]:
        """The members that exist. They are read by id if all of ``members`` exist, else found in a list."""
        try:
            found = array.volumes_by_id([member.volume_id for member in members]) if members else None
        except NotFound:
            # One member may have been deleted alone. The others must be found all the same.
            found = None
        if found is None:
            return [volume for volume in array.volumes() if volume.group_id == handle.group_id]
        others = [str(volume.handle) for volume in found if volume.group_id != handle.group_id]
        if others:
            raise InvalidArgument(f"not of group snapshot {handle}: {', '.join(others)}")
        return found

    @staticmethod
    def _existing(array: Array, csi_name: str, copies: Sequence[Copy]) -> Group | None:
        """The group that an earlier call of the same name created, or None.

        Raises:
            AlreadyExists: it is a group of other volumes.
        """
        volumes = array.volumes()
        wanted = {copy.name for copy in copies}
        groups = {volume.group_id for volume in volumes if volume.name in wanted}
        if not groups:
            return None
        sources = {copy.volume_id for copy in copies}
        members, present = [], set()
        for volume in volumes:
            if volume.group_id in groups - {None}:
                members.append(volume)
            if volume.handle.volume_id in sources:
                present.add(volume.handle.volume_id)
        ordered = [_member_for(copy, members, present) for copy in copies]
        complete = [member for member in ordered if member is not None]
        if len(groups) != 1 or not len(members) == len(copies) == len(complete):
            raise AlreadyExists(
                f"group snapshot {csi_name} exists already, of the volumes "
                f"{_readable(volume.ancestor_id for volume in members)}, and "
                f"{_readable(copy.volume_id for copy in copies)} were asked for; use another name"
            )
        return _group_of(complete, copies)

    def _member_name(self, csi_name: str, position: int) -> str:
        """The name of one member. It follows from the group's name and a number, so it is always the same."""
        member = hashlib.sha256(f"{csi_name}\0{position}".encode()).hexdigest()
        return names.array_name(names.Kind.GROUP_MEMBER, self._cluster_id, member)


def _member_for(copy: Copy, members: Sequence[Volume], present: Set[str]) -> Volume | None:
    """The snapshot that was taken of the copy's source; by its name, if that source is not ``present``."""
    if copy.volume_id in present:
        return next((member for member in members if member.ancestor_id == copy.volume_id), None)
    return next((member for member in members if member.orphaned and member.name == copy.name), None)


def _readable(volume_ids: Iterable[str | None]) -> str:
    return ", ".join(sorted(str(volume_id) for volume_id in volume_ids)) or "none that still exists"


def _only_system(sources: Sequence[VolumeHandle]) -> str:
    systems = {source.system_id for source in sources}
    if len(systems) != 1:
        raise InvalidArgument(
            f"a group snapshot is taken on one PowerFlex system, and the volumes are on {len(systems)}"
        )
    if len(set(sources)) != len(sources):
        raise InvalidArgument("a volume is named twice for one group snapshot")
    return systems.pop()


def _group(found: Sequence[Volume], copies: Sequence[Copy]) -> Group:
    """The group in the order of the request.

    Raises:
        Unavailable: a member is missing, or they are not of one group.
    """
    by_source = {volume.ancestor_id: volume for volume in found}
    members = [by_source.get(copy.volume_id) for copy in copies]
    return _group_of([member for member in members if member is not None], copies)


def _group_of(complete: Sequence[Volume], copies: Sequence[Copy]) -> Group:
    groups = {member.group_id for member in complete}
    group_id = groups.pop() if len(groups) == 1 else None
    if len(complete) != len(copies) or group_id is None:
        raise Unavailable(
            f"snapshots of {len(copies)} volumes were asked for as one group, and the array shows "
            f"{len(complete)} and not all of them in one group; try again"
        )
    return Group(GroupHandle(complete[0].handle.system_id, group_id), tuple(complete))
