"""The commands of the admin queue, after Connect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from csi_powerflex.simulator.faults import FaultKind, Plan
from csi_powerflex.simulator.nvme import identify
from csi_powerflex.simulator.nvme.association import Association
from csi_powerflex.simulator.nvme.command import (
    DONE,
    FABRICS,
    Admin,
    Answer,
    Command,
    Fabrics,
    Status,
    final,
)
from csi_powerflex.simulator.nvme.namespaces import Namespace, Shape
from csi_powerflex.simulator.nvme.pdu import MAX_TRANSFER
from csi_powerflex.simulator.nvme.subsystem import Subsystem

_NUMBER_OF_QUEUES, _EVENTS, _KEEP_ALIVE = 0x07, 0x0B, 0x0F
_CAPABILITIES, _VERSION, _CONFIGURATION, _STATUS = 0x00, 0x08, 0x14, 0x1C
_CONTIGUOUS, _READY_WITHIN, _NVM_COMMANDS = 1 << 16, 15 << 24, 1 << 37  # of the capabilities
_RETAIN_EVENT = 1 << 15
_ANOTHER_DIGIT = {"0": "1"}
_FOREIGN_NQN = "nqn.2014-08.org.example:another-array"
_NO_NGUID = "0" * 32

Handler = Callable[["AdminQueue", Command, Plan], Answer | None]


_FOR_DISCOVERY = (
    FABRICS,
    Admin.GET_LOG_PAGE,
    Admin.IDENTIFY,
    Admin.SET_FEATURES,
    Admin.GET_FEATURES,
    Admin.ASYNCHRONOUS_EVENT,
    Admin.KEEP_ALIVE,
)


class AdminQueue:
    """The admin queue of one association."""

    id = 0

    def __init__(self, subsystem: Subsystem, association: Association) -> None:
        self._subsystem = subsystem
        self.association = association

    def route(self, command: Command) -> str:
        """The name of the step, for faults."""
        match command.opcode:
            case Admin.GET_LOG_PAGE if command.dword(10) & 0xFF == identify.DISCOVERY:
                return "Nvme.discovery"
            case Admin.IDENTIFY:
                return "Nvme.identify"
            case Admin.KEEP_ALIVE:
                return "Nvme.keepAlive"
        return "Nvme.admin"

    def volume_of(self, command: Command) -> str:
        """The id of the volume that a command is about; empty if there is none."""
        namespace = self._namespaces().get(command.namespace_id)
        return namespace.volume_id if namespace is not None else ""

    def execute(self, command: Command, _data: bytes, plan: Plan) -> Answer | None:
        """Run a command. None if its end comes later.

        Raises:
            Refused: the command fails.
        """
        handler = self._COMMANDS.get(command.opcode)
        if handler is None or (self.association.discovery and command.opcode not in _FOR_DISCOVERY):
            raise final(Status.INVALID_OPCODE)
        return handler(self, command, plan)

    def _namespaces(self) -> Mapping[int, Namespace]:
        return self._subsystem.namespaces.of_host(self.association.initiator.host_id)

    # --- properties ----------------------------------------------------------------------------------

    def _fabrics(self, command: Command, _plan: Plan) -> Answer:
        association = self.association
        offset = command.dword(11)
        match command.fabrics_type:
            case Fabrics.PROPERTY_GET:
                values = {
                    _CAPABILITIES: identify.QUEUE_DEPTH - 1 | _CONTIGUOUS | _READY_WITHIN | _NVM_COMMANDS,
                    _VERSION: identify.VERSION,
                    _CONFIGURATION: association.configuration,
                    _STATUS: association.status,
                }
                if offset in values:
                    return Answer(result=values[offset])
            case Fabrics.PROPERTY_SET if offset == _CONFIGURATION:
                association.configuration = command.dword(12)
                return DONE
            case Fabrics.CONNECT:
                raise final(Status.SEQUENCE_ERROR)
        raise final(Status.INVALID_FIELD)

    # --- Identify ------------------------------------------------------------------------------------

    def _identify(self, command: Command, plan: Plan) -> Answer:
        match command.dword(10) & 0xFF:
            case 0x00:
                return Answer(data=identify.namespace(self._shape(command, plan)))
            case 0x01:
                return Answer(data=identify.controller(self._subsystem.facts(self.association)))
            case 0x02:
                return Answer(data=identify.namespace_list(self._namespaces(), command.namespace_id))
            case 0x03:
                return Answer(data=identify.descriptors(self._shape(command, plan)))
        raise final(Status.INVALID_FIELD)

    def _shape(self, command: Command, plan: Plan) -> Shape:
        namespace = self._namespaces().get(command.namespace_id)
        if namespace is None:
            raise final(Status.INVALID_NAMESPACE)
        shape = namespace.shape
        if plan.has(FaultKind.ZERO_NGUID):
            return Shape(_NO_NGUID, shape.size, shape.read_only)
        if plan.has(FaultKind.WRONG_NGUID):
            first = _ANOTHER_DIGIT.get(shape.nguid[0], "0")
            return Shape(first + shape.nguid[1:], shape.size, shape.read_only)
        return shape

    # --- log pages -----------------------------------------------------------------------------------

    def _log_page(self, command: Command, plan: Plan) -> Answer:
        length = ((command.dword(10) >> 16 | (command.dword(11) & 0xFFFF) << 16) + 1) * 4
        offset = command.qword(12)
        if length > MAX_TRANSFER or offset % 4:
            raise final(Status.INVALID_FIELD)
        page = self._log(command, plan)
        if offset > len(page):
            raise final(Status.INVALID_FIELD)
        return Answer(data=page[offset : offset + length].ljust(length, b"\0"))

    def _log(self, command: Command, plan: Plan) -> bytes:
        page = command.dword(10) & 0xFF
        if page == identify.DISCOVERY and self.association.discovery:
            subsystem = self._subsystem
            ports = subsystem.assigned_ports(self.association.initiator.nqn)
            nqn = subsystem.nqn if plan.has(FaultKind.WRONG_NQN) is None else _FOREIGN_NQN
            return identify.discovery_log(subsystem.generation, nqn, ports)
        if page == identify.NAMESPACES_CHANGED and not self.association.discovery:
            keep = bool(command.dword(10) & _RETAIN_EVENT)
            return identify.changed_list(self.association.changed(keep=keep))
        if page in identify.EMPTY_LOGS:
            return bytes(identify.PAGE)
        raise final(Status.INVALID_LOG_PAGE)

    # --- features and events -------------------------------------------------------------------------

    def _set_features(self, command: Command, _plan: Plan) -> Answer:
        value = command.dword(11)
        match command.dword(10) & 0xFF:
            case feature if feature == _NUMBER_OF_QUEUES:
                most = identify.IO_QUEUES - 1
                return Answer(result=min(value & 0xFFFF, most) | min(value >> 16, most) << 16)
            case feature if feature == _EVENTS:
                self.association.events_enabled = value
                self.association.deliver()
                return DONE
            case feature if feature == _KEEP_ALIVE:
                self.association.keep_alive_ms = value
                return DONE
        raise final(Status.INVALID_FIELD)

    def _get_features(self, command: Command, _plan: Plan) -> Answer:
        most = identify.IO_QUEUES - 1
        values = {
            _NUMBER_OF_QUEUES: most | most << 16,
            _EVENTS: self.association.events_enabled,
            _KEEP_ALIVE: self.association.keep_alive_ms,
        }
        feature = command.dword(10) & 0xFF
        if feature not in values:
            raise final(Status.INVALID_FIELD)
        return Answer(result=values[feature])

    def _event(self, command: Command, _plan: Plan) -> None:
        self.association.request_event(command.id)

    def _keep_alive(self, _command: Command, _plan: Plan) -> Answer:
        self.association.keep_alive()
        return DONE

    def _abort(self, _command: Command, _plan: Plan) -> Answer:
        return Answer(result=1)  # commands run in their order, so it is too late to abort one

    _COMMANDS: ClassVar[dict[int, Handler]] = {
        FABRICS: _fabrics,
        Admin.GET_LOG_PAGE: _log_page,
        Admin.IDENTIFY: _identify,
        Admin.ABORT: _abort,
        Admin.SET_FEATURES: _set_features,
        Admin.GET_FEATURES: _get_features,
        Admin.ASYNCHRONOUS_EVENT: _event,
        Admin.KEEP_ALIVE: _keep_alive,
    }
