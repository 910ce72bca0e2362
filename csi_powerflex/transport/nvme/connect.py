"""Connecting this host to the portals of a subsystem.

Each attempt has a thread of its own, because the kernel answers only when the portal does. Several calls
share an attempt: there is at most one for each portal. A caller does not wait for attempts. It looks for its
device, and the first connection that is made brings the device. The others go on. Nothing here disconnects.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from csi_powerflex.config.node import MAX_IO_QUEUES
from csi_powerflex.errors import DriverError
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log
from csi_powerflex.transport.nvme.fabrics import KEEP_FOREVER, Connection, Fabrics
from csi_powerflex.transport.nvme.identity import HostPair
from csi_powerflex.transport.nvme.sysfs import NvmeController, Sysfs, same_address

log = Log(__name__)

_MAX_QUEUES_OF_HOST = 128  # protocol notes, "Limits": connections of a host to a protection domain
_UNREACHABLE = frozenset(
    {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.ECONNRESET}
)
_WORDS = {
    errno.EIO: "the array refused it",
    errno.EINVAL: "the kernel does not accept the connection, see dmesg",
}


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """An IP address and the port for volumes of a portal."""

    address: str
    port: int

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}"

    def is_of(self, controller: NvmeController) -> bool:
        """Whether the NVMe controller is a connection to this portal."""
        return self.port == controller.port and same_address(self.address, controller.address)


@dataclass(frozen=True, slots=True)
class Failure:
    """The last attempt at a portal has failed.

    Attributes:
        error: the kernel's answer.
        at: when, by ``time.monotonic()``.
    """

    error: Exception
    at: float

    @property
    def errno(self) -> int:
        """The kernel's error number; 0 where it gave none."""
        return (self.error.errno or 0) if isinstance(self.error, OSError) else 0

    def __str__(self) -> str:
        if not isinstance(self.error, OSError):
            return str(self.error)
        words = _WORDS.get(self.errno) or os.strerror(self.errno)
        return f"{words} ({errno.errorcode.get(self.errno, self.errno)})"


