"""The driver's node process, and the calls of a kubelet."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from csi_powerflex.model.volume_context import ORIGIN_KEY, Origin
from csi_powerflex.pb import csi_pb2, csi_pb2_grpc
from tests.emulated import kernel
from tests.emulated.array import Array, Volume
from tests.emulated.launcher import Launcher

Mode = csi_pb2.VolumeCapability.AccessMode
EXT4 = csi_pb2.VolumeCapability(
    mount=csi_pb2.VolumeCapability.MountVolume(fs_type="ext4"),
    access_mode=Mode(mode=Mode.SINGLE_NODE_MULTI_WRITER),
)
BLOCK = csi_pb2.VolumeCapability(
    block=csi_pb2.VolumeCapability.BlockVolume(), access_mode=Mode(mode=Mode.MULTI_NODE_MULTI_WRITER)
)
READ_ONLY = csi_pb2.VolumeCapability(
    mount=csi_pb2.VolumeCapability.MountVolume(fs_type="ext4"),
    access_mode=Mode(mode=Mode.MULTI_NODE_READER_ONLY),
)


class Plugin:
    """``csi-powerflex node``. It starts in the background: the first call waits for it."""

    def __init__(self, launcher: Launcher, folder: Path, host: kernel.Host, array: Array) -> None:
        self._array = array
        self._kubelet = folder / "kubelet"
        self._kubelet.mkdir(exist_ok=True)
        files = folder / "etc-nvme"
        if not files.exists():
            host.write_files(files)
        socket = folder / "csi.sock"
        socket.unlink(missing_ok=True)  # of a killed process
        words = [
            "node",
            f"--endpoint=unix:{socket}",
            f"--kubelet-dir={self._kubelet}",
            "--transport=nvme",
            f"--nvme-system={array.system_id}",
            f"--nvme-folder={files}",
        ]
        self._process = launcher.start(words, folder / "node.log")
        self._channel = grpc.insecure_channel(
            f"unix:{socket}",
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 500)],
        )
        self._stub = csi_pb2_grpc.NodeStub(self._channel)

    def kill(self) -> None:
        """Kill -9, as an upgrade that goes wrong does."""
        self._channel.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)
        kernel.wait("the plugin has ended", lambda: not Path(f"/proc/{self._process}").exists())

    @property
    def stuck(self) -> list[str]:
        """Threads of the process that wait for a device and cannot be interrupted."""
        return list(kernel.sleeping_without_end(self._process))

    def staging(self, volume: Volume) -> Path:
        """Where a volume is staged."""
        path = self._kubelet / "staging" / str(volume)
        if not kernel.is_mounted(path):  # else it may not answer
            path.mkdir(parents=True, exist_ok=True)
        return path

    def target(self, volume: Volume) -> Path:
        """Where a volume is published."""
        path = self._kubelet / "pods" / str(volume)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def info(self) -> csi_pb2.NodeGetInfoResponse:
        """NodeGetInfo."""
        return self._stub.NodeGetInfo(
            csi_pb2.NodeGetInfoRequest(), timeout=kernel.PATIENCE, wait_for_ready=True
        )

    def stage(
        self,
        volume: Volume,
        capability: csi_pb2.VolumeCapability = EXT4,
        *,
        seconds: float = kernel.PATIENCE,
        read_only: bool = False,
    ) -> Path:
        """NodeStageVolume; returns where."""
        path = self.staging(volume)
        request = csi_pb2.NodeStageVolumeRequest(
            volume_id=str(volume),
            publish_context=self._array.publish_context(volume, read_only=read_only),
            staging_target_path=str(path),
            volume_capability=capability,
            volume_context={ORIGIN_KEY: Origin.EMPTY.value},
        )
        _called(self._stub.NodeStageVolume, request, seconds)
        return path

    def unstage(self, volume: Volume, *, seconds: float = kernel.PATIENCE) -> None:
        """NodeUnstageVolume."""
        request = csi_pb2.NodeUnstageVolumeRequest(
            volume_id=str(volume), staging_target_path=str(self.staging(volume))
        )
        _called(self._stub.NodeUnstageVolume, request, seconds)

    def publish(self, volume: Volume, capability: csi_pb2.VolumeCapability = EXT4) -> Path:
        """NodePublishVolume; returns where."""
        path = self.target(volume)
        self._stub.NodePublishVolume(
            csi_pb2.NodePublishVolumeRequest(
                volume_id=str(volume),
                publish_context=self._array.publish_context(volume),
                staging_target_path=str(self.staging(volume)),
                target_path=str(path),
                volume_capability=capability,
                volume_context={ORIGIN_KEY: Origin.EMPTY.value},
            ),
            timeout=kernel.PATIENCE,
            wait_for_ready=True,
        )
        return path

    def unpublish(self, volume: Volume) -> None:
        """NodeUnpublishVolume."""
        self._stub.NodeUnpublishVolume(
            csi_pb2.NodeUnpublishVolumeRequest(volume_id=str(volume), target_path=str(self.target(volume))),
            timeout=kernel.PATIENCE,
            wait_for_ready=True,
        )

    def expand(self, volume: Volume, *, seconds: float = kernel.PATIENCE) -> int:
        """NodeExpandVolume at the staging path; returns the size."""
        staging = str(self.staging(volume))
        request = csi_pb2.NodeExpandVolumeRequest(
            volume_id=str(volume),
            volume_path=staging,
            staging_target_path=staging,
            capacity_range=csi_pb2.CapacityRange(required_bytes=volume.size),
            volume_capability=EXT4,
        )
        return int(_called(self._stub.NodeExpandVolume, request, seconds).capacity_bytes)

    def capacity(self, volume: Volume) -> int:
        """NodeGetVolumeStats at the staging path: the bytes of the filesystem."""
        answer = self._stub.NodeGetVolumeStats(
            csi_pb2.NodeGetVolumeStatsRequest(volume_id=str(volume), volume_path=str(self.staging(volume))),
            timeout=kernel.PATIENCE,
            wait_for_ready=True,
        )
        return max(usage.total for usage in answer.usage if usage.unit == csi_pb2.VolumeUsage.BYTES)

    def health(self, volume: Volume) -> str:
        """NodeGetVolumeHealth: the reasons."""
        answer = self._stub.NodeGetVolumeHealth(
            csi_pb2.NodeGetVolumeHealthRequest(volume_id=str(volume)),
            timeout=kernel.PATIENCE,
            wait_for_ready=True,
        )
        return " ".join(status.reason for status in answer.volume_health.health_statuses)


def _called(call: Callable[..., Any], request: object, seconds: float) -> Any:
    """The answer of a call. As kubelet does it, the call is repeated while a former one of the volume ends.

    A client gives up a call a bit earlier than the plugin does.
    """
    deadline = time.monotonic() + seconds
    while True:
        left = max(0.1, deadline - time.monotonic())
        try:
            return call(request, timeout=left, wait_for_ready=True)
        except grpc.RpcError as error:
            is_under_way = error.code() is grpc.StatusCode.ABORTED
            if not is_under_way or time.monotonic() > deadline:
                raise
        time.sleep(0.2)
