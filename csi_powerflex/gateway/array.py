"""``model.ports.Array`` over the REST API. Numbers in brackets are sections of docs/powerflex-protocol.md."""

from __future__ import annotations

import collections
import math
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from csi_powerflex import names, units
from csi_powerflex.config.systems.schema import SystemSettings, ZoneSettings
from csi_powerflex.errors import DriverError, NotFound, Unavailable, Unsupported
from csi_powerflex.gateway import convert
from csi_powerflex.gateway.cache import Capacities, Hosts, Pools
from csi_powerflex.gateway.client import RETRY_SECONDS, Client, Effect
from csi_powerflex.gateway.identity import Claim
from csi_powerflex.gateway.mapping import ACTIONS
from csi_powerflex.gateway.nvme import NvmeTargets
from csi_powerflex.gateway.packed import PackedVolumes, pack
from csi_powerflex.gateway.payloads import (
    CopiesPayload,
    CreatedPayload,
    DomainPayload,
    MetricsPayload,
    PoolPayload,
    PoolStatisticsPayload,
    SingleVolumePayload,
    SnapshotPolicyPayload,
    SystemLimitsPayload,
    SystemStatisticsPayload,
    TreePayload,
    TreeStatisticsPayload,
    TreeVolumePayload,
    VolumePayload,
    id_in,
)
from csi_powerflex.ids import Initiator, InitiatorKind, NodeIdentity
from csi_powerflex.model import array as model
from csi_powerflex.model.array import (
    Access,
    Copy,
    DomainState,
    Host,
    HostNotFound,
    InTrash,
    Limits,
    Pool,
    PoolCapacity,
    PoolNotFound,
    PoolReport,
    PoolState,
    Provisioning,
    Volume,
    VolumeOutline,
)
from csi_powerflex.model.claim import ClaimNames
from csi_powerflex.model.moves import Conversion, Tree, TreeMember, TreeUsage
from csi_powerflex.model.nvme import NvmeTarget
from csi_powerflex.model.snapshot_policy import SnapshotPolicy
from csi_powerflex.model.trash import TrashRules
from csi_powerflex.shared_read import SharedRead

# What a name in Kubernetes consists of. Any other text could end the header or be refused by a proxy.
_HEADER_VALUE = re.compile(r"[A-Za-z0-9._-]{1,253}")

# How many volumes a message names.
_MOST_NAMED = 10

_LIMITS = "/api/instances/System/action/querySystemLimits"


# The trees that are shown by name: those with so many members, and the largest of them.
_LARGE_TREE = 32
_MOST_TREES = 10


@dataclass(frozen=True, slots=True)
class TreeSizes:
    """The members of a system's volume trees.

    Attributes:
        counts: how many trees have a number of members, by that number.
        largest: the members of the largest trees, by the name of the first volume of each tree.
    """

    counts: Mapping[int, int] = field(default_factory=dict)
    largest: Mapping[str, int] = field(default_factory=dict)


