"""The initial state of a new system: its domains, pools, servers and volumes."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec

from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.dialect import ERASURE_CODING, MIRRORING
from csi_powerflex.simulator.model import (
    ERASURE_CODED,
    GIB_IN_KIB,
    MEDIUM,
    THIN,
    Address,
    Device,
    ProtectionDomain,
    Sds,
    Sdt,
    StoragePool,
    System,
    User,
    Volume,
    VTree,
)
from csi_powerflex.simulator.resources.data_server import data_group

_SERVERS = 3
_TARGETS = 2


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """A storage pool. The default ``layout`` is that of its domain. ``raw_gib`` counts both copies."""

    name: str = "sp1"
    layout: str | None = None
    media: str = "SSD"
    zero_padding: bool = True
    raw_gib: int = 256 * 1024
    spare_percent: int = 10
    over_provisioning: int = 10
    compression: str | None = None


@dataclass(frozen=True, slots=True)
class SdtPlan:
    """An SDT that listens for NVMe/TCP at addresses of this machine, IPv4 or IPv6.

    With port 0, the simulator takes a free one, and the SDT shows it.
    """

    addresses: tuple[str, ...] = ("127.0.0.1",)
    nvme_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 4420
    discovery_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8009
    role: Literal["StorageAndHost", "HostOnly", "StorageOnly"] = "StorageAndHost"


@dataclass(frozen=True, slots=True)
class DomainPlan:
    """A protection domain. The default ``generation`` is that of the version.

    Without ``sdts`` it has two SDTs that only exist as objects.
    """

    name: str = "pd1"
    generation: str | None = None
    pools: tuple[PoolPlan, ...] = (PoolPlan(),)
    sdts: tuple[SdtPlan, ...] = ()


@dataclass(frozen=True, slots=True)
class InitialState:
    """A system. ``volumes`` is the number of thin volumes that it has at first, each of the smallest size."""

    name: str = "sim1"
    system_id: str | None = None
    domains: tuple[DomainPlan, ...] = field(default_factory=lambda: (DomainPlan(),))
    volumes: int = 0

    @property
    def listens(self) -> bool:
        """Whether the system has SDTs that listen for NVMe/TCP."""
        return any(domain.sdts for domain in self.domains)


def build(array: Array, initial_state: InitialState) -> None:
    """Create the objects of an empty array.

    Raises:
        ValueError: the version does not support a layout, a generation or SDTs, or an address is none.
    """
    array.put(
        System(
            id=initial_state.system_id or f"{secrets.token_hex(7)}0f",
            name=initial_state.name,
            install_id=secrets.token_hex(8),
            created=array.clock.now(),
        )
    )
    set_user(array)
    for plan in initial_state.domains:
        _build_domain(array, plan)
    if initial_state.volumes:
        _prefill(array, initial_state.volumes)
    array.commit()


def set_user(array: Array) -> None:
    """Let the user of the settings log in with their password, also if the array has kept another one."""
    settings = array.settings
    known = next((user for user in array.users.values() if user.name == settings.username), None)
    if known is None:
        user_id = array.new_id(array.users)
        array.put(User(id=user_id, name=settings.username, role="Superuser", password=settings.password))
    elif known.password != settings.password:
        array.change(known, password=settings.password)
    array.commit()


def _build_domain(array: Array, plan: DomainPlan) -> ProtectionDomain:
    generation = plan.generation or array.dialect.generation
    if generation == ERASURE_CODING and not array.dialect.second_generation:
        raise ValueError(f"version {array.dialect.version} has no erasure-coded protection domains")
    domain = ProtectionDomain(id=array.new_id(array.domains), name=plan.name, generation=generation)
    array.put(domain)
    for pool in plan.pools:
        _build_pool(array, domain, pool)
    _build_servers(array, domain, plan)
    return domain


def _build_pool(array: Array, domain: ProtectionDomain, plan: PoolPlan) -> None:
    erasure_coded = domain.generation != MIRRORING
    layout = plan.layout or (ERASURE_CODED if erasure_coded else MEDIUM)
    if (layout == ERASURE_CODED) != erasure_coded:
        raise ValueError(
            f"pool {plan.name}: {layout} does not fit a protection domain of {domain.generation}"
        )
    array.put(
        StoragePool(
            id=array.new_id(array.pools),
            name=plan.name,
            domain_id=domain.id,
            layout=layout,
            raw_kb=plan.raw_gib * GIB_IN_KIB,
            media=plan.media,
            zero_padding=plan.zero_padding,
            spare_percent=0 if erasure_coded else plan.spare_percent,
            over_provisioning=plan.over_provisioning,
            compression=plan.compression or ("Normal" if erasure_coded else "None"),
            device_group_id=data_group(domain.id) if erasure_coded else None,
        )
    )


def _build_servers(array: Array, domain: ProtectionDomain, plan: DomainPlan) -> None:
    octet = len(array.domains)
    for number in range(1, _SERVERS + 1):
        server = Sds(
            id=array.new_id(array.sdss),
            name=f"{domain.name}-sds{number}",
            domain_id=domain.id,
            addresses=[Address(ip=f"198.51.{octet}.{number}", role="all")],
        )
        array.put(server)
        for pool in array.pools_of_domain(domain.id):
            array.put(
                Device(
                    id=array.new_id(array.devices, high_slot=number),
                    name=f"{server.name}-{pool.name}"[:31],
                    sds_id=server.id,
                    pool_id=pool.id,
                    path="/dev/sdb",
                    capacity_kb=pool.raw_kb // _SERVERS,
                )
            )
    if plan.sdts and not array.dialect.nvme:
        raise ValueError(f"version {array.dialect.version} has no SDTs")
    if array.dialect.nvme:
        examples = [SdtPlan((f"203.0.{octet}.{number}",)) for number in range(1, _TARGETS + 1)]
        for number, sdt in enumerate(plan.sdts or examples, start=1):
            array.put(_sdt(array, domain, number, sdt))


def _sdt(array: Array, domain: ProtectionDomain, number: int, plan: SdtPlan) -> Sdt:
    return Sdt(
        id=array.new_id(array.sdts),
        name=f"{domain.name}-sdt{number}",
        domain_id=domain.id,
        addresses=[
            Address(ip=str(ipaddress.ip_address(address)), role=plan.role) for address in plan.addresses
        ],
        nvme_port=plan.nvme_port,
        discovery_port=plan.discovery_port,
    )


def _prefill(array: Array, count: int) -> None:
    """Create ``count`` volumes. Add protection domains where the limits of the existing ones are too low."""
    per_domain = array.settings.max_volumes_per_domain
    while sum(bool(array.pools_of_domain(domain_id)) for domain_id in array.domains) * per_domain < count:
        number = len(array.domains) + 1
        _build_domain(array, DomainPlan(name=f"pd{number}"))
    pools = [pools[0] for pools in map(array.pools_of_domain, array.domains) if pools]
    now = int(array.clock.now())
    for number in range(count):
        pool = pools[number // per_domain]
        volume = Volume(
            id=array.new_id(array.volumes),
            name=f"prefilled-{number:06d}",
            size_kb=pool.granularity_kb,
            created=now,
            type=THIN,
            pool_id=pool.id,
            vtree_id="",
            nsid=array.next_namespace(),
        )
        tree = VTree(
            id=array.new_id(array.vtrees), pool_id=pool.id, base_volume_id=volume.id, volume_ids=[volume.id]
        )
        volume.vtree_id = tree.id
        array.put(tree)
        array.put(volume)