@dataclass
class _Subsystem:
    """What is known of the connections to one subsystem. ``lock`` guards the rest."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    under_way: set[Address] = field(default_factory=set)
    failures: dict[Address, Failure] = field(default_factory=dict)


class Connector:
    """Makes connections.

    Args:
        retry_seconds: how long a portal is left alone after a failed attempt.
        io_queues: the I/O queues of each connection; None for one per CPU, at most ``MAX_IO_QUEUES``.
        single: whether there may be only one connection to a subsystem.
    """

    def __init__(
        self, fabrics: Fabrics, sysfs: Sysfs, *, retry_seconds: float, io_queues: int | None, single: bool
    ) -> None:
        self._fabrics = fabrics
        self._sysfs = sysfs
        self._retry_seconds = retry_seconds
        self._io_queues = io_queues or min(os.cpu_count() or 1, MAX_IO_QUEUES)
        self._single = single
        self._guard = threading.Lock()
        self._subsystems: dict[tuple[str, str], _Subsystem] = {}

    def connect_missing(self, nqn: str, addresses: Sequence[Address], host: HostPair) -> None:
        """Begin to connect to those portals of the subsystem that this host is not connected to.

        It does not wait. A portal is left out while an attempt is under way, and shortly after a failed one.

        Args:
            nqn: the NQN of the subsystem.
            addresses: its portals, the best first.
            host: the identity of this host.
        """
        subsystem = self._subsystem(nqn, host)
        with subsystem.lock:
            present = [one for one in self._present(nqn, host) if not one.ending]
            if self._single and (present or subsystem.under_way):
                return
            missing = [one for one in addresses if not any(one.is_of(controller) for controller in present)]
            due = list(self._due(subsystem, missing))
            for address in due[:1] if self._single else due:
                subsystem.under_way.add(address)
                connection = Connection(
                    nqn,
                    address.address,
                    address.port,
                    host,
                    self._queues(1 if self._single else len(addresses)),
                )
                threading.Thread(
                    target=self._run, args=(subsystem, address, connection), name="nvme-connect", daemon=True
                ).start()

    def failures(self, nqn: str, host: HostPair) -> Mapping[Address, Failure]:
        """The portals at which the last attempt has failed."""
        subsystem = self._subsystem(nqn, host)
        with subsystem.lock:
            return dict(subsystem.failures)

    def under_way(self, nqn: str, host: HostPair) -> frozenset[Address]:
        """The portals that have not answered yet."""
        subsystem = self._subsystem(nqn, host)
        with subsystem.lock:
            return frozenset(subsystem.under_way)

    def _subsystem(self, nqn: str, host: HostPair) -> _Subsystem:
        with self._guard:
            return self._subsystems.setdefault((nqn, host.key), _Subsystem())

    def _present(self, nqn: str, host: HostPair) -> list[NvmeController]:
        return [one for one in self._sysfs.read().of_host(host.key) if one.nqn.startswith(nqn)]

    def _due(self, subsystem: _Subsystem, addresses: Iterable[Address]) -> Iterable[Address]:
        """Those that may be tried now, the one that failed longest ago first."""
        now = time.monotonic()
        never = float("-inf")
        tried = {address: failure.at for address, failure in subsystem.failures.items()}
        for address in sorted(addresses, key=lambda address: tried.get(address, never)):
            rested = now - tried.get(address, never) >= self._retry_seconds
            if rested and address not in subsystem.under_way:
                yield address

    def _queues(self, connections: int) -> int:
        """The number of I/O queues with which all connections together stay below the array's limit.

        Each connection has one more queue, for administration.
        """
        return max(min(self._io_queues, _MAX_QUEUES_OF_HOST // max(connections, 1) - 1), 1)

    def _run(self, subsystem: _Subsystem, address: Address, connection: Connection) -> None:
        began = time.monotonic()
        failure: Failure | None = None
        try:
            name = self._fabrics.connect(connection)
        except OSError as error:
            if error.errno != errno.EALREADY:
                failure = Failure(error, time.monotonic())
            result = _result(error)
        except DriverError as error:
            failure, result = Failure(error, time.monotonic()), "failed"
        else:
            result = "ok"
            log.info("connected", nqn=connection.nqn, portal=address, controller=name)
        with subsystem.lock:
            before = subsystem.failures.get(address)
            subsystem.under_way.discard(address)
            if failure is None:
                subsystem.failures.pop(address, None)
            else:
                subsystem.failures[address] = failure
        metrics.NVME_CONNECTS.labels(result).inc()
        if failure is not None and (before is None or str(before) != str(failure)):
            waited = f"{time.monotonic() - began:.1f}"
            log.warning(
                "portal not connected", nqn=connection.nqn, portal=address, reason=failure, seconds=waited
            )


def keep_forever(controllers: Iterable[NvmeController]) -> None:
    """Let the kernel never give up these connections of this host.

    Another program may have made them, or an older version. The kernel accepts it only while they are live.
    """
    for controller in controllers:
        if controller.loss_timeout is None or not controller.live:
            continue
        try:
            (controller.folder / "ctrl_loss_tmo").write_text(KEEP_FOREVER)
        except OSError as error:
            log.warning("ctrl_loss_tmo not changed", controller=controller.name, reason=error.strerror)
            continue
        log.info("ctrl_loss_tmo changed", controller=controller.name, before=controller.loss_timeout)


def rescan(controllers: Iterable[NvmeController]) -> None:
    """Let the kernel ask the array for namespaces and sizes again, over the live ones of these connections.

    It only speeds up what an event brings, so an error is only logged.
    """
    for controller in controllers:
        if controller.live:
            try:
                (controller.folder / "rescan_controller").write_text("1")
            except OSError as error:
                log.warning("rescan failed", controller=controller.name, reason=error.strerror)


def _result(error: OSError) -> str:
    """How an attempt ended, as the value of a metric's label."""
    results = {errno.EALREADY: "already", errno.EIO: "refused", errno.EINVAL: "invalid"}
    return results.get(error.errno or 0, "unreachable" if error.errno in _UNREACHABLE else "failed")
