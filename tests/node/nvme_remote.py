"""The file for connections of a test's kernel, for node plugins in processes of their own.

The kernel is in the test's process. So it outlives a plugin that is killed, with its connections and devices,
as the kernel of a host does. Started as a module, this is a plugin on such a kernel; its folder is in the
environment.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from csi_powerflex.cli import node
from csi_powerflex.cli.main import main
from csi_powerflex.config.node import NvmeSettings
from csi_powerflex.transport.nvme import fabrics
from tests.node.nvme_kernel import FakeKernel, roots

VARIABLE = "CSI_TESTS_KERNEL"
"""The environment variable with the kernel's folder."""

_OPTIONS = b"options"


class _File(socketserver.StreamRequestHandler):
    """The file, opened by a plugin.

    A request is a line for the kernel, or a word. The answer is an error number, 0 for none, and a text.
    """

    server: _Server

    def handle(self) -> None:
        with self.server.kernel.open_file(self.server.kernel.fabrics) as file:
            for line in self.rfile:
                try:
                    if line.strip() != _OPTIONS:
                        file.write(line.strip())
                    answer = f"0 {file.read(4096).decode().strip()}"
                except OSError as error:
                    answer = f"{error.errno} {error.strerror}"
                with contextlib.suppress(BrokenPipeError):  # the plugin was killed
                    self.wfile.write(f"{answer}\n".encode())


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel
        super().__init__(str(_socket(kernel.folder)), _File)


@contextlib.contextmanager
def served(kernel: FakeKernel) -> Iterator[None]:
    """Other processes can open the kernel's file during the block."""
    with _Server(kernel) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


class RemoteFile:
    """The file as the driver in another process has it."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(_socket(folder)))
        self._answer: bytes | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self._socket.close()

    def write(self, data: bytes) -> int:
        self._answer = self._ask(data)
        return len(data)

    def read(self, _length: int) -> bytes:
        return self._ask(_OPTIONS) if self._answer is None else self._answer

    def _ask(self, line: bytes) -> bytes:
        self._socket.sendall(line + b"\n")
        with self._socket.makefile("rb") as answers:
            number, _, text = answers.readline().strip().partition(b" ")
        if number != b"0":
            raise OSError(int(number), text.decode())
        return text


def use(folder: Path) -> None:
    """Let the driver in this process use the kernel with this folder."""

    def open_file(path: Path) -> RemoteFile:
        assert path.exists()
        return RemoteFile(folder)

    setattr(fabrics, "open_file", open_file)  # noqa: B010 - it stands in for a file


def _socket(folder: Path) -> Path:
    return folder / "connect.sock"


def _run() -> None:
    folder = Path(os.environ.pop(VARIABLE))
    use(folder)
    places: dict[str, Any] = {**roots(folder)}
    settings = functools.partial(NvmeSettings, **places)
    setattr(node, "NvmeSettings", settings)  # noqa: B010 - no option names these folders
    main()


if __name__ == "__main__":
    _run()
