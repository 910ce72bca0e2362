"""``model.ports.Array`` over the REST API. Numbers in brackets are sections of docs/powerflex-protocol.md."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from csi_powerflex import units
from csi_powerflex.config.systems.schema import SystemSettings, ZoneSettings
from csi_powerflex.errors import DriverError, Unavailable
from csi_powerflex.gateway import convert
from csi_powerflex.gateway.cache import Hosts, Pools
from csi_powerflex.gateway.client import Client, Effect
from csi_powerflex.gateway.payloads import (
    CopiesPayload,
    CreatedPayload,
    DomainPayload,
    MetricsPayload,
    PoolPayload,
    PoolStatisticsPayload,
    SystemLimitsPayload,
    SystemPayload,
    SystemStatisticsPayload,
    VolumePayload,
    id_in,
)
from csi_powerflex.ids import NodeIdentity
from csi_powerflex.model.array import (
    Access,
    Condition,
    Copy,
    Host,
    HostGone,
    Limits,
    Pool,
    PoolCapacity,
    PoolGone,
    Provisioning,
    Volume,
)

_CONDITIONS = {"Protected": Condition.HEALTHY, "Failed": Condition.FAILED}


class GatewayArray:
    """One PowerFlex system, behind its gateway."""

    def __init__(self, settings: SystemSettings) -> None:
        self.settings = settings
        # What kept the watch from looking at this system, None while it serves; only the watch sets it.
        self.last_error: DriverError | None = None
        self._client = Client(settings)
        self._system_id = settings.id
        self._pools = Pools(settings, self._client)
        self._hosts = Hosts(settings, self._client)
        self._largest_volume = 0

    @property
    def label(self) -> str:
        """See ``Array.label``."""
        return self.settings.label

    @property
    def zones(self) -> Sequence[ZoneSettings]:
        """See ``Array.zones``."""
        return self.settings.zones

    @property
    def approves_hosts(self) -> bool:
        """See ``Array.approves_hosts``."""
        return self.settings.approve_hosts

    @property
    def is_reachable(self) -> bool:
        """See ``Array.answers``."""
        return self.last_error is None

    @property
    def cached_id(self) -> str | None:
        """The system's id as far as it is known without asking."""
        return self._system_id

    def refresh(self) -> None:
        """Ask for what seldom changes, whatever is remembered of it."""
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
            # PowerFlex 5 counts them nowhere that could be asked cheaply.
            path = f"/api/instances/System::{self.system_id()}/relationships/Statistics"
            used["volumes"] = self._client.get(path, SystemStatisticsPayload).num_of_volumes
        return {kind: (count, allowed[kind] or 0) for kind, count in used.items() if kind in allowed}

    def close(self) -> None:
        """Give the session back and close the connections."""
        self._client.close()

    def system_id(self) -> str:
        """See ``Array.system_id``."""
        if self._system_id is None:
            systems = self._client.get("/api/types/System/instances", tuple[SystemPayload, ...])
            if len(systems) != 1:
                raise Unavailable(
                    f"PowerFlex system {self.label}: the gateway names {len(systems)} systems, not one"
                )
            self._system_id = systems[0].id
        return self._system_id

    # --- pools -----------------------------------------------------------------------------------

    def pools(self) -> Sequence[Pool]:
        """Every pool."""
        return self._pools.all()

    def pool(self, domain: str | None, pool: str | None) -> Pool:
        """See ``Array.pool``."""
        return self._pools.find(domain, pool)

    def pool_by_id(self, pool_id: str) -> Pool:
        """See ``Array.pool_by_id``."""
        return self._pools.with_id(pool_id)

    def room(self, pool: Pool) -> PoolCapacity:
        """See ``Array.room``: from Statistics, which PowerFlex 5 replaced by metrics (2.12)."""
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

    def condition(self, pool: Pool) -> Condition:
        """See ``Array.condition``: of the domain's state and the pool's copies (2.4, 2.5, 2.12)."""
        domain = self._client.get(f"/api/instances/ProtectionDomain::{pool.domain_id}", DomainPayload)
        if (domain.protection_domain_state or "Active") != "Active":
            return Condition.INACTIVE
        if pool.erasure_coded:
            state = self._client.get(f"/api/instances/StoragePool::{pool.id}", PoolPayload).sp_health_state
            return _CONDITIONS.get(state or "Protected", Condition.DEGRADED)
        path = f"/api/instances/StoragePool::{pool.id}/relationships/Statistics"
        found = self._client.get(path, PoolStatisticsPayload)
        if found.failed_capacity_in_kb:
            return Condition.FAILED
        degraded = found.degraded_healthy_capacity_in_kb or found.degraded_failed_capacity_in_kb
        return Condition.DEGRADED if degraded else Condition.HEALTHY

    def largest_volume(self) -> int:
        """See ``Array.largest_volume``; the limit ``volumeSizeGb`` (4)."""
        if not self._largest_volume:
            path = "/api/instances/System/action/querySystemLimits"
            limits = self._client.post(path, {}, SystemLimitsPayload, Effect.READ).system_limit_entry_list
            sizes = [limit.max_val or 0 for limit in limits if limit.type == "volumeSizeGb"]
            if not sizes or sizes[0] <= 0:
                raise Unavailable(f"PowerFlex system {self.label} does not tell its largest volume")
            self._largest_volume = min(sizes[0] * units.GIB, units.INT64_MAX)
        return self._largest_volume

    # --- volumes ---------------------------------------------------------------------------------

    def create_volume(self, *, name: str, size: int, pool: Pool, provisioning: Provisioning) -> str:
        """See ``Array.create_volume``."""
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
        except PoolGone:
            self._pools.forget()
            raise

    def volume(self, volume_id: str) -> Volume:
        """See ``Array.volume``."""
        payload = self._client.get(f"/api/instances/Volume::{volume_id}", VolumePayload)
        return convert.volume(self.system_id(), payload)

    def volumes(self) -> Sequence[Volume]:
        """See ``Array.volumes``."""
        system_id = self.system_id()
        payloads = self._client.get("/api/types/Volume/instances", tuple[VolumePayload, ...])
        return [convert.volume(system_id, payload) for payload in payloads]

    def volumes_by_id(self, volume_ids: Sequence[str]) -> Sequence[Volume]:
        """See ``Array.volumes_by_id``."""
        path = "/api/types/Volume/instances/action/queryBySelectedIds"
        body = {"ids": list(volume_ids)}
        payloads = self._client.post(path, body, tuple[VolumePayload, ...], Effect.READ)
        return [convert.volume(self.system_id(), payload) for payload in payloads]

    def volume_id_by_name(self, name: str) -> str:
        """See ``Array.volume_id_by_name``."""
        path = "/api/types/Volume/instances/action/queryIdByKey"
        return id_in(self._client.post(path, {"name": name}, msgspec.Raw, Effect.READ))

    def resize_volume(self, volume_id: str, size: int) -> None:
        """See ``Array.resize_volume``."""
        self._act(volume_id, "setVolumeSize", {"sizeInGB": str(size // units.GIB)})

    def remove_volume(self, volume_id: str) -> None:
        """See ``Array.remove_volume``."""
        self._act(volume_id, "removeVolume", {"removeMode": "ONLY_ME"})

    # --- copies ----------------------------------------------------------------------------------

    def take_snapshots(
        self, copies: Sequence[Copy], *, access: Access, retention_minutes: int
    ) -> Sequence[str]:
        """See ``Array.take_snapshots``: PowerFlex 5 has ``createSnapshot``, without an access mode (2.7)."""
        body: dict[str, object] = {"snapshotDefs": _definitions(copies)}
        if retention_minutes:
            body["retentionPeriodInMin"] = str(retention_minutes)
        if self._erasure_coded(copies[0].volume_id):
            return self._copy("createSnapshot", body, len(copies))
        return self._copy("snapshotVolumes", body | {"accessModeLimit": access.value}, len(copies))

    def clone(self, copy: Copy) -> str:
        """See ``Array.clone``: a writable snapshot, or a thin clone on PowerFlex 5 (2.7)."""
        body: dict[str, object] = {"snapshotDefs": _definitions([copy])}
        if self._erasure_coded(copy.volume_id):
            return self._copy("createThinClone", body, 1)[0]
        return self._copy("snapshotVolumes", body | {"accessModeLimit": Access.READ_WRITE.value}, 1)[0]

    def remove_group(self, group_id: str) -> None:
        """See ``Array.remove_group``."""
        path = f"/api/instances/System::{self.system_id()}/action/removeConsistencyGroupSnapshots"
        self._client.post(path, {"snapGroupId": group_id}, msgspec.Raw, Effect.IDEMPOTENT)

    def _erasure_coded(self, volume_id: str) -> bool:
        """Whether a volume lies in an erasure-coded pool; asked of it only if the system has both kinds."""
        kinds = self._pools.kinds()
        return kinds.pop() if len(kinds) == 1 else self.volume(volume_id).erasure_coded

    def _copy(self, action: str, body: Mapping[str, object], count: int) -> Sequence[str]:
        path = f"/api/instances/System::{self.system_id()}/action/{action}"
        made = self._client.post(path, body, CopiesPayload, Effect.ONCE).volume_id_list
        if len(made) != count:
            raise Unavailable(
                f"PowerFlex system {self.label}: {count} copies were asked for and {len(made)} made; "
                "try again"
            )
        return made

    def tree_members(self, tree_id: str) -> int:
        """See ``Array.tree_members``."""
        path = f"/api/instances/VTree::{tree_id}/relationships/Volume"
        return len(self._client.get(path, tuple[CreatedPayload, ...]))

    # --- mappings --------------------------------------------------------------------------------

    def host(self, identity: NodeIdentity) -> Host:
        """See ``Array.host``."""
        return self._hosts.find(identity)

    def hosts_by_id(self, needed: Collection[str]) -> Mapping[str, Host]:
        """See ``Array.hosts_by_id``."""
        return self._hosts.by_id(needed)

    def approve(self, identity: NodeIdentity) -> None:
        """See ``Array.approve`` (2.3)."""
        path = f"/api/instances/System::{self.system_id()}/action/approveSdc"
        self._client.post(path, {"sdcGuid": identity.sdc_guid}, msgspec.Raw, Effect.IDEMPOTENT)
        self._hosts.forget()

    def map_volume(self, volume_id: str, host: Host, *, access: Access, shared: bool) -> None:
        """See ``Array.map_volume``."""
        self._act(
            volume_id,
            "addMappedSdc",
            {
                "sdcId": host.id,
                "allowMultipleMappings": "TRUE" if shared else "FALSE",
                "accessMode": access.value,
            },
        )

    def limit_mapping(self, volume_id: str, host_id: str, limits: Limits) -> None:
        """See ``Array.limit_mapping``."""
        self._act(
            volume_id,
            "setMappedSdcLimits",
            {
                "sdcId": host_id,
                "iopsLimit": str(limits.iops),
                "bandwidthLimitInKbps": str(limits.bandwidth_kbps),
            },
        )

    def unmap_volume(self, volume_id: str, host: Host) -> None:
        """See ``Array.unmap_volume``."""
        self._act(volume_id, "removeMappedSdc", {"sdcId": host.id})

    def unmap_everywhere(self, volume_id: str) -> None:
        """See ``Array.unmap_everywhere``."""
        self._act(volume_id, "removeMappedSdc", {"allSdcs": ""})

    def _act(self, volume_id: str, action: str, body: Mapping[str, object]) -> None:
        """An action that does nothing more, or is refused with a code of its own, when it is repeated."""
        path = f"/api/instances/Volume::{volume_id}/action/{action}"
        try:
            self._client.post(path, body, msgspec.Raw, Effect.IDEMPOTENT)
        except HostGone:
            # An SDC that was removed and added again has a new id.
            self._hosts.forget()
            raise


def _definitions(copies: Sequence[Copy]) -> list[dict[str, str]]:
    return [{"volumeId": copy.volume_id, "snapshotName": copy.name} for copy in copies]
