"""The ports of SDTs, and which of them the array assigns to an NVMe host.

A port is an address of an SDT with its two TCP ports. The array's load balancer gives each host at most
``maxNumSysPorts`` ports in each protection domain where it has volumes. The discovery log shows only these.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.model import Host, Sdt

STORAGE_ONLY = "StorageOnly"


@dataclass(frozen=True, slots=True)
class Port:
    """An address at which hosts reach an SDT."""

    sdt_id: str
    address: str
    nvme_port: int
    discovery_port: int


def system_nqn(system_id: str) -> str:
    """The NQN of a system, to which hosts connect."""
    return f"nqn.1988-11.com.dell:powerflex:00:{system_id}"


def ports_of(sdt: Sdt) -> list[Port]:
    """The ports of an SDT for hosts; none while it is in maintenance."""
    if sdt.maintenance:
        return []
    return [
        Port(sdt.id, address.ip, sdt.nvme_port, sdt.discovery_port)
        for address in sdt.addresses
        if address.role != STORAGE_ONLY
    ]


def assigned_ports(array: Array, host: Host) -> list[Port]:
    """The ports that the array assigns to an NVMe host; none while no volume is mapped to it.

    The array spreads them over the SDTs. This is a simple plan with the array's limits, not Dell's.
    """
    domains = {
        array.pools[array.volumes[volume_id].pool_id].domain_id
        for volume_id in array.volume_ids_by_host.get(host.id, ())
    }
    return [port for domain_id in sorted(domains) for port in _ports_in_domain(array, host, domain_id)]


def _ports_in_domain(array: Array, host: Host, domain_id: str) -> list[Port]:
    of_sdts = [ports_of(sdt) for sdt in array.sdts.values() if sdt.domain_id == domain_id]
    # The first port of each SDT, then the second of each, and so on.
    rounds = itertools.zip_longest(*of_sdts)
    ports = [port for each in rounds for port in each if port is not None]
    if not ports:
        return []
    first = int(host.id, 16) % len(ports)
    return [*ports[first:], *ports[:first]][: host.max_ports or len(ports)]
