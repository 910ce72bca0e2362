"""A CSI client with the requests of a kubelet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import grpc
import pytest

from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.model.volume_context import ORIGIN_KEY, Origin
from csi_powerflex.pb import csi_pb2, csi_pb2_grpc

Mode = csi_pb2.VolumeCapability.AccessMode


class Volume(Protocol):
    """A volume of a test, over any transport."""

    @property
    def handle(self) -> VolumeHandle: ...
    @property
    def size(self) -> int: ...
    def publish_context(self, *, read_only: bool = False) -> PublishContext: ...


def filesystem(
    fs_type: str = "ext4", *flags: str, mode: Mode.Mode.ValueType = Mode.SINGLE_NODE_MULTI_WRITER
) -> csi_pb2.VolumeCapability:
    """A capability with a filesystem."""
    return csi_pb2.VolumeCapability(
        mount=csi_pb2.VolumeCapability.MountVolume(fs_type=fs_type, mount_flags=flags),
        access_mode=Mode(mode=mode),
    )


def block(mode: Mode.Mode.ValueType = Mode.SINGLE_NODE_MULTI_WRITER) -> csi_pb2.VolumeCapability:
    """A capability of a raw block device."""
    return csi_pb2.VolumeCapability(block=csi_pb2.VolumeCapability.BlockVolume(), access_mode=Mode(mode=mode))


EXT4 = filesystem()


class Kubelet:
    """Calls the node plugin. The paths are those of a kubelet."""

    def __init__(self, channel: grpc.Channel, root: Path) -> None:
        self.stub = csi_pb2_grpc.NodeStub(channel)
        self.root = root
        self.timeout = 60.0

    def staging(self, volume: Volume) -> Path:
        path = self.root / "plugins/kubernetes.io/csi" / str(volume.handle) / "globalmount"
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # a dead mount exists, but does not answer
            path.mkdir()
        return path

    def target(self, volume: Volume, pod: str = "pod-a") -> Path:
        path = self.root / "pods" / pod / "volumes/kubernetes.io~csi" / str(volume.handle) / "mount"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def stage(
        self,
        volume: Volume,
        capability: csi_pb2.VolumeCapability = EXT4,
        *,
        origin: Origin = Origin.EMPTY,
        context: Mapping[str, str] | None = None,
        read_only_mapping: bool = False,
        path: Path | None = None,
        timeout: float | None = None,
    ) -> Path:
        """NodeStageVolume; returns the staging path."""
        staging = path or self.staging(volume)
        self.stub.NodeStageVolume(
            csi_pb2.NodeStageVolumeRequest(
                volume_id=str(volume.handle),
                publish_context=volume.publish_context(read_only=read_only_mapping).to_dict(),
                staging_target_path=str(staging),
                volume_capability=capability,
                volume_context={ORIGIN_KEY: origin.value, **(context or {})},
            ),
            timeout=timeout or self.timeout,
        )
        return staging

    def unstage(self, volume: Volume, *, path: Path | None = None) -> None:
        """NodeUnstageVolume."""
        self.stub.NodeUnstageVolume(
            csi_pb2.NodeUnstageVolumeRequest(
                volume_id=str(volume.handle), staging_target_path=str(path or self.staging(volume))
            ),
            timeout=self.timeout,
        )

    def publish(
        self,
        volume: Volume,
        capability: csi_pb2.VolumeCapability = EXT4,
        *,
        pod: str = "pod-a",
        readonly: bool = False,
        read_only_mapping: bool = False,
        target: Path | None = None,
    ) -> Path:
        """NodePublishVolume; returns the target path."""
        path = target or self.target(volume, pod)
        self.stub.NodePublishVolume(
            csi_pb2.NodePublishVolumeRequest(
                volume_id=str(volume.handle),
                publish_context=volume.publish_context(read_only=read_only_mapping).to_dict(),
                staging_target_path=str(self.staging(volume)),
                target_path=str(path),
                volume_capability=capability,
                readonly=readonly,
                volume_context={ORIGIN_KEY: Origin.EMPTY.value},
            ),
            timeout=self.timeout,
        )
        return path

    def unpublish(self, volume: Volume, *, pod: str = "pod-a", target: Path | None = None) -> None:
        """NodeUnpublishVolume."""
        self.stub.NodeUnpublishVolume(
            csi_pb2.NodeUnpublishVolumeRequest(
                volume_id=str(volume.handle), target_path=str(target or self.target(volume, pod))
            ),
            timeout=self.timeout,
        )

    def expand(
        self,
        volume: Volume,
        capability: csi_pb2.VolumeCapability | None = None,
        *,
        required: int | None = None,
        limit: int = 0,
        path: Path | None = None,
    ) -> int:
        """NodeExpandVolume to the volume's size at the array; returns the size."""
        wanted = volume.size if required is None else required
        return self.stub.NodeExpandVolume(
            csi_pb2.NodeExpandVolumeRequest(
                volume_id=str(volume.handle),
                volume_path=str(path or self.target(volume)),
                staging_target_path=str(self.staging(volume)),
                capacity_range=csi_pb2.CapacityRange(required_bytes=wanted, limit_bytes=limit),
                volume_capability=capability,
            ),
            timeout=self.timeout,
        ).capacity_bytes

    def usage(self, volume: Volume, *, path: Path | None = None) -> dict[str, csi_pb2.VolumeUsage]:
        """NodeGetVolumeStats, by unit."""
        answer = self.stub.NodeGetVolumeStats(
            csi_pb2.NodeGetVolumeStatsRequest(
                volume_id=str(volume.handle), volume_path=str(path or self.target(volume))
            ),
            timeout=self.timeout,
        )
        return {csi_pb2.VolumeUsage.Unit.Name(usage.unit): usage for usage in answer.usage}

    def capacity(self, volume: Volume) -> int:
        """The size of the published filesystem in bytes."""
        return self.usage(volume)["BYTES"].total

    def health(self, volume: Volume) -> dict[str, str]:
        """NodeGetVolumeHealth: the reasons, each with its status."""
        answer = self.stub.NodeGetVolumeHealth(
            csi_pb2.NodeGetVolumeHealthRequest(volume_id=str(volume.handle)), timeout=self.timeout
        ).volume_health
        assert answer.volume_id == str(volume.handle)
        return {
            entry.reason: csi_pb2.VolumeHealthErrorType.Name(entry.status) for entry in answer.health_statuses
        }

    def storage_health(self) -> dict[str, str]:
        """NodeGetStorageHealth: the reasons, each with its status."""
        answer = self.stub.NodeGetStorageHealth(csi_pb2.NodeGetStorageHealthRequest(), timeout=self.timeout)
        return {
            entry.reason: csi_pb2.StorageHealthErrorType.Name(entry.status) for entry in answer.backend_health
        }

    def info(self) -> csi_pb2.NodeGetInfoResponse:
        """NodeGetInfo."""
        return self.stub.NodeGetInfo(csi_pb2.NodeGetInfoRequest(), timeout=self.timeout)


@contextlib.contextmanager
def refused(code: grpc.StatusCode, *words: object) -> Iterator[None]:
    """The call in the block must fail with this code, and its message must contain all these words."""
    with pytest.raises(grpc.RpcError) as caught:
        yield
    assert caught.value.code() is code, f"{caught.value.code()}: {caught.value.details()}"
    details = caught.value.details() or ""
    for word in words:
        assert str(word) in details, f"{word!r} is not in: {details}"
