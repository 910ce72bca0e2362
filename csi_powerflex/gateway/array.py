"""``model.ports.Array`` over the REST API. Numbers in brackets are sections of docs/powerflex-protocol.md."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from csi_powerflex import units
from csi_powerflex.config.systems.schema import SystemSettings, ZoneSettings
from csi_powerflex.errors import DriverError, Unavailable, Unsupported
from csi_powerflex.gateway import convert
from csi_powerflex.gateway.cache import Capacities, Hosts, Pools
from csi_powerflex.gateway.client import RETRY_SECONDS, Client, Effect
from csi_powerflex.gateway.identity import Claim
from csi_powerflex.gateway.mapping import ACTIONS
from csi_powerflex.gateway.payloads import (
    CopiesPayload,
    CreatedPayload,
    DomainPayload,
    MetricsPayload,
    PoolPayload,
    PoolStatisticsPayload,
    SystemLimitsPayload,
    SystemStatisticsPayload,
    VolumePayload,
    id_in,
)
from csi_powerflex.gateway.shared import SharedRead
from csi_powerflex.ids import InitiatorKind, NodeIdentity
from csi_powerflex.model import array as model
from csi_powerflex.model.array import (
    Access,
    Copy,
    Host,
    HostNotFound,
    Limits,
    Pool,
    PoolCapacity,
    PoolNotFound,
    PoolState,
    Provisioning,
    Volume,
)

_POOL_STATES = {"Protected": PoolState.HEALTHY, "Failed": PoolState.FAILED}


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
        self._capacities = Capacities(self._client, self._read_capacity)
        self._hosts = Hosts(settings, self._client)
        self._all_volumes = SharedRead(self._read_volumes, seconds=settings.request_timeout)
        self._largest_volume = 0

    @property
    def label(self) -> str:
        return self.settings.label

    @property
    def zones(self) -> Sequence[ZoneSettings]:
        return self.settings.zones

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

    def refresh(self) -> None:
        """Read again what is cached."""
        self.system_id()
        self._pools.refresh()
        self._hosts.refresh()

    def usage(self) -> Mapping[str, tuple[int, int]]:
        """How many objects of a kind the array has, and how many it allows (2.3, 2.12)."""
        path = "/api/instances/System/action/querySystemLimits"
        limits = self._client.post(path, {}, SystemLimitsPayload, Effect.READ).system_limit_entry_list
        allowed = {limit.type: limit.max_val for limit in limits}
        used = {"sdcs": len(self._hosts.by_id(()))}
        if self._pools.kinds() == {False}:
            # PowerFlex 5 has no cheap request for the number of volumes.
            path = f"/api/instances/System::{self.system_id()}/relationships/Statistics"
            used["volumes"] = self._client.get(path, SystemStatisticsPayload).num_of_volumes
        return {kind: (count, allowed[kind] or 0) for kind, count in used.items() if kind in allowed}

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
        return self._capacities.of(pool)

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
        path = f"/api/instances/StoragePool::{pool.id}/relationships/Statistics"
        return convert.capacity_from_statistics(self._client.get(path, PoolStatisticsPayload))

    def pool_state(self, pool: Pool) -> PoolState:
        """From the domain's state and the pool's copies (2.4, 2.5, 2.12)."""
        domain = self._client.get(f"/api/instances/ProtectionDomain::{pool.domain_id}", DomainPayload)
        if (domain.protection_domain_state or "Active") != "Active":
            return PoolState.INACTIVE
        if pool.erasure_coded:
            state = self._client.get(f"/api/instances/StoragePool::{pool.id}", PoolPayload).sp_health_state
            return _POOL_STATES.get(state or "Protected", PoolState.DEGRADED)
        path = f"/api/instances/StoragePool::{pool.id}/relationships/Statistics"
        found = self._client.get(path, PoolStatisticsPayload)
        if found.failed_capacity_in_kb:
            return PoolState.FAILED
        degraded = found.degraded_healthy_capacity_in_kb or found.degraded_failed_capacity_in_kb
        return PoolState.DEGRADED if degraded else PoolState.HEALTHY

    def largest_volume(self) -> int:
        """From the limit ``volumeSizeGb`` (4)."""
        if not self._largest_volume:
            path = "/api/instances/System/action/querySystemLimits"
            limits = self._client.post(path, {}, SystemLimitsPayload, Effect.READ).system_limit_entry_list
            sizes = [limit.max_val or 0 for limit in limits if limit.type == "volumeSizeGb"]
            if not sizes or sizes[0] <= 0:
                raise Unavailable(f"PowerFlex system {self.label} does not report the limit volumeSizeGb")
            self._largest_volume = min(sizes[0] * units.GIB, units.INT64_MAX)
        return self._largest_volume

    # --- volumes ---------------------------------------------------------------------------------

    def create_volume(self, *, name: str, size: int, pool: Pool, provisioning: Provisioning) -> str:
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
            return self._client.post("/api/types/Volume/instances", body, CreatedPayload, Effect.ONCE).id
        except PoolNotFound:
            self._pools.forget()
            raise

    def volume(self, volume_id: str) -> Volume:
        payload = self._client.get(f"/api/instances/Volume::{volume_id}", VolumePayload)
        return convert.volume(self.system_id(), payload)

    def volumes(self) -> Sequence[Volume]:
        """Callers at the same time share one request."""
        return self._all_volumes.get()

    def _read_volumes(self) -> Sequence[Volume]:
        system_id = self.system_id()
        payloads = self._client.get("/api/types/Volume/instances", tuple[VolumePayload, ...])
        return [convert.volume(system_id, payload) for payload in payloads]

    def volumes_by_id(self, volume_ids: Sequence[str]) -> Sequence[Volume]:
        path = "/api/types/Volume/instances/action/queryBySelectedIds"
        body = {"ids": list(volume_ids)}
        payloads = self._client.post(path, body, tuple[VolumePayload, ...], Effect.READ)
        return [convert.volume(self.system_id(), payload) for payload in payloads]

    def volume_id_by_name(self, name: str) -> str:
        path = "/api/types/Volume/instances/action/queryIdByKey"
        return id_in(self._client.post(path, {"name": name}, msgspec.Raw, Effect.READ))

    def resize_volume(self, volume_id: str, size: int) -> None:
        self._act(volume_id, "setVolumeSize", {"sizeInGB": str(size // units.GIB)})

    def rename_volume(self, volume_id: str, name: str) -> None:
        self._act(volume_id, "setVolumeName", {"newName": name})

    def remove_volume(self, volume_id: str) -> None:
        self._act(volume_id, "removeVolume", {"removeMode": "ONLY_ME"})

    # --- copies ----------------------------------------------------------------------------------

    def take_snapshots(
        self, copies: Sequence[Copy], *, access: Access, retention_minutes: int
    ) -> Sequence[str]:
        """PowerFlex 5 has the action ``createSnapshot``, without an access mode (2.7)."""
        body: dict[str, object] = {"snapshotDefs": _definitions(copies)}
        if retention_minutes:
            body["retentionPeriodInMin"] = str(retention_minutes)
        if self._erasure_coded(copies[0].volume_id):
            return self._copy("createSnapshot", body, len(copies))
        return self._copy("snapshotVolumes", body | {"accessModeLimit": access.value}, len(copies))

    def clone(self, copy: Copy) -> str:
        """A writable snapshot, or a thin clone on PowerFlex 5 (2.7)."""
        body: dict[str, object] = {"snapshotDefs": _definitions([copy])}
        if self._erasure_coded(copy.volume_id):
            return self._copy("createThinClone", body, 1)[0]
        return self._copy("snapshotVolumes", body | {"accessModeLimit": Access.READ_WRITE.value}, 1)[0]

    def remove_group(self, group_id: str) -> None:
        path = f"/api/instances/System::{self.system_id()}/action/removeConsistencyGroupSnapshots"
        self._client.post(path, {"snapGroupId": group_id}, msgspec.Raw, Effect.IDEMPOTENT)

    def _erasure_coded(self, volume_id: str) -> bool:
        """Whether the volume is in an erasure-coded pool. It is read only if the system has both kinds."""
        kinds = self._pools.kinds()
        return kinds.pop() if len(kinds) == 1 else self.volume(volume_id).erasure_coded

    def _copy(self, action: str, body: Mapping[str, object], count: int) -> Sequence[str]:
        path = f"/api/instances/System::{self.system_id()}/action/{action}"
        made = self._client.post(path, body, CopiesPayload, Effect.ONCE).volume_id_list
        if len(made) != count:
            raise Unavailable(
                f"PowerFlex system {self.label} created {len(made)} copies instead of {count}; try again"
            )
        return made

    def tree_members(self, tree_id: str) -> int:
        path = f"/api/instances/VTree::{tree_id}/relationships/Volume"
        return len(self._client.get(path, tuple[CreatedPayload, ...]))

    # --- mappings --------------------------------------------------------------------------------

    def hosts_of(self, node: NodeIdentity) -> Sequence[Host]:
        return self._hosts.of(node)

    def hosts_by_id(self, needed: Collection[str]) -> Mapping[str, Host]:
        return self._hosts.by_id(needed)

    def approve(self, host: Host) -> None:
        """By the SDC's GUID (2.3)."""
        path = f"/api/instances/System::{self.system_id()}/action/approveSdc"
        self._client.post(path, {"sdcGuid": host.initiator.value}, msgspec.Raw, Effect.IDEMPOTENT)
        self._hosts.forget()

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
        )

    def unmap_volume(self, volume_id: str, host: Host) -> None:
        actions = ACTIONS[host.kind]
        self._act(volume_id, actions.unmap, {actions.host_id: host.id})

    def unmap_everywhere(self, volume_id: str, kind: InitiatorKind) -> None:
        actions = ACTIONS[kind]
        self._act(volume_id, actions.unmap, {actions.every_host: ""})

    def _act(self, volume_id: str, action: str, body: Mapping[str, object]) -> None:
        """Run an action of a volume. A repetition changes nothing, or is refused with a code of its own."""
        path = f"/api/instances/Volume::{volume_id}/action/{action}"
        try:
            self._client.post(path, body, msgspec.Raw, Effect.IDEMPOTENT)
        except HostNotFound:
            # An SDC that was removed and added again has a new id.
            self._hosts.forget()
            raise


def _definitions(copies: Sequence[Copy]) -> list[dict[str, str]]:
    return [{"volumeId": copy.volume_id, "snapshotName": copy.name} for copy in copies]
