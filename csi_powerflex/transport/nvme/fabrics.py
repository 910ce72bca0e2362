"""The kernel's file for NVMe over fabrics. One line written to it makes a connection.

It answers with the number of the new NVMe controller, or with an error number. So no tool is needed, in this
image or on the host. The write waits for the portal, so callers do it in a thread.
"""

from __future__ import annotations

import errno
import io
import re
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.transport.nvme.identity import HostPair

KEEP_FOREVER = "-1"
"""The value of ``ctrl_loss_tmo`` with which the kernel never gives a lost connection up.

With another value, it removes the device when the time is over, and the filesystem on it ends in errors even
if the portal comes back.
"""

RECONNECT_SECONDS = 2
KEEP_ALIVE_SECONDS = 5
_ANSWER_BYTES = 4096
# A file that was made without its module gives the last two.
_NO_MODULE = (errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO)
_INSTANCE = re.compile(r"instance=(\d+)")
# Every kernel with NVMe over fabrics has these. Others are sent only if the kernel lists them.
_REQUIRED = frozenset({"transport", "traddr", "trsvcid", "nqn", "hostnqn", "hostid"})

MISSING_MODULES = (
    "load the kernel modules on the host: modprobe nvme-tcp (some distributions have it in a package of its "
    "own, such as linux-modules-extra), or let the driver load them (--nvme-load-modules)"
)
"""What to do if the kernel has no NVMe over fabrics."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection to make.

    Attributes:
        nqn: the NQN of the subsystem.
        address: the IP address of the portal.
        port: the port of the portal.
        host: the identity of this host.
        io_queues: how many I/O queues to ask for.
    """

    nqn: str
    address: str
    port: int
    host: HostPair
    io_queues: int

    def line(self, known: frozenset[str] | None) -> str:
        """The line for the kernel.

        Args:
            known: the options that the kernel lists; None if it does not list them.
        """
        options = {
            "transport": "tcp",
            "traddr": self.address,
            "trsvcid": self.port,
            "nqn": self.nqn,
            "hostnqn": self.host.nqn,
            "hostid": self.host.host_id,
            "nr_io_queues": self.io_queues,
            "reconnect_delay": RECONNECT_SECONDS,
            "keep_alive_tmo": KEEP_ALIVE_SECONDS,
            "ctrl_loss_tmo": KEEP_FOREVER,
        }
        return ",".join(
            f"{name}={value}"
            for name, value in options.items()
            if known is None or name in known or name in _REQUIRED
        )


class Fabrics:
    """The file ``path``, which is /dev/nvme-fabrics."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def present(self) -> bool:
        """Whether the kernel has NVMe over fabrics."""
        return self._path.exists()

    def require(self) -> None:
        """Check that the kernel has NVMe over fabrics.

        Raises:
            FailedPrecondition: it has not.
        """
        if not self.present:
            raise self._missing()

    def connect(self, connection: Connection) -> str:
        """Make a connection. Returns the name of the new NVMe controller, such as nvme3.

        Raises:
            FailedPrecondition: the kernel has no NVMe over fabrics.
            OSError: the kernel's answer: EALREADY if this connection exists, EIO if the array refused it,
                EINVAL for a line that the kernel does not accept, or an error of the network.
        """
        line = connection.line(self._options())
        with self._opened() as file:
            file.write(line.encode())
            answer = file.read(_ANSWER_BYTES).decode(errors="replace")
        match = _INSTANCE.search(answer)
        if match is None:
            raise OSError(errno.EPROTO, f"{self._path} answered {answer[:80]!r}")
        return f"nvme{match[1]}"

    def _options(self) -> frozenset[str] | None:
        """The options that the kernel lists; None for one that does not list them, such as 5.15."""
        with self._opened() as file:
            try:
                text = file.read(_ANSWER_BYTES).decode(errors="replace")
            except OSError:
                return None
        return frozenset(part.partition("=")[0].strip() for part in text.split(",")) if text else None

    def _opened(self) -> io.FileIO:
        try:
            return open_file(self._path)
        except OSError as error:
            if error.errno not in _NO_MODULE:
                raise
            raise self._missing() from error

    def _missing(self) -> FailedPrecondition:
        return FailedPrecondition(
            f"the kernel of this host has no NVMe over fabrics: {self._path} is missing; {MISSING_MODULES}"
        )


def open_file(path: Path) -> io.FileIO:
    """Open the file for reading and writing, without a buffer: each write is one line."""
    return io.FileIO(path, "r+")
