"""The GroupController service: snapshots of several volumes at one instant."""

from __future__ import annotations

from collections.abc import Iterable

import grpc

from csi_powerflex.csi.convert import controller as convert
from csi_powerflex.errors import InvalidArgument, NotFound
from csi_powerflex.ids import GroupHandle, VolumeHandle
from csi_powerflex.model.parameters import SnapshotParameters
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.group_snapshots import Groups
from csi_powerflex.pb import csi_pb2, csi_pb2_grpc

log = Log(__name__)

_Rpc = csi_pb2.GroupControllerServiceCapability.RPC


class GroupController(csi_pb2_grpc.GroupControllerServicer):
    """Group snapshots, through the operation."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    def GroupControllerGetCapabilities(
        self, request: csi_pb2.GroupControllerGetCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.GroupControllerGetCapabilitiesResponse:
        """Group snapshots can be created, deleted and read."""
        rpc = csi_pb2.GroupControllerServiceCapability.RPC(type=_Rpc.CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT)
        return csi_pb2.GroupControllerGetCapabilitiesResponse(
            capabilities=[csi_pb2.GroupControllerServiceCapability(rpc=rpc)]
        )

    def CreateVolumeGroupSnapshot(
        self, request: csi_pb2.CreateVolumeGroupSnapshotRequest, context: grpc.ServicerContext
    ) -> csi_pb2.CreateVolumeGroupSnapshotResponse:
        """Take snapshots of the volumes now, at one instant, or return the group of that name."""
        group = self._groups.create(
            request.name,
            [VolumeHandle.parse(volume_id) for volume_id in request.source_volume_ids],
            SnapshotParameters.parse_group(request.parameters),
        )
        return csi_pb2.CreateVolumeGroupSnapshotResponse(group_snapshot=convert.group_snapshot(group))

    def DeleteVolumeGroupSnapshot(
        self, request: csi_pb2.DeleteVolumeGroupSnapshotRequest, context: grpc.ServicerContext
    ) -> csi_pb2.DeleteVolumeGroupSnapshotResponse:
        """Delete the group and its snapshots. An id that cannot be a group's is answered as deleted."""
        try:
            handle = GroupHandle.parse(request.group_snapshot_id)
        except NotFound as error:
            log.info("nothing to delete", reason=error)
        else:
            self._groups.delete(handle, _members(request.snapshot_ids))
        return csi_pb2.DeleteVolumeGroupSnapshotResponse()

    def GetVolumeGroupSnapshot(
        self, request: csi_pb2.GetVolumeGroupSnapshotRequest, context: grpc.ServicerContext
    ) -> csi_pb2.GetVolumeGroupSnapshotResponse:
        """The group and its snapshots."""
        handle = GroupHandle.parse(request.group_snapshot_id)
        group = self._groups.get(handle, _members(request.snapshot_ids))
        return csi_pb2.GetVolumeGroupSnapshotResponse(group_snapshot=convert.group_snapshot(group))


def _members(snapshot_ids: Iterable[str]) -> list[VolumeHandle]:
    try:
        return [VolumeHandle.parse(snapshot_id) for snapshot_id in snapshot_ids]
    except NotFound as error:
        raise InvalidArgument(f"not a snapshot of the group: {error}") from error
