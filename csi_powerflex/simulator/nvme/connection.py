"""A connection of a host: it reads PDUs, collects the data of commands, and sends what the queue answers.

Commands of one queue run one after the other. Between the request for a write's data and this data, other
commands may arrive.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Protocol

from csi_powerflex.simulator.faults import NO_FAULTS, FaultKind, Faults, NvmeStep, Plan
from csi_powerflex.simulator.nvme import pdu
from csi_powerflex.simulator.nvme.admin_queue import AdminQueue
from csi_powerflex.simulator.nvme.association import Association
from csi_powerflex.simulator.nvme.command import FABRICS, Answer, Command, Fabrics, Refused, Status, final
from csi_powerflex.simulator.nvme.identify import QUEUE_DEPTH
from csi_powerflex.simulator.nvme.io_queue import IoQueue
from csi_powerflex.simulator.nvme.pdu import MAX_TRANSFER, BadPdu, Fatal, Kind
from csi_powerflex.simulator.nvme.ports import Port
from csi_powerflex.simulator.nvme.subsystem import Parameters, Subsystem

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 10
_SEND_SECONDS = 30
_FREEZE_CHECK_SECONDS = 0.02


class Queue(Protocol):
    """The queue of a connection after Connect."""

    id: int
    association: Association

    def route(self, command: Command) -> str:
        """The name of the step, for faults."""

    def volume_of(self, command: Command) -> str:
        """The id of the volume that a command is about; empty if there is none."""

    def execute(self, command: Command, data: bytes, plan: Plan) -> Answer | None:
        """Run a command. None if its end comes later."""


@dataclass(slots=True)
class _Incoming:
    """A command whose data has not arrived completely."""

    command: Command
    data: bytearray
    received: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a connection arrived: the SDT's port, the portal's text, and whether it is for discovery only."""

    port: Port
    portal: str
    discovery_only: bool


