"""The initial state of a new system: its domains, pools, servers and volumes."""

from __future__ import annotations

import ipaddress
import secrets
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


ObjectName = Annotated[str, msgspec.Meta(pattern="^[!-~]{1,31}$")]
SystemName = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}$")]
SystemId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]


class PoolPlan(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A storage pool.

    Attributes:
        name: up to 31 printable ASCII characters without spaces
        layout: data layout; without it, ErasureCoding in a domain of generation EC, else MediumGranularity
        media: media type of the devices
        zero_padding: whether new volumes are zero padded
        raw_gib: capacity of the devices in GiB; it counts both copies of the data
        spare_percent: percentage of it that is spare; always 0 with ErasureCoding
        over_provisioning: how many times the usable capacity may be provisioned; no limit with ErasureCoding
        compression: compression method; without it, Normal with ErasureCoding, else None
    """

    name: ObjectName = "sp1"
    layout: Literal["MediumGranularity", "FineGranularity", "ErasureCoding"] | None = None
    media: Literal["HDD", "SSD", "Transitional"] = "SSD"
    zero_padding: bool = True
    raw_gib: Annotated[int, msgspec.Meta(ge=1)] = 256 * 1024
    spare_percent: Annotated[int, msgspec.Meta(ge=0, le=90)] = 10
    over_provisioning: Annotated[int, msgspec.Meta(ge=1)] = 10
    compression: Literal["None", "Normal"] | None = None


class SdtPlan(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An SDT that listens for NVMe/TCP.

    Attributes:
        addresses: addresses of this machine, IPv4 or IPv6
        nvme_port: port for volumes and discovery; with 0 the simulator takes a free one, and the SDT shows it
        discovery_port: port for discovery alone; also 0
        role: role of the addresses
    """

    addresses: tuple[str, ...] = ("127.0.0.1",)
    nvme_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 4420
    discovery_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8009
    role: Literal["StorageAndHost", "HostOnly", "StorageOnly"] = "StorageAndHost"


class DomainPlan(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A protection domain.

    Attributes:
        name: up to 31 printable ASCII characters without spaces
        generation: EC is for version 5.0 only; without it, EC on 5.0, else Mirroring
        pools: list of pools; each name once
        sdts: list of SDTs; without any, a domain of 4.0 or newer has two SDTs that only exist as objects
    """

    name: ObjectName = "pd1"
    generation: Literal["Mirroring", "EC"] | None = None
    pools: tuple[PoolPlan, ...] = (PoolPlan(),)
    sdts: tuple[SdtPlan, ...] = ()


class InitialState(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A system. ``volumes`` is the number of thin volumes that it has at first, each of the smallest size."""

    name: SystemName = "sim1"
    system_id: SystemId | None = None
    domains: tuple[DomainPlan, ...] = (DomainPlan(),)
    volumes: Annotated[int, msgspec.Meta(ge=0, le=131072)] = 0

    @property
    def listens(self) -> bool:
        """Whether the system has SDTs that listen for NVMe/TCP."""
        return any(domain.sdts for domain in self.domains)


def build(array: Array, initial_state: InitialState) -> None:
    """Create the objects of an empty array.

    Raises:
        ValueError: a value is not allowed, the version does not support a layout, a generation or SDTs, or an
            address is none.
    """
    _refuse_wrong_values(initial_state)
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


def _refuse_wrong_values(initial_state: InitialState) -> None:
    """Check what the types say, also for plans that were made in Python, and that no name is used twice."""
    msgspec.convert(msgspec.to_builtins(initial_state), InitialState)
    _refuse_twice("protection domain", [domain.name for domain in initial_state.domains])
    for domain in initial_state.domains:
        _refuse_twice(f"{domain.name}: storage pool", [pool.name for pool in domain.pools])
    if not initial_state.domains:
        raise ValueError("a system needs a protection domain")


def _refuse_twice(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name} occurs twice; give each its own name")


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
