"""The NVMe subsystem of one PowerFlex system: its NVMe controllers, and who may connect to them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.model import Host, NvmeController
from csi_powerflex.simulator.nvme.association import Association, Channel, Initiator
from csi_powerflex.simulator.nvme.command import Command, Refused, Status
from csi_powerflex.simulator.nvme.identify import IO_QUEUES, QUEUE_DEPTH, ControllerFacts
from csi_powerflex.simulator.nvme.namespaces import Namespaces
from csi_powerflex.simulator.nvme.ports import Port, assigned_ports, system_nqn
from csi_powerflex.simulator.resources.mapping import is_approved

DISCOVERY_NQN = "nqn.2014-08.org.nvmexpress.discovery"

_PARAMETERS = struct.Struct("<16sH238x256s256s256x")
_ANY_CONTROLLER = 0xFFFF
_LAST_ID = 0xFFEF
_MAX_DISCOVERY_CONTROLLERS = 1024


class Connecting(Channel, Protocol):
    """A connection on which a host sends Connect. With ``discovery_only``, its port serves nothing else."""

    port: Port
    peer: str
    discovery_only: bool


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a host sends with Connect."""

    host_uuid: bytes
    controller_id: int
    subsystem: str
    host: str
    queue_id: int
    queue_size: int
    keep_alive_ms: int

    @classmethod
    def parse(cls, command: Command, data: bytes) -> Parameters:
        """Read the command and its data.

        Raises:
            Refused: the data has another length.
        """
        if len(data) != _PARAMETERS.size:
            raise Refused(Status.DATA_LENGTH_INVALID)
        host_uuid, controller_id, subsystem, host = _PARAMETERS.unpack(data)
        return cls(
            host_uuid,
            controller_id,
            _text(subsystem),
            _text(host),
            command.dword(10) >> 16,
            (command.dword(11) & 0xFFFF) + 1,
            command.dword(12),
        )


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


