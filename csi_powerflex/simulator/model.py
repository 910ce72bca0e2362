"""The objects of a PowerFlex system, as the simulator stores them.

The modules in ``resources`` turn them into what clients see. Sizes are KiB, as in PowerFlex. Times are
seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct

GIB_IN_KIB = 1024 * 1024

THICK = "ThickProvisioned"
THIN = "ThinProvisioned"
SNAPSHOT = "Snapshot"
READ_ONLY_SNAPSHOT = "ReadOnlySnapshot"

READ_WRITE = "ReadWrite"
READ_ONLY = "ReadOnly"
NO_ACCESS = "NoAccess"

MEDIUM = "MediumGranularity"
FINE = "FineGranularity"
HEALTHY = "healthy"
DEGRADED = "degraded"
FAILED = "failed"
ERASURE_CODED = "ErasureCoding"

SDC = "SdcHost"
NVME = "NVMeHost"


class System(Struct, kw_only=True):
    """The system itself. ``ids_issued`` and ``namespaces`` are counters for new ids.

    ``mdm_names`` are the names of MDMs that clients have renamed, by id; ``manager`` is the number of the
    master. Here and in other objects, ``settings`` are fields that clients have set, and that have no effect.
    """

    id: str
    name: str
    install_id: str
    created: float
    restricted_mode: str = "None"
    ids_issued: int = 0
    namespaces: int = 0
    mdm_names: dict[str, str] = {}
    manager: int = 1
    settings: dict[str, object] = {}


class ProtectionDomain(Struct, kw_only=True):
    """A protection domain. ``generation`` is "Mirroring" or "EC"."""

    id: str
    name: str
    generation: str
    state: str = "Active"
    settings: dict[str, object] = {}


class StoragePool(Struct, kw_only=True):
    """A storage pool. ``raw_kb`` is its capacity on devices; a mirrored pool counts both copies.

    ``over_provisioning`` is how many times its usable capacity may be provisioned. ``full`` and ``health``
    are set by the admin port.
    """

    id: str
    name: str
    domain_id: str
    layout: str
    raw_kb: int
    media: str = "SSD"
    zero_padding: bool = True
    spare_percent: int = 10
    over_provisioning: int = 10
    compression: str = "None"
    use_rmcache: bool = False
    use_rfcache: bool = False
    device_group_id: str | None = None
    full: bool = False
    health: str = HEALTHY
    settings: dict[str, object] = {}

    @property
    def granularity_kb(self) -> int:
        """The granularity of volume sizes: 1 GiB in erasure-coded pools, else 8 GiB."""
        return (1 if self.layout == ERASURE_CODED else 8) * GIB_IN_KIB


class Migration(Struct, kw_only=True):
    """The migration of a VTree to another pool. ``done_seconds`` is its running time before ``since``.

    ``order`` sorts the queue of the source pool. ``duration`` is set for the way back to it.
    """

    target_pool_id: str
    status: str
    since: float
    done_seconds: float = 0.0
    pause_reason: str | None = None
    conversion: str = "NoConversion"
    compression: str | None = None
    during_rebuild: bool = False
    order: int = 0
    duration: float | None = None


class VTree(Struct, kw_only=True):
    """A volume with all its snapshots and clones."""

    id: str
    pool_id: str
    base_volume_id: str
    volume_ids: list[str]
    migration: Migration | None = None


class Mapping(Struct, kw_only=True):
    """A mapping of a volume to one host."""

    host_id: str
    access_mode: str = READ_WRITE
    limit_iops: int = 0
    limit_bw_mbps: int = 0


class Volume(Struct, kw_only=True):
    """A volume, snapshot or thin clone. ``restores`` counts how often its data was replaced."""

    id: str
    name: str | None
    size_kb: int
    created: int
    type: str
    pool_id: str
    vtree_id: str
    ancestor_id: str | None = None
    group_id: str | None = None
    mappings: list[Mapping] = []
    access_limit: str = READ_WRITE
    use_rmcache: bool = False
    compression: str | None = None
    nsid: int = 0
    volume_class: str = "defaultclass"
    secure_until: int = 0
    reshaped: bool = False
    policy_of_snapshot: str | None = None
    policy_of_source: str | None = None
    auto_group_id: str | None = None
    locked: bool = False
    removed_at: float | None = None
    restores: int = 0

    def mapping_of(self, host_id: str) -> Mapping | None:
        """The mapping to the host, or None."""
        return next((mapping for mapping in self.mappings if mapping.host_id == host_id), None)


class Host(Struct, kw_only=True):
    """An initiator: an SDC (``guid``, ``ip``) or an NVMe host (``nqn``)."""

    id: str
    name: str | None
    type: str
    guid: str | None = None
    ip: str | None = None
    nqn: str | None = None
    approved: bool = True
    approved_ips: list[str] = []
    connected: bool = True
    profile: str = "HighPerformance"
    max_paths: int | None = None
    max_ports: int | None = None


class Address(Struct, kw_only=True):
    """An address of a server and its role."""

    ip: str
    role: str


class Sdt(Struct, kw_only=True):
    """An NVMe target. The three states are set by the admin port; they are only shown."""

    id: str
    name: str
    domain_id: str
    addresses: list[Address]
    storage_port: int = 12200
    nvme_port: int = 4420
    discovery_port: int = 8009
    maintenance: bool = False
    state: str = "Normal"
    membership: str = "Joined"
    mdm_connection: str = "Connected"


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmeController:
    """An NVMe controller that serves I/O. It exists as long as a host is connected to it, and is not stored.

    ``number`` is the controller's id in the subsystem. ``sdt_ip`` is the address that the host uses.
    """

    number: int
    host_id: str
    host_ip: str
    sdt_id: str
    sdt_ip: str


class Sds(Struct, kw_only=True):
    """A data server: an SDS in the first generation, a storage node in the second."""

    id: str
    name: str
    domain_id: str
    addresses: list[Address]
    fault_set_id: str | None = None
    settings: dict[str, object] = {}


class FaultSet(Struct, kw_only=True):
    """A group of SDSs."""

    id: str
    name: str
    domain_id: str


class Device(Struct, kw_only=True):
    """A disk of a data server."""

    id: str
    name: str
    sds_id: str
    pool_id: str
    path: str
    capacity_kb: int
    limit_kb: int | None = None
    settings: dict[str, object] = {}


class SnapshotPolicy(Struct, kw_only=True):
    """A schedule of automatic snapshots. The simulator keeps it but takes no snapshots by itself."""

    id: str
    name: str
    cadence_min: int
    retained: list[int]
    created: int
    paused: bool = False
    access_mode: str = READ_ONLY
    secure: bool = False


class User(Struct, kw_only=True):
    """A user who may log in."""

    id: str
    name: str
    role: str
    password: str


Object = (
    System
    | ProtectionDomain
    | StoragePool
    | VTree
    | Volume
    | Host
    | Sdt
    | Sds
    | Device
    | FaultSet
    | SnapshotPolicy
    | User
)
"""All stored types."""
