"""A client of the controller, with short forms of its calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest

from csi_powerflex.pb import csi_pb2, csi_pb2_grpc
from tests.controller.final_codes import Checked, FinalCodes

GIB = 1024**3
Mode = csi_pb2.VolumeCapability.AccessMode

Answer = TypeVar("Answer")


def mount(mode: int = Mode.SINGLE_NODE_WRITER, filesystem: str = "ext4") -> csi_pb2.VolumeCapability:
    return csi_pb2.VolumeCapability(
        mount=csi_pb2.VolumeCapability.MountVolume(fs_type=filesystem),
        access_mode=csi_pb2.VolumeCapability.AccessMode(mode=mode),  # type: ignore[arg-type]  # any number may be sent
    )


def block(mode: int = Mode.SINGLE_NODE_WRITER) -> csi_pb2.VolumeCapability:
    return csi_pb2.VolumeCapability(
        block=csi_pb2.VolumeCapability.BlockVolume(),
        access_mode=csi_pb2.VolumeCapability.AccessMode(mode=mode),  # type: ignore[arg-type]  # any number may be sent
    )


class Driver:
    """Calls to one controller. They return the protocol's messages and raise ``grpc.RpcError``."""

    def __init__(self, socket: Path, *, seconds: float = 30, final_codes: FinalCodes | None = None) -> None:
        self.seconds = seconds
        self._channel = grpc.insecure_channel(
            f"unix:{socket}",
            options=[("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 20)],
        )
        channel = self._channel
        if final_codes is not None:
            channel = grpc.intercept_channel(channel, Checked(final_codes))
        self.controller = csi_pb2_grpc.ControllerStub(channel)
        self.group = csi_pb2_grpc.GroupControllerStub(channel)
        self.identity = csi_pb2_grpc.IdentityStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def wait_until_ready(self) -> None:
        grpc.channel_ready_future(self._channel).result(timeout=15)

    def create(self, name: str = "pvc-1", *, gib: float = 8, limit: float = 0, **more: Any) -> csi_pb2.Volume:
        request = csi_pb2.CreateVolumeRequest(
            name=name,
            capacity_range=csi_pb2.CapacityRange(required_bytes=int(gib * GIB), limit_bytes=int(limit * GIB)),
            volume_capabilities=more.pop("capabilities", [mount()]),
            **more,
        )
        return self.controller.CreateVolume(request, timeout=self.seconds).volume

    def restore(self, name: str, snapshot_id: str, *, gib: float = 0, **more: Any) -> csi_pb2.Volume:
        source = csi_pb2.VolumeContentSource(
            snapshot=csi_pb2.VolumeContentSource.SnapshotSource(snapshot_id=snapshot_id)
        )
        return self.create(name, gib=gib, volume_content_source=source, **more)

    def clone(self, name: str, volume_id: str, *, gib: float = 0, **more: Any) -> csi_pb2.Volume:
        source = csi_pb2.VolumeContentSource(
            volume=csi_pb2.VolumeContentSource.VolumeSource(volume_id=volume_id)
        )
        return self.create(name, gib=gib, volume_content_source=source, **more)

    def get(self, volume_id: str) -> csi_pb2.ControllerGetVolumeResponse:
        request = csi_pb2.ControllerGetVolumeRequest(volume_id=volume_id)
        return self.controller.ControllerGetVolume(request, timeout=self.seconds)

    def delete(self, volume_id: str) -> None:
        self.controller.DeleteVolume(csi_pb2.DeleteVolumeRequest(volume_id=volume_id), timeout=self.seconds)

    def publish(
        self,
        volume: csi_pb2.Volume | str,
        node_id: str,
        capability: csi_pb2.VolumeCapability | None = None,
        *,
        readonly: bool = False,
    ) -> dict[str, str]:
        volume_id = volume if isinstance(volume, str) else volume.volume_id
        request = csi_pb2.ControllerPublishVolumeRequest(
            volume_id=volume_id,
            node_id=node_id,
            volume_capability=capability or mount(),
            readonly=readonly,
            volume_context={} if isinstance(volume, str) else volume.volume_context,
        )
        return dict(self.controller.ControllerPublishVolume(request, timeout=self.seconds).publish_context)

    def unpublish(self, volume_id: str, node_id: str = "") -> None:
        request = csi_pb2.ControllerUnpublishVolumeRequest(volume_id=volume_id, node_id=node_id)
        self.controller.ControllerUnpublishVolume(request, timeout=self.seconds)

    def expand(
        self, volume_id: str, *, gib: float, limit: float = 0
    ) -> csi_pb2.ControllerExpandVolumeResponse:
        request = csi_pb2.ControllerExpandVolumeRequest(
            volume_id=volume_id,
            capacity_range=csi_pb2.CapacityRange(required_bytes=int(gib * GIB), limit_bytes=int(limit * GIB)),
            volume_capability=mount(),
        )
        return self.controller.ControllerExpandVolume(request, timeout=self.seconds)

    def modify(self, volume_id: str, **parameters: str) -> None:
        request = csi_pb2.ControllerModifyVolumeRequest(volume_id=volume_id, mutable_parameters=parameters)
        self.controller.ControllerModifyVolume(request, timeout=self.seconds)

    def snapshot(self, volume_id: str, name: str = "snapshot-1", **parameters: str) -> csi_pb2.Snapshot:
        request = csi_pb2.CreateSnapshotRequest(source_volume_id=volume_id, name=name, parameters=parameters)
        return self.controller.CreateSnapshot(request, timeout=self.seconds).snapshot

    def listed_snapshot(self, snapshot_id: str) -> csi_pb2.Snapshot:
        """A snapshot as ListSnapshots shows it."""
        request = csi_pb2.ListSnapshotsRequest(snapshot_id=snapshot_id)
        (entry,) = self.controller.ListSnapshots(request, timeout=self.seconds).entries
        return entry.snapshot

    def delete_snapshot(self, snapshot_id: str) -> None:
        self.controller.DeleteSnapshot(
            csi_pb2.DeleteSnapshotRequest(snapshot_id=snapshot_id), timeout=self.seconds
        )

    def group_snapshot(self, name: str, *volume_ids: str) -> csi_pb2.VolumeGroupSnapshot:
        request = csi_pb2.CreateVolumeGroupSnapshotRequest(name=name, source_volume_ids=volume_ids)
        return self.group.CreateVolumeGroupSnapshot(request, timeout=self.seconds).group_snapshot

    def delete_group(self, group_id: str, *snapshot_ids: str) -> None:
        request = csi_pb2.DeleteVolumeGroupSnapshotRequest(
            group_snapshot_id=group_id, snapshot_ids=snapshot_ids
        )
        self.group.DeleteVolumeGroupSnapshot(request, timeout=self.seconds)

    def validate(
        self, volume_id: str, *capabilities: csi_pb2.VolumeCapability
    ) -> csi_pb2.ValidateVolumeCapabilitiesResponse:
        request = csi_pb2.ValidateVolumeCapabilitiesRequest(
            volume_id=volume_id, volume_capabilities=capabilities or [mount()]
        )
        return self.controller.ValidateVolumeCapabilities(request, timeout=self.seconds)


def refused(code: grpc.StatusCode, call: Callable[[], object]) -> str:
    """Make a call that must fail with ``code``; returns the error message."""
    with pytest.raises(grpc.RpcError) as refusal:
        call()
    assert refusal.value.code() is code, f"{refusal.value.code()}: {refusal.value.details()}"
    return str(refusal.value.details())


def outcome(call: Callable[[], object]) -> grpc.StatusCode:
    """The code that the call ends with."""
    try:
        call()
    except grpc.RpcError as error:
        code = error.code()
        assert isinstance(code, grpc.StatusCode)
        return code
    return grpc.StatusCode.OK