class Connection:
    """One connection. :meth:`run` serves it until it ends."""

    def __init__(self, sock: socket.socket, place: Place, subsystem: Subsystem, faults: Faults) -> None:
        self.port = place.port
        self.discovery_only = place.discovery_only
        self.peer = str(sock.getpeername()[0])
        self._portal = place.portal
        self._socket = sock
        self._subsystem = subsystem
        self._faults = faults
        self._queue: Queue | None = None
        self._incoming: dict[int, _Incoming] = {}
        self._head = 0
        self._sending = threading.Lock()
        self._closed = threading.Event()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_SECONDS, 0))

    # --- life ----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve the connection. Nothing that the host sends makes this raise an error."""
        try:
            self._serve()
        except BadPdu as error:
            log.info("connection of %s ended: %s", self.peer, error)
            with contextlib.suppress(OSError):
                self._send(pdu.terminated(error.status))
        except (EOFError, OSError):
            pass
        except Exception:
            log.exception("the connection of %s ended", self.peer)
        finally:
            self.close()
            if self._queue is not None:
                self._subsystem.leave(self._queue.association, self._queue.id)
            self._socket.close()

    def close(self) -> None:
        """End the connection. :meth:`run` then returns."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _reset(self) -> None:
        """End the connection so that the host sees a reset. Only :meth:`run` may call this."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._closed.set()
        self._socket.close()
        raise EOFError

    def _receive(self, length: int) -> bytes:
        buffer = bytearray(length)
        view = memoryview(buffer)
        while view:
            count = self._socket.recv_into(view)
            if not count:
                raise EOFError
            view = view[count:]
        return bytes(buffer)

    def _send(self, data: bytes) -> None:
        try:
            with self._sending:
                self._socket.sendall(data)
        except OSError:
            self.close()  # a part may have been sent
            raise

    # --- PDUs ----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        self._strike("Nvme.accept")
        self._limit_silence(_CONNECT_SECONDS)
        first = pdu.read(self._receive)
        if first.kind is not Kind.INITIALIZE:
            raise BadPdu(Fatal.SEQUENCE, f"{first.kind.name} came first")
        if pdu.format_version(first.header):
            raise BadPdu(Fatal.UNSUPPORTED, "an unknown format version")
        self._send(pdu.initialized())
        while not self._closed.is_set():
            received = pdu.read(self._receive)
            match received.kind:
                case Kind.COMMAND:
                    self._begin(Command.parse(received.header), received.data)
                case Kind.DATA_TO_TARGET:
                    self._collect(pdu.DataToTarget.parse(received.header), received.data)
                case Kind.HOST_TERMINATES:
                    return
                case _:
                    raise BadPdu(Fatal.SEQUENCE, f"{received.kind.name} came a second time")

    def _limit_silence(self, seconds: int) -> None:
        """End the connection if the host is silent for so long. 0 stands for no limit."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", seconds, 0))

    def _begin(self, command: Command, inside: bytes) -> None:
        """Run a command, or ask for its data first."""
        if command.id in self._incoming:
            self._end(command, Answer(Status.COMMAND_ID_CONFLICT))
        elif not command.gives_data:
            self._run(command, b"")
        elif command.is_data_inside:
            if command.offset + command.length > len(inside):
                raise BadPdu(Fatal.OUT_OF_RANGE, "less data than the command says")
            self._run(command, inside[command.offset : command.offset + command.length])
        elif command.length > MAX_TRANSFER:
            self._end(command, Answer(final(Status.DATA_LENGTH_INVALID).status))
        elif len(self._incoming) >= QUEUE_DEPTH:
            raise BadPdu(Fatal.LIMIT_EXCEEDED, "more commands than the queue is deep")
        else:
            self._incoming[command.id] = _Incoming(command, bytearray(command.length))
            self._send(pdu.ready_to_transfer(command.id, command.id, command.length))

    def _collect(self, piece: pdu.DataToTarget, data: bytes) -> None:
        """Take a piece of a command's data. Run the command with the last one."""
        incoming = self._incoming.get(piece.command_id)
        if incoming is None or piece.tag != piece.command_id:
            raise BadPdu(Fatal.INVALID_HEADER, "data that no command waits for")
        end = piece.offset + piece.length
        fits = piece.offset == incoming.received and end <= len(incoming.data)
        if not fits or not data or len(data) != piece.length:
            raise BadPdu(Fatal.OUT_OF_RANGE, "data outside of what was asked for")
        incoming.data[piece.offset : end] = data
        incoming.received = end
        if end == len(incoming.data):
            del self._incoming[piece.command_id]
            self._run(incoming.command, bytes(incoming.data))

    # --- commands ------------------------------------------------------------------------------------

    def _run(self, command: Command, data: bytes) -> None:
        answer: Answer | None
        lost = False
        try:
            if self._queue is None:
                answer = self._connect(command, data)
            else:
                plan = self._strike_command(self._queue, command)
                lost = plan.has(FaultKind.LOST_REPLY) is not None
                answer = self._execute(self._queue, command, data, plan)
        except Refused as refused:
            answer = Answer(refused.status, refused.result)
        if lost:
            self._reset()
        if answer is not None:
            self._end(command, answer)

    @staticmethod
    def _execute(queue: Queue, command: Command, data: bytes, plan: Plan) -> Answer | None:
        error = plan.has(FaultKind.ERROR)
        if error is None:
            return queue.execute(command, data, plan)
        if error.after_effect:
            queue.execute(command, data, plan)
        raise Refused(error.code)

    def _connect(self, command: Command, data: bytes) -> Answer:
        """Make this connection a queue. It must be the first command."""
        if command.opcode != FABRICS or command.fabrics_type != Fabrics.CONNECT:
            raise final(Status.SEQUENCE_ERROR)
        wanted = Parameters.parse(command, data)
        host = self._subsystem.host_text(wanted.host)
        plan = self._strike("Nvme.connect", host)
        error = plan.has(FaultKind.ERROR)
        if error is not None:
            raise Refused(error.code)
        association = self._subsystem.connect(self, wanted)
        if wanted.queue_id:
            self._queue = IoQueue(self._subsystem.namespaces, association, wanted.queue_id)
        else:
            self._queue = AdminQueue(self._subsystem, association)
        self._limit_silence(0)
        return Answer(result=association.id)

    def _end(self, command: Command, answer: Answer) -> None:
        data = answer.data
        if data is None:
            self.complete(command.id, answer.status, answer.result)
            return
        data = data[: command.length]
        self._send(pdu.data_to_host(command.id, data) + self._completion(command.id, answer.status, 0))

    def complete(self, command_id: int, status: int, result: int) -> None:
        """Send the end of a command. An error ends the connection."""
        with contextlib.suppress(OSError):
            self._send(self._completion(command_id, status, result))

    def _completion(self, command_id: int, status: int, result: int) -> bytes:
        self._head = (self._head + 1) % QUEUE_DEPTH
        queue = self._queue.id if self._queue is not None else 0
        return pdu.completion(
            result=result, head=self._head, queue=queue, command_id=command_id, status=status
        )

    # --- faults --------------------------------------------------------------------------------------

    def _strike_command(self, queue: Queue, command: Command) -> Plan:
        """As :meth:`_strike`, for a command."""
        if not self._faults.active:
            return NO_FAULTS
        return self._strike(queue.route(command), queue.volume_of(command))

    def _strike(self, route: str, about: str = "") -> Plan:
        """Carry out the faults of a step that do not depend on the command: wait, be silent, reset.

        Raises:
            EOFError: the connection was closed meanwhile, so the step must have no effect.
        """
        if not self._faults.active:
            return NO_FAULTS
        queue = self._queue
        host = self._subsystem.host_text(queue.association.initiator.nqn) if queue is not None else ""
        plan = self._faults.plan_step(NvmeStep(route, self._portal, f"{host} {about}"))
        if not plan.faults:
            return plan
        self._wait(plan.delay)
        frozen = plan.has(FaultKind.FREEZE)
        while frozen is not None and self._faults.is_there(frozen.id):
            self._wait(_FREEZE_CHECK_SECONDS)
        if plan.has(FaultKind.RESET):
            self._reset()
        return plan

    def _wait(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise EOFError
