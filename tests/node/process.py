"""The node plugin in its own process, which a test can kill and start again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from csi_powerflex.pb import csi_pb2, csi_pb2_grpc
from tests.children import wait_for_socket
from tests.node.client import Kubelet
from tests.node.loophost import LoopHost


class NodeProcess:
    """``csi-powerflex node`` for ``host``. It is killed at the end of the block.

    ``tree`` is a folder with another state of the project, which it runs instead.
    """

    def __init__(
        self,
        host: LoopHost,
        *,
        module: str = "csi_powerflex",
        options: Sequence[object] = (),
        environment: Mapping[str, str] | None = None,
        tree: Path | None = None,
    ) -> None:
        self._socket = host.folder / "csi.sock"
        self._root = host.kubelet
        arguments: dict[str, object] = {
            "--endpoint": f"unix:{self._socket}",
            "--kubelet-dir": host.kubelet,
            "--drv-cfg": host.drv_cfg,
            "--scini-device": host.sdc / "scini",
            "--by-id-dir": host.by_id,
            "--device-timeout": 5,
        }
        words = [str(word) for pair in arguments.items() for word in pair] + [str(word) for word in options]
        self._log = (host.folder / "node.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, "node", *words],
            stderr=self._log,
            cwd=tree,  # Python looks for modules there first
            env={**os.environ, **(environment or {})},
        )

    def __enter__(self) -> Self:
        wait_for_socket(self._socket, lambda: self.process.poll() is None)
        # A new connection. gRPC must not reuse one to a killed process at the same path.
        self._channel = grpc.insecure_channel(
            f"unix:{self._socket}",
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 20)],
        )
        grpc.channel_ready_future(self._channel).result(timeout=10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self._channel.close()
        self.kill()
        self._log.close()

    @property
    def kubelet(self) -> Kubelet:
        """A kubelet for this process."""
        return Kubelet(self._channel, self._root)

    def probe(self) -> None:
        """Probe, a call without any work."""
        csi_pb2_grpc.IdentityStub(self._channel).Probe(csi_pb2.ProbeRequest(), timeout=60)

    def resident(self) -> int:
        """Its resident memory in bytes."""
        return self.memory("VmRSS")

    def memory(self, key: str) -> int:
        """A line of the process's status, in bytes."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024

    def kill(self) -> None:
        """Kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> int:
        """Send SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=10)


def log_of(host: LoopHost) -> str:
    """The log of the host's node plugins."""
    return Path(host.folder / "node.log").read_text()
