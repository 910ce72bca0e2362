"""The NVMe/TCP target of one system: it listens where the SDTs say, and tells hosts what changed."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Collection
from functools import partial

from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.faults import FaultKind, Faults, NvmeStep
from csi_powerflex.simulator.model import Host, Object, Sdt, Volume
from csi_powerflex.simulator.nvme.association import Association
from csi_powerflex.simulator.nvme.connection import Connection, Place
from csi_powerflex.simulator.nvme.listener import Address, Listener, listen
from csi_powerflex.simulator.nvme.namespaces import Namespaces
from csi_powerflex.simulator.nvme.ports import Port, ports_of
from csi_powerflex.simulator.nvme.subsystem import Subsystem

log = logging.getLogger(__name__)

_CHECK_SECONDS = 0.5
_END_SECONDS = 5
_MAX_CONNECTIONS = 1024
_PORT_ATTEMPTS = 20


class CannotListen(Exception):
    """A portal of a new system cannot listen. The message says which and why."""


class NvmeTarget:
    """Serves the volumes of a system to its NVMe hosts, while it is started.

    It listens on each address of an SDT that this machine has. The array's changes take effect before the
    request that makes them is answered; the events about them follow at once.
    """

    def __init__(self, array: Array, faults: Faults) -> None:
        self._array = array
        self._faults = faults
        self._namespaces = Namespaces(array, self._changed)
        self._subsystem = Subsystem(array, self._namespaces)
        self._listeners: dict[Address, Listener] = {}
        self._opened: dict[Address, socket.socket] = {}
        self._events: queue.SimpleQueue[Association | None] = queue.SimpleQueue()
        self._worker = threading.Thread(target=self._work, name="nvme-events", daemon=True)
        self._stopped = False

    def start(self, required: Collection[str] = ()) -> None:
        """Choose the ports that are still open, then listen.

        This machine must have the addresses ``required``. SDTs do not listen at others that it does not have.

        Raises:
            CannotListen: an address of an SDT is in use, is missing but required, or has no free port.
        """
        self._worker.start()
        with self._array.lock:
            for sdt in self._array.sdts.values():
                self._choose_ports(sdt)
            self._array.commit()
            self._namespaces.refresh_all()
            self._array.observers.append(self._observe)
            self._array.paused = self._namespaces.paused
            self._faults.listeners.append(self._follow_faults)
            self._follow_sdts(self._refuse_start(required))

    def stop(self) -> None:
        """Stop to listen, end all connections and close the files."""
        with self._array.lock:
            self._stopped = True
            threads = [thread for listener in self._listeners.values() for thread in listener.close()]
            self._listeners = {}
        self._events.put(None)
        deadline = time.monotonic() + _END_SECONDS
        for thread in (*threads, self._worker):
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        self._namespaces.close()
        for sock in self._opened.values():
            sock.close()

    @property
    def io_portals(self) -> list[Address]:
        """Where the target listens now for I/O."""
        with self._array.lock:
            ports = [port for sdt in self._array.sdts.values() for port in ports_of(sdt)]
            wanted = [Address(port.address, port.nvme_port) for port in ports]
            return [address for address in wanted if address in self._listeners]

    # --- listening -----------------------------------------------------------------------------------

    def _choose_ports(self, sdt: Sdt) -> None:
        """Replace the ports 0 of an SDT by free ones. The sockets stay open until they are listened on."""
        for name in ("nvme_port", "discovery_port"):
            if getattr(sdt, name) == 0:
                self._array.change(sdt, **{name: self._free_port([address.ip for address in sdt.addresses])})

    def _free_port(self, addresses: list[str]) -> int:
        """A port that is free at all addresses."""
        reason: OSError | None = None
        for _ in range(_PORT_ATTEMPTS):
            opened: dict[Address, socket.socket] = {}
            port = 0
            try:
                for ip in addresses:
                    sock = listen(Address(ip, port))
                    port = sock.getsockname()[1]
                    opened[Address(ip, port)] = sock
            except OSError as error:
                reason = error
                for sock in opened.values():
                    sock.close()
                if error.errno != errno.EADDRINUSE:
                    break
            else:
                self._opened |= opened
                return port
        raise CannotListen(f"cannot listen for NVMe/TCP on {', '.join(addresses)}: {_text(reason)}")

    def _wanted(self) -> dict[Address, Place]:
        """Where to listen. If two SDTs have the same address and port, the first one has it."""
        wanted: dict[Address, Place] = {}
        for sdt in self._array.sdts.values():
            for port in ports_of(sdt):
                portal = portal_of(port)
                if self._faults.closes(portal):
                    continue
                for number, discovery_only in ((port.nvme_port, False), (port.discovery_port, True)):
                    wanted.setdefault(Address(port.address, number), Place(port, portal, discovery_only))
        return wanted

    @staticmethod
    def _refuse_start(required: Collection[str]) -> Callable[[Address, OSError], None]:
        def refuse(address: Address, error: OSError) -> None:
            if error.errno != errno.EADDRNOTAVAIL or address.ip in required:
                raise CannotListen(f"cannot listen for NVMe/TCP on {address}: {_text(error)}") from error

        return refuse

    def _follow_sdts(self, failed: Callable[[Address, OSError], None] = lambda *_: None) -> None:
        """Open and close listeners so that they are where the SDTs say. ``failed`` may raise an error."""
        if self._stopped:
            return
        wanted = self._wanted()
        for address in set(self._listeners) - set(wanted):
            self._listeners.pop(address).close()
        for address, place in wanted.items():
            if address in self._listeners:
                continue
            try:
                sock = self._opened.pop(address, None) or listen(address)
            except OSError as error:
                failed(address, error)
                log.info("no NVMe/TCP portal at %s: %s", address, _text(error))
                continue
            serve = partial(self._connection, place)
            self._listeners[address] = Listener(sock, serve, most=_MAX_CONNECTIONS)

    def _connection(self, place: Place, sock: socket.socket) -> Connection:
        return Connection(sock, place, self._subsystem, self._faults)

    def _follow_faults(self) -> None:
        with self._array.lock:
            self._follow_sdts()
        for association in self._subsystem.associations():
            self._events.put(association)  # a fault may have held its event back

    # --- changes -------------------------------------------------------------------------------------

    def _observe(self, item: Object) -> None:
        """Follow a change of the array. The array's lock is held."""
        if isinstance(item, Volume | Host | Sdt):
            self._subsystem.generation += 1
        if isinstance(item, Volume):
            self._namespaces.refresh(item.id)
        elif isinstance(item, Sdt):
            self._follow_sdts()

    def _changed(self, host_id: str, namespace: int) -> None:
        """A host sees a namespace come, go or change."""
        for association in self._subsystem.of_host(host_id):
            step = self._event_step(association, namespace)
            plan = self._faults.plan_step(step)
            association.note(namespace, announce=plan.has(FaultKind.NO_EVENT) is None)
            if plan.has(FaultKind.FREEZE) is None:
                self._events.put(association)

    def _event_step(self, association: Association, namespace: int) -> NvmeStep:
        known = self._namespaces.of_host(association.initiator.host_id).get(namespace)
        host = self._subsystem.host_text(association.initiator.nqn)
        return NvmeStep(
            "Nvme.event", portal_of(association.port), f"{host} {known.volume_id if known else ''}"
        )

    def _work(self) -> None:
        """Send events, and end the associations of hosts that are not alive any more."""
        checked = time.monotonic()
        while True:
            with contextlib.suppress(queue.Empty):
                association = self._events.get(timeout=_CHECK_SECONDS)
                if association is None:
                    return
                association.deliver()
            if time.monotonic() - checked >= _CHECK_SECONDS:
                checked = time.monotonic()
                self._end_overdue()

    def _end_overdue(self) -> None:
        for association in self._subsystem.associations():
            if association.is_overdue:
                log.info("host %s is silent, its association ends", association.initiator.nqn)
                association.close()


def portal_of(port: Port) -> str:
    """The text of a portal, such as ``127.0.0.1:4420``."""
    return str(Address(port.address, port.nvme_port))


def _text(error: OSError | None) -> str:
    return os.strerror(error.errno or 0) if error is not None else "no port is free"