class GatewayArray:
    """One PowerFlex system, behind its gateway. The arguments are those of ``Client``."""

    def __init__(
        self,
        settings: SystemSettings,
        *,
        retry_seconds: float = RETRY_SECONDS,
        claim: Claim = lambda _: None,
    ) -> None:
        self.settings = settings
        self._last_error: DriverError | None = None
        self._client = Client(settings, retry_seconds=retry_seconds, claim=claim)
        self._pools = Pools(settings, self._client)
        self._capacities = Capacities(self._client, self._read_capacity, seconds=settings.request_timeout)
        self._hosts = Hosts(settings, self._client)
        self._nvme = NvmeTargets(settings, self._client)
        self._all_volumes = SharedRead(self._read_volumes, seconds=settings.request_timeout)
        self._largest_volume = 0
        self._read_largest = SharedRead(self._read_largest_volume, seconds=settings.request_timeout)
        # When the last list of all volumes was read, and what it says of the trees.
        self._trees: tuple[float, TreeSizes] = (-math.inf, TreeSizes())

    @property
    def label(self) -> str:
        return self.settings.label

    @property
    def zones(self) -> Sequence[ZoneSettings]:
        return self.settings.zones

    @property
    def has_nvme_hosts(self) -> bool:
        return self._hosts.has_nvme

    @property
    def approves_hosts(self) -> bool:
        return self.settings.approve_hosts

    @property
    def adopted_volumes(self) -> Sequence[str]:
        return self.settings.adopt_volumes

    @property
    def adopted_snapshots(self) -> Sequence[str]:
        return self.settings.adopt_snapshots

    @property
    def trash(self) -> TrashRules | None:
        found = self.settings.trash
        return TrashRules(units.duration(found.keep), found.max_bytes) if found else None

    @property
    def is_reachable(self) -> bool:
        return self._last_error is None

    @property
    def last_error(self) -> DriverError | None:
        """Why the last check of the system failed; None after one that succeeded, and before the first."""
        return self._last_error

    def record_check(self, error: DriverError | None) -> None:
        """Note how a check of the system ended. Only the monitor calls it."""
        self._last_error = error

    @property
    def cached_id(self) -> str | None:
        """The system's id, if it is known without a request."""
        return self._client.cached_system_id

    @property
    def time(self) -> float | None:
        return self._client.time

    def refresh(self) -> None:
        """Read again what is cached."""
        self.system_id()
        self._pools.refresh()
        self._hosts.now()

    def limits(self) -> Mapping[str, int]:
        """How many objects the array allows, by its own names of them, such as ``volumePerVtree`` (2.3)."""
        entries = self._client.post(_LIMITS, {}, SystemLimitsPayload, Effect.READ).system_limit_entry_list
        return {entry.type: entry.max_val for entry in entries if entry.max_val is not None}

    def usage(self) -> Mapping[str, int]:
        """How many objects of a kind the array has (2.3, 2.12)."""
        kinds = collections.Counter(host.kind for host in self._hosts.by_id(()).values())
        used = {"sdcs": kinds[InitiatorKind.SDC]}
        if kinds[InitiatorKind.NVME]:
            used["nvmeHosts"] = kinds[InitiatorKind.NVME]
        if self._pools.kinds() == {False}:
            # PowerFlex 5 has no cheap request for the number of volumes.
            path = f"/api/instances/System::{self.system_id()}/relationships/Statistics"
            used["volumes"] = self._client.get(path, SystemStatisticsPayload).num_of_volumes
        return used

    def trees(self, *, seconds: float) -> TreeSizes:
        """How many members the trees have in the last list of all volumes.

        Args:
            seconds: the age from which on a list is not used any more. The result is then empty.
        """
        read_at, trees = self._trees
        return trees if time.monotonic() - read_at < seconds else TreeSizes()

    def close(self) -> None:
        """Log out and close the connections."""
        self._client.close()

    def system_id(self) -> str:
        return self._client.system_id()

    # --- pools -----------------------------------------------------------------------------------

    def pools(self) -> Sequence[Pool]:
        """Every pool."""
        return self._pools.all()

    def pool(self, domain: str | None, pool: str | None) -> Pool:
        return self._pools.find(domain, pool)

    def pool_by_id(self, pool_id: str) -> Pool:
        return self._pools.with_id(pool_id)

    def pool_capacity(self, pool: Pool) -> PoolCapacity:
        try:
            return self._capacities.of(pool)
        except PoolNotFound:
            self._pools.forget()
            raise

    def _read_capacity(self, pool: Pool) -> PoolCapacity:
        """From Statistics, or from metrics on PowerFlex 5 (2.12)."""
        if pool.erasure_coded:
            body = {
                "resource_type": "storage_pool",
                "ids": [pool.id],
                "metrics": ["physical_total", "physical_free", "logical_provisioned"],
            }
            answer = self._client.post("/dtapi/rest/v1/metrics/query", body, MetricsPayload, Effect.READ)
            return convert.capacity_from_metrics(answer)
        return convert.capacity_from_statistics(self._statistics(pool))

    def _statistics(self, pool: Pool) -> PoolStatisticsPayload:
        """The Statistics of a mirrored pool (2.12)."""
        path = f"/api/instances/StoragePool::{pool.id}/relationships/Statistics"
        return self._client.get(path, PoolStatisticsPayload)

    def pool_state(self, pool: Pool) -> PoolState:
        """From the domain's state and the pool's copies (2.4, 2.5, 2.12)."""
        domain = self._client.get(f"/api/instances/ProtectionDomain::{pool.domain_id}", DomainPayload)
        if convert.state_of_domain(domain) is not DomainState.ACTIVE:
            return PoolState.INACTIVE
        if pool.erasure_coded:
            health = self._client.get(f"/api/instances/StoragePool::{pool.id}", PoolPayload).sp_health_state
            return convert.state_of_pool(domain, health, None)
        return convert.state_of_pool(domain, None, self._statistics(pool))

    def pool_reports(self) -> Sequence[PoolReport]:
        """A report of each pool, as of the last ``refresh``. It costs one request for each pool (2.12)."""
        return [self._report(domain, payload) for domain, payload in self._pools.last_read()]

    def _report(self, domain: DomainPayload | None, payload: PoolPayload) -> PoolReport:
        pool = convert.pool(domain, payload)
        statistics = None if pool.erasure_coded else self._statistics(pool)
        return PoolReport(
            pool=pool,
            state=convert.state_of_pool(domain, payload.sp_health_state, statistics),
            domain_state=convert.state_of_domain(domain),
            capacity=(
                self.pool_capacity(pool)
                if statistics is None
                else convert.capacity_from_statistics(statistics)
            ),
            thresholds=convert.thresholds(payload),
        )

    def largest_volume(self) -> int:
        """From the limit ``volumeSizeGb`` (4), which is read once."""
        return self._read_largest.get_unless(lambda: self._largest_volume or None)

    def _read_largest_volume(self) -> int:
        size = self.limits().get("volumeSizeGb", 0)
        if size <= 0:
            raise Unavailable(f"PowerFlex system {self.label} does not report the limit volumeSizeGb")
        self._largest_volume = min(size * units.GIB, units.INT64_MAX)
        return self._largest_volume

    # --- volumes ---------------------------------------------------------------------------------

    def create_volume(
        self, *, name: str, size: int, pool: Pool, provisioning: Provisioning, claim: ClaimNames
    ) -> str:
        """With the names of the claim as headers, as far as a header can hold them (1.1)."""
        body = {
            "name": name,
            "protectionDomainId": pool.domain_id,
            "storagePoolId": pool.id,
            "volumeSizeInKb": str(size // units.KIB),
            "volumeType": "ThickProvisioned" if provisioning is Provisioning.THICK else "ThinProvisioned",
        }
        if pool.compressible:
            body["compressionMethod"] = "Normal" if provisioning is Provisioning.COMPRESSED else "None"
        try:
            about = f"to create volume {name} with {units.readable(size)} in pool {pool}"
            path = "/api/types/Volume/instances"
            return self._client.post(
                path, body, CreatedPayload, Effect.ONCE, about=about, headers=_headers(claim)
            ).id
        except PoolNotFound:
            self._pools.forget()
            raise

    def volume(self, volume_id: str) -> Volume:
        about = f"to show volume {self._handle(volume_id)}"
        payload = self._client.get(f"/api/instances/Volume::{volume_id}", SingleVolumePayload, about=about)
        if names.trashed(payload.name) is not None:
            raise InTrash(
                f"volume {self._handle(volume_id)} was deleted and is in the trash as {payload.name}; "
                "csi-powerflex volumes undelete brings it back"
            )
        return convert.single_volume(self.system_id(), payload)

    def volumes(self) -> Sequence[Volume]:
        """Callers at the same time share one request."""
        return self._all_volumes.get()

    def outlines(self) -> Sequence[VolumeOutline]:
        """They share the request with callers of ``volumes``."""
        return self._all_volumes.get().outlines

    def _read_volumes(self) -> PackedVolumes:
        system_id = self.system_id()
        parts = self._client.get_kept("/api/types/Volume/instances", VolumePayload, _counted)
        members: collections.Counter[str] = collections.Counter()
        for part in parts:
            members.update(part.members)
        volumes = PackedVolumes(system_id, [volume for part in parts for volume in part.packed])
        large = [item for item in members.most_common(_MOST_TREES) if item[1] >= _LARGE_TREE]
        names = volumes.names_in({tree_id for tree_id, _ in large}) if large else {}
        self._trees = (
            time.monotonic(),
            TreeSizes(
                collections.Counter(members.values()),
                {names.get(tree_id, tree_id): count for tree_id, count in large},
            ),
        )
        return volumes

    def volumes_by_id(self, volume_ids: Sequence[str]) -> Sequence[Volume]:
        path = "/api/types/Volume/instances/action/queryBySelectedIds"
        body = {"ids": list(volume_ids)}
        about = f"to show {self._handles(volume_ids)}"
        payloads = self._client.post_list(path, body, VolumePayload, about=about)
        found = [convert.volume(self.system_id(), payload) for payload in payloads]
        missing = set(volume_ids).difference(volume.handle.volume_id for volume in found)
        if missing:
            # Arrays refuse the whole question then. One that answers with the others means the same.
            raise NotFound(f"system {self.label} does not have {self._handles(sorted(missing))}")
        return found

    def volume_id_by_name(self, name: str) -> str:
        path = "/api/types/Volume/instances/action/queryIdByKey"
        about = f"to find volume {name}"
        return id_in(self._client.post(path, {"name": name}, msgspec.Raw, Effect.READ, about=about))

    def resize_volume(self, volume_id: str, size: int) -> None:
        about = f"to expand volume {self._handle(volume_id)} to {units.readable(size)}"
        self._act(volume_id, "setVolumeSize", {"sizeInGB": str(size // units.GIB)}, about)

    def rename_volume(self, volume_id: str, name: str) -> None:
        about = f"to rename volume {self._handle(volume_id)} to {name}"
        self._act(volume_id, "setVolumeName", {"newName": name}, about)

    def overwrite_volume(self, volume_id: str, source_id: str) -> None:
        """By ``overwriteVolumeContent``, which all generations have (2.6)."""
        path = f"/api/instances/Volume::{volume_id}/action/overwriteVolumeContent"
        about = f"to overwrite volume {self._handle(volume_id)} with {self._handle(source_id)}"
        # Each repetition would destroy what was written since, so the operation looks first.
        self._client.post(path, {"srcVolumeId": source_id}, msgspec.Raw, Effect.ONCE, about=about)

    def remove_volume(self, volume_id: str) -> None:
        about = f"to remove volume {self._handle(volume_id)}"
        self._act(volume_id, "removeVolume", {"removeMode": "ONLY_ME"}, about)

    # --- copies ----------------------------------------------------------------------------------

    def take_snapshots(
        self, copies: Sequence[Copy], *, access: Access, retention_minutes: int
    ) -> Sequence[str]:
        """PowerFlex 5 has the action ``createSnapshot``, without an access mode (2.7)."""
        body: dict[str, object] = {"snapshotDefs": _definitions(copies)}
        if retention_minutes:
            body["retentionPeriodInMin"] = str(retention_minutes)
        about = f"to take a snapshot of {self._handles([copy.volume_id for copy in copies])}"
        if self._erasure_coded(copies[0].volume_id):
            return self._copy("createSnapshot", body, len(copies), about)
        return self._copy("snapshotVolumes", body | {"accessModeLimit": access.value}, len(copies), about)

    def clone(self, copy: Copy) -> str:
        """A writable snapshot, or a thin clone on PowerFlex 5 (2.7)."""
        body: dict[str, object] = {"snapshotDefs": _definitions([copy])}
        about = f"to create volume {copy.name} as a copy of volume {self._handle(copy.volume_id)}"
        if self._erasure_coded(copy.volume_id):
            return self._copy("createThinClone", body, 1, about)[0]
        body["accessModeLimit"] = Access.READ_WRITE.value
        return self._copy("snapshotVolumes", body, 1, about)[0]

    def remove_group(self, group_id: str) -> None:
        path = f"/api/instances/System::{self.system_id()}/action/removeConsistencyGroupSnapshots"
        about = f"to remove the snapshots of consistency group {group_id}"
        self._client.post(path, {"snapGroupId": group_id}, msgspec.Raw, Effect.IDEMPOTENT, about=about)

    def _erasure_coded(self, volume_id: str) -> bool:
        """Whether the volume is in an erasure-coded pool. It is read only if the system has both kinds."""
        kinds = self._pools.kinds()
        return kinds.pop() if len(kinds) == 1 else self.volume(volume_id).erasure_coded

    def _copy(self, action: str, body: Mapping[str, object], count: int, about: str) -> Sequence[str]:
        path = f"/api/instances/System::{self.system_id()}/action/{action}"
        made = self._client.post(path, body, CopiesPayload, Effect.ONCE, about=about).volume_id_list
        if len(made) != count:
            raise Unavailable(
                f"PowerFlex system {self.label} created {len(made)} copies instead of {count}; try again"
            )
        return made

    def tree_members(self, tree_id: str) -> int:
        path = f"/api/instances/VTree::{tree_id}/relationships/Volume"
        return len(self._client.get_list(path, CreatedPayload, about=f"to show the tree {tree_id}"))

    # --- moves -----------------------------------------------------------------------------------

    def tree(self, tree_id: str) -> Tree:
        about = f"to show the tree {tree_id}"
        return convert.tree(self._client.get(f"/api/instances/VTree::{tree_id}", TreePayload, about=about))

    def tree_volumes(self, tree_id: str) -> Sequence[TreeMember]:
        path = f"/api/instances/VTree::{tree_id}/relationships/Volume"
        payloads = self._client.get_list(path, TreeVolumePayload, about=f"to show the tree {tree_id}")
        return [convert.tree_member(self.system_id(), payload) for payload in payloads]

    def tree_usage(self, tree_id: str) -> TreeUsage:
        path = f"/api/instances/VTree::{tree_id}/relationships/Statistics"
        return convert.tree_usage(self._client.get(path, TreeStatisticsPayload))

    def move_tree(
        self, volume_id: str, pool: Pool, *, conversion: Conversion, compressed: bool | None
    ) -> None:
        """By the id of any volume in the tree (2.9)."""
        body = {"destSPId": pool.id, "volTypeConversion": conversion.value}
        if compressed is not None:
            body["compressionMethod"] = "Normal" if compressed else "None"
        about = f"to move volume {self._handle(volume_id)} to pool {pool}"
        try:
            self._act(volume_id, "migrateVTree", body, about)
        except PoolNotFound:
            self._pools.forget()
            raise

    def pause_move(self, volume_id: str) -> None:
        """After the requests in progress (2.9)."""
        about = f"to pause the move of volume {self._handle(volume_id)}"
        self._act(volume_id, "pauseVTreeMigration", {"pauseType": "Gracefully"}, about)

    # --- snapshot policies -----------------------------------------------------------------------

    def snapshot_policies(self) -> Sequence[SnapshotPolicy]:
        path = "/api/types/SnapshotPolicy/instances"
        payloads = self._client.get_list(path, SnapshotPolicyPayload, about="to list the snapshot policies")
        return [convert.snapshot_policy(payload) for payload in payloads]

    def join_policy(self, volume_id: str, policy_id: str) -> None:
        """PowerFlex 5 has another name for the action (2.13)."""
        action = (
            "assignSnapshotPolicy" if self._erasure_coded(volume_id) else "addSourceVolumeToSnapshotPolicy"
        )
        about = f"to put volume {self._handle(volume_id)} into snapshot policy {policy_id}"
        self._act_on_policy(policy_id, action, {"sourceVolumeId": volume_id}, about)

    def leave_policy(self, volume_id: str, policy_id: str) -> None:
        """With ``Detach``, which keeps all snapshots, also those that are locked (2.13)."""
        action = (
            "unassignSnapshotPolicy"
            if self._erasure_coded(volume_id)
            else "removeSourceVolumeFromSnapshotPolicy"
        )
        body = {
            "sourceVolumeId": volume_id,
            "autoSnapshotRemovalAction": "Detach",
            "detachLockedAutoSnapshots": "true",
        }
        about = f"to take volume {self._handle(volume_id)} out of snapshot policy {policy_id}"
        self._act_on_policy(policy_id, action, body, about)

    def _act_on_policy(self, policy_id: str, action: str, body: Mapping[str, object], about: str) -> None:
        """A repetition changes nothing. The array refuses it."""
        path = f"/api/instances/SnapshotPolicy::{policy_id}/action/{action}"
        self._client.post(path, body, msgspec.Raw, Effect.IDEMPOTENT, about=about)

    def lock_auto_snapshot(self, volume_id: str) -> None:
        about = f"to lock auto snapshot {self._handle(volume_id)}"
        self._act(volume_id, "lockAutoSnapshot", {}, about)

    def unlock_auto_snapshot(self, volume_id: str) -> None:
        """The array may remove it at once if it has expired (2.6)."""
        about = f"to unlock auto snapshot {self._handle(volume_id)}"
        self._act(volume_id, "unlockAutoSnapshot", {"autoSnapshotWillBeRemoved": "true"}, about)

    # --- mappings --------------------------------------------------------------------------------

    def hosts_of(
        self, node: NodeIdentity, *, mapped: Collection[str] = (), fresh: bool = False
    ) -> Sequence[Host]:
        return self._hosts.of(node, mapped, fresh=fresh)

    def hosts_by_id(self, needed: Collection[str]) -> Mapping[str, Host]:
        return self._hosts.by_id(needed)

    def hosts_now(self) -> Mapping[str, Host]:
        return self._hosts.now()

    def approve(self, host: Host) -> None:
        """By the SDC's GUID (2.3)."""
        path = f"/api/instances/System::{self.system_id()}/action/approveSdc"
        body = {"sdcGuid": host.initiator.value}
        self._client.post(path, body, msgspec.Raw, Effect.IDEMPOTENT, about=f"to approve host {host}")
        self._hosts.forget()

    def create_nvme_host(self, initiator: Initiator, name: str) -> Host:
        """With the limits of paths and ports in the systems file, if it has any (2.10)."""
        limits = {
            "maxNumPaths": self.settings.nvme_max_paths,
            "maxNumSysPorts": self.settings.nvme_max_ports,
        }
        body = {key: str(number) for key, number in limits.items() if number is not None}
        body |= {"nqn": initiator.value, "name": name}
        about = f"to create the NVMe host {name} for {initiator}"
        path = "/api/types/Host/instances"
        created = self._client.post(path, body, CreatedPayload, Effect.ONCE, about=about)
        host = Host(created.id, name, initiator, connected=False)
        self._hosts.add(host)
        return host

    def nvme_target(self, volume: Volume) -> NvmeTarget:
        """From the SDTs of the volume's protection domain (2.11)."""
        pool = self.pool_by_id(volume.pool_id)
        return self._nvme.of(volume, pool.domain_id, pool.domain_name)

    def map_volume(self, volume_id: str, host: Host, *, access: Access, shared: bool) -> None:
        actions = ACTIONS[host.kind]
        self._act(
            volume_id,
            actions.map,
            {
                actions.host_id: host.id,
                "allowMultipleMappings": "TRUE" if shared else "FALSE",
                "accessMode": access.value,
            },
            f"to map volume {self._handle(volume_id)} to host {host}",
        )

    def limit_mapping(self, volume_id: str, mapping: model.Mapping, limits: Limits) -> None:
        actions = ACTIONS[mapping.host_kind]
        if actions.limit is None:
            raise Unsupported(
                f"system {self.label} has no QoS limits for {mapping}, an NVMe host; use a class without "
                f"limits for volume {volume_id}"
            )
        self._act(
            volume_id,
            actions.limit,
            {
                actions.host_id: mapping.host_id,
                "iopsLimit": str(limits.iops),
                "bandwidthLimitInKbps": str(limits.bandwidth_kbps),
            },
            f"to limit volume {self._handle(volume_id)} on {mapping} to {limits.iops} IOPS and "
            f"{limits.bandwidth_kbps} KB/s (0: without limit)",
        )

    def unmap_volume(self, volume_id: str, host: Host) -> None:
        actions = ACTIONS[host.kind]
        about = f"to unmap volume {self._handle(volume_id)} from host {host}"
        self._act(volume_id, actions.unmap, {actions.host_id: host.id}, about)

    def unmap_everywhere(self, volume_id: str, kind: InitiatorKind) -> None:
        actions = ACTIONS[kind]
        about = f"to unmap volume {self._handle(volume_id)} from every host"
        self._act(volume_id, actions.unmap, {actions.every_host: ""}, about)

    def _act(self, volume_id: str, action: str, body: Mapping[str, object], about: str) -> None:
        """Run an action of a volume. A repetition changes nothing, or is refused with a code of its own."""
        path = f"/api/instances/Volume::{volume_id}/action/{action}"
        try:
            self._client.post(path, body, msgspec.Raw, Effect.IDEMPOTENT, about=about)
        except HostNotFound:
            # An SDC that was removed and added again has a new id.
            self._hosts.forget()
            raise

    def _handle(self, volume_id: str) -> str:
        """The CSI id of a volume for messages; only its own id before the system's id is known."""
        system_id = self.cached_id
        return volume_id if system_id is None else f"{system_id}-{volume_id}"

    def _handles(self, volume_ids: Sequence[str]) -> str:
        """The CSI ids of volumes for messages. It names the first ones and the number of the others."""
        first = ", ".join(map(self._handle, volume_ids[:_MOST_NAMED]))
        others = len(volume_ids) - _MOST_NAMED
        return f"volume {first} and {others} more" if others > 0 else f"volume {first}"


def _definitions(copies: Sequence[Copy]) -> list[dict[str, str]]:
    return [{"volumeId": copy.volume_id, "snapshotName": copy.name} for copy in copies]


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the list of all volumes: the packed volumes, and how many of them each tree has."""

    packed: list[bytes]
    members: Mapping[str, int]


def _counted(payloads: Sequence[VolumePayload]) -> list[_Part]:
    members = collections.Counter(payload.vtree_id for payload in payloads if payload.vtree_id)
    return [_Part(pack(payloads), members)]


def _headers(claim: ClaimNames) -> dict[str, str]:
    """The headers by which Dell's driver names a claim. Names that a header cannot hold are left out."""
    named = {
        "x-csi-pv-name": claim.persistent_volume,
        "x-csi-pv-claimname": claim.claim,
        "x-csi-pv-namespace": claim.namespace,
    }
    return {header: name for header, name in named.items() if _HEADER_VALUE.fullmatch(name)}