class Subsystem:
    """The NVMe controllers of a system. All methods take the array's lock where they need it."""

    def __init__(self, array: Array, namespaces: Namespaces) -> None:
        self.array = array
        self.namespaces = namespaces
        self._associations: dict[int, Association] = {}
        self._last_id = 0
        self.generation = 0

    @property
    def nqn(self) -> str:
        """The NQN to which hosts connect."""
        return system_nqn(self.array.system.id)

    @property
    def identified_nqn(self) -> str:
        """The NQN in the Identify data of the NVMe controllers."""
        return self.nqn + self.array.settings.nqn_suffix

    def facts(self, association: Association) -> ControllerFacts:
        """What the Identify data of an NVMe controller says of it."""
        array = self.array
        nqn = DISCOVERY_NQN if association.discovery else self.identified_nqn
        release = array.dialect.release.removeprefix("R").replace("_", ".")
        return ControllerFacts(association.id, nqn, array.system.id, release, association.discovery)

    def associations(self) -> list[Association]:
        """The associations that exist."""
        return list(self._associations.values())

    def assigned_ports(self, nqn: str) -> list[Port]:
        """The ports that the discovery log shows to a host; none for an unknown host."""
        with self.array.lock:
            host = self.array.host_by_nqn(nqn)
            return assigned_ports(self.array, host) if host is not None else []

    def host_text(self, nqn: str) -> str:
        """The NQN of a host, and the id and name of its object if the array knows it."""
        with self.array.lock:
            host = self.array.host_by_nqn(nqn)
        return nqn if host is None else f"{nqn} {host.nqn} {host.id} {host.name or ''}"

    # --- Connect -------------------------------------------------------------------------------------

    def connect(self, connection: Connecting, wanted: Parameters) -> Association:
        """The association for a queue that connects: a new one for queue 0, else the one that it names.

        Raises:
            Refused: the host, the subsystem or a parameter is not accepted.
        """
        discovery = wanted.subsystem == DISCOVERY_NQN
        if not discovery and (connection.discovery_only or wanted.subsystem != self.nqn):
            raise Refused(Status.INVALID_PARAMETERS)
        if not 2 <= wanted.queue_size <= QUEUE_DEPTH or not any(wanted.host_uuid) or not wanted.host:
            raise Refused(Status.INVALID_PARAMETERS)
        with self.array.lock:
            host_id = "" if discovery else self._allowed(connection.port, wanted.host).id
            if wanted.queue_id:
                return self._join(connection, wanted)
            if wanted.controller_id != _ANY_CONTROLLER:
                raise Refused(Status.INVALID_PARAMETERS)
            initiator = Initiator(wanted.host, wanted.host_uuid, host_id)
            return self._create(connection, wanted, initiator)

    def _allowed(self, port: Port, nqn: str) -> Host:
        """The host with this NQN, if the array lets it connect to this port."""
        host = self.array.host_by_nqn(nqn)
        if host is None or not is_approved(self.array, host):
            raise Refused(Status.INVALID_HOST)
        if self.array.settings.refuse_unassigned_ports and port not in assigned_ports(self.array, host):
            raise Refused(Status.INVALID_HOST)
        if self._connections(host, port) >= self.array.settings.max_nvme_connections_per_host:
            raise Refused(Status.CONTROLLER_BUSY)
        return host

    def _connections(self, host: Host, port: Port) -> int:
        """How many connections a host has to the protection domain of a port."""
        sdts = self.array.sdts
        domain = sdts[port.sdt_id].domain_id if port.sdt_id in sdts else ""
        return sum(
            1 + len(each.queues)
            for each in self._associations.values()
            if each.initiator.host_id == host.id
            and each.port.sdt_id in sdts
            and sdts[each.port.sdt_id].domain_id == domain
        )

    def _create(self, connection: Connecting, wanted: Parameters, initiator: Initiator) -> Association:
        discovery = not initiator.host_id
        if discovery and sum(e.discovery for e in self._associations.values()) >= _MAX_DISCOVERY_CONTROLLERS:
            raise Refused(Status.CONTROLLER_BUSY)
        port = connection.port
        association = Association(self._new_id(), initiator, port, connection, discovery=discovery)
        association.keep_alive_ms = wanted.keep_alive_ms
        self._associations[association.id] = association
        if not discovery:
            self.array.nvme_controllers[association.id] = NvmeController(
                number=association.id,
                host_id=initiator.host_id,
                host_ip=connection.peer,
                sdt_id=port.sdt_id,
                sdt_ip=port.address,
            )
        return association

    def _new_id(self) -> int:
        """An id that no other NVMe controller has. It is not used again soon."""
        for _ in range(_LAST_ID):
            self._last_id = self._last_id % _LAST_ID + 1
            if self._last_id not in self._associations:
                return self._last_id
        raise Refused(Status.CONTROLLER_BUSY)

    def _join(self, connection: Connecting, wanted: Parameters) -> Association:
        """The association that a queue for I/O belongs to."""
        association = self._associations.get(wanted.controller_id)
        if association is None or association.discovery:
            raise Refused(Status.INVALID_PARAMETERS)
        owner = association.initiator
        if (owner.nqn, owner.host_uuid) != (wanted.host, wanted.host_uuid):
            raise Refused(Status.INVALID_HOST)
        if wanted.queue_id > IO_QUEUES or wanted.queue_id in association.queues:
            raise Refused(Status.INVALID_PARAMETERS)
        if not association.enabled:
            raise Refused(Status.SEQUENCE_ERROR)
        association.queues[wanted.queue_id] = connection
        return association

    # --- the end -------------------------------------------------------------------------------------

    def leave(self, association: Association, queue_id: int) -> None:
        """A queue has ended. The end of queue 0 ends the association."""
        with self.array.lock:
            if queue_id:
                association.queues.pop(queue_id, None)
                return
            self._associations.pop(association.id, None)
            self.array.nvme_controllers.pop(association.id, None)
        association.close()

    # --- changes -------------------------------------------------------------------------------------

    def of_host(self, host_id: str) -> list[Association]:
        """The associations of a host that serve I/O."""
        return [each for each in self.associations() if host_id and each.initiator.host_id == host_id]
