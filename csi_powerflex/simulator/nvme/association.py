"""Associations: one NVMe controller with the connections of one host to it, and the events for this host."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Protocol

from csi_powerflex.simulator.nvme.command import Refused, Status
from csi_powerflex.simulator.nvme.identify import EVENT_REQUESTS, NAMESPACE_EVENTS, NAMESPACES_CHANGED
from csi_powerflex.simulator.nvme.ports import Port

_NOTICE = 2
_EVENT = _NOTICE | NAMESPACES_CHANGED << 16
_ENABLED = 1
_SHUTDOWN = 0b11 << 14
_READY = 1
_SHUTDOWN_DONE = 0b10 << 2

# A host that is slow, but alive, must not lose its paths. The specification allows the target to end an
# association after one interval.
_KEEP_ALIVE_FACTOR = 2


class Channel(Protocol):
    """A connection, as an association sees it."""

    def complete(self, command_id: int, status: int, result: int) -> None:
        """Send the end of a command."""

    def close(self) -> None:
        """End the connection. It may be closed already."""


@dataclass(frozen=True, slots=True)
class Initiator:
    """The host of an association. ``host_id`` is that of its object; empty for discovery."""

    nqn: str
    host_uuid: bytes
    host_id: str = ""


class Association:
    """One NVMe controller. ``discovery`` says that it serves only the discovery log."""

    def __init__(
        self, controller_id: int, initiator: Initiator, port: Port, admin: Channel, *, discovery: bool
    ) -> None:
        self.id = controller_id
        self.initiator = initiator
        self.port = port
        self.discovery = discovery
        self.configuration = 0
        self.keep_alive_ms = 0
        self.events_enabled = NAMESPACE_EVENTS
        self.queues: dict[int, Channel] = {}
        self._admin = admin
        self._lock = threading.Lock()
        self._requests: list[int] = []
        self._changed: set[int] = set()
        self._pending = False
        self._unread = False
        self._alive_at = time.monotonic()

    @property
    def status(self) -> int:
        """The status property: ready, and shut down."""
        ready = _READY if self.configuration & _ENABLED else 0
        return ready | (_SHUTDOWN_DONE if self.configuration & _SHUTDOWN else 0)

    @property
    def enabled(self) -> bool:
        """Whether the host has enabled the NVMe controller, so that I/O queues may connect."""
        return bool(self.configuration & _ENABLED)

    def keep_alive(self) -> None:
        """The host has shown that it is alive."""
        self._alive_at = time.monotonic()

    @property
    def is_overdue(self) -> bool:
        """Whether the host has not shown for too long that it is alive."""
        allowed = _KEEP_ALIVE_FACTOR * self.keep_alive_ms / 1000
        return self.keep_alive_ms > 0 and time.monotonic() - self._alive_at > allowed

    def close(self) -> None:
        """End all its connections."""
        for channel in (self._admin, *list(self.queues.values())):
            channel.close()

    # --- events --------------------------------------------------------------------------------------

    def note(self, namespace: int, *, announce: bool) -> None:
        """A namespace has changed. :meth:`deliver` then tells the host, if ``announce``."""
        with self._lock:
            self._changed.add(namespace)
            self._pending = self._pending or announce

    def request_event(self, command_id: int) -> None:
        """The host waits for an event with this command.

        Raises:
            Refused: it waits with too many commands already.
        """
        with self._lock:
            if len(self._requests) >= EVENT_REQUESTS:
                raise Refused(Status.TOO_MANY_EVENT_REQUESTS)
            self._requests.append(command_id)
        self.deliver()

    def deliver(self) -> None:
        """Send the event that is due, if the host waits for one.

        After an event, the next one is sent only when the host has read the log of changes.
        """
        with self._lock:
            due = self._pending and not self._unread and self.events_enabled & NAMESPACE_EVENTS
            if not (due and self._requests):
                return
            command_id = self._requests.pop(0)
            self._pending = False
            self._unread = True
        self._admin.complete(command_id, Status.SUCCESS, _EVENT)

    def changed(self, *, keep: bool) -> set[int]:
        """The namespaces that have changed since the host last asked. ``keep`` leaves the log as it is."""
        with self._lock:
            changed = set(self._changed)
            if not keep:
                self._changed.clear()
                self._pending = False
                self._unread = False
        return changed
