"""``model.array.Array`` over the gateway's REST API.

Ids that seldom change (system, pools, hosts) are remembered and asked for again when the array says that one
of them is gone.
"""

from __future__ import annotations

import datetime
import threading

import msgspec

from csi_powerflex import units
from csi_powerflex.config.systems import SystemSettings
from csi_powerflex.errors import InvalidArgument, NotFound, Unavailable
from csi_powerflex.gateway.client import Client, Effect
from csi_powerflex.gateway.payloads import (
    CreatedPayload,
    DomainPayload,
    MappingPayload,
    PoolPayload,
    SdcPayload,
    SystemPayload,
    VolumePayload,
    id_in,
)
from csi_powerflex.ids import NodeIdentity, VolumeHandle
from csi_powerflex.model.array import Access, Host, HostGone, Mapping, Pool, PoolGone, Provisioning, Volume

_VOLUME_TYPES = {Provisioning.THIN: "ThinProvisioned", Provisioning.THICK: "ThickProvisioned"}


class GatewayArray:
    """One PowerFlex system, behind its gateway."""

    def __init__(self, settings: SystemSettings) -> None:
        self._settings = settings
        self._client = Client(settings)
        self._lock = threading.Lock()
        self._system_id = settings.id
        self._pools: tuple[tuple[DomainPayload, PoolPayload], ...] = ()
        self._hosts: dict[str, Host] = {}

    @property
    def label(self) -> str:
        """How the operator calls this system."""
        return self._settings.label

    def answers_to(self, name: str) -> bool:
        """Whether ``name`` is this system's name or id."""
        return name in (self._settings.name, self.system_id())

    def close(self) -> None:
        """Give the session back and close the connections."""
        self._client.close()

    # --- what seldom changes ---------------------------------------------------------------------

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

    def pool(self, domain: str | None, pool: str | None) -> Pool:
        """See ``Array.pool``."""
        pool = pool or self._settings.storage_pool
        domain = domain or self._settings.protection_domain
        if pool is None:
            raise InvalidArgument(
                f"no storage pool: give the parameter storagepool, or storagePool for system {self.label} "
                "in the systems file"
            )
        found = self._matching(self._pools, domain, pool)
        if not found:
            found = self._matching(self._read_pools(), domain, pool)
        if len(found) == 1:
            return _pool(*found[0])
        if found:
            domains = ", ".join(sorted(owner.name or owner.id for owner, _ in found))
            raise InvalidArgument(
                f"system {self.label} has storage pools {pool!r} in several protection domains ({domains}); "
                "name one in the parameter protectiondomain"
            )
        known = ", ".join(
            sorted(f"{owner.name or owner.id}/{item.name or item.id}" for owner, item in self._pools)
        )
        within = f" in protection domain {domain!r}" if domain else ""
        raise InvalidArgument(
            f"system {self.label} has no storage pool {pool!r}{within}; it has: {known or 'none'}"
        )

    def _read_pools(self) -> tuple[tuple[DomainPayload, PoolPayload], ...]:
        domains = self._client.get("/api/types/ProtectionDomain/instances", tuple[DomainPayload, ...])
        pools = self._client.get("/api/types/StoragePool/instances", tuple[PoolPayload, ...])
        by_id = {domain.id: domain for domain in domains}
        self._pools = tuple(
            (by_id.get(pool.protection_domain_id, DomainPayload(id=pool.protection_domain_id)), pool)
            for pool in pools
        )
        return self._pools

    @staticmethod
    def _matching(
        pools: tuple[tuple[DomainPayload, PoolPayload], ...], domain: str | None, pool: str
    ) -> list[tuple[DomainPayload, PoolPayload]]:
        return [
            (owner, item)
            for owner, item in pools
            if pool in (item.id, item.name) and (domain is None or domain in (owner.id, owner.name))
        ]

    def host(self, identity: NodeIdentity) -> Host:
        """See ``Array.host``."""
        known = self._hosts.get(identity.sdc_guid)
        if known is not None:
            return known
        self._read_hosts()
        if identity.sdc_guid not in self._hosts:
            raise NotFound(
                f"system {self.label} knows no SDC with GUID {identity.sdc_guid}; is the SDC of that node "
                "connected to this system?"
            )
        return self._hosts[identity.sdc_guid]

    def _read_hosts(self) -> None:
        hosts = self._client.get("/api/types/Sdc/instances", tuple[SdcPayload, ...])
        self._hosts = {
            host.sdc_guid.upper(): Host(
                id=host.id,
                name=host.name,
                identity=NodeIdentity.of_sdc(host.sdc_guid),
                connected=host.mdm_connection_state == "Connected",
            )
            for host in hosts
            if host.sdc_guid
        }

    # --- volumes ---------------------------------------------------------------------------------

    def create_volume(self, *, name: str, size: int, pool: Pool, provisioning: Provisioning) -> str:
        """See ``Array.create_volume``."""
        body = {
            "name": name,
            "protectionDomainId": pool.domain_id,
            "storagePoolId": pool.id,
            "volumeSizeInKb": str(size // units.KIB),
            "volumeType": _VOLUME_TYPES[provisioning],
        }
        try:
            return self._client.post("/api/types/Volume/instances", body, CreatedPayload, Effect.ONCE).id
        except PoolGone:
            self._pools = ()
            raise

    def volume(self, volume_id: str) -> Volume:
        """See ``Array.volume``."""
        payload = self._client.get(f"/api/instances/Volume::{volume_id}", VolumePayload)
        return _volume(self.system_id(), payload)

    def volume_id_by_name(self, name: str) -> str:
        """See ``Array.volume_id_by_name``."""
        path = "/api/types/Volume/instances/action/queryIdByKey"
        return id_in(self._client.post(path, {"name": name}, msgspec.Raw, Effect.READ))

    def remove_volume(self, volume_id: str) -> None:
        """See ``Array.remove_volume``."""
        self._act(volume_id, "removeVolume", {"removeMode": "ONLY_ME"})

    # --- mappings --------------------------------------------------------------------------------

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

    def unmap_volume(self, volume_id: str, host: Host) -> None:
        """See ``Array.unmap_volume``."""
        self._act(volume_id, "removeMappedSdc", {"sdcId": host.id})

    def unmap_everywhere(self, volume_id: str) -> None:
        """See ``Array.unmap_everywhere``."""
        self._act(volume_id, "removeMappedSdc", {"allSdcs": ""})

    def _act(self, volume_id: str, action: str, body: dict[str, object]) -> None:
        """An action whose repetition the array refuses with a code of its own, so repeating it is safe."""
        path = f"/api/instances/Volume::{volume_id}/action/{action}"
        try:
            self._client.post(path, body, msgspec.Raw, Effect.IDEMPOTENT)
        except HostGone:
            # An SDC that was removed and added again has a new id.
            self._hosts = {}
            raise


def _pool(domain: DomainPayload, pool: PoolPayload) -> Pool:
    erasure_coded = "EC" in (domain.gen_type, pool.gen_type) or pool.data_layout == "ErasureCoding"
    return Pool(
        id=pool.id,
        name=pool.name or pool.id,
        domain_id=pool.protection_domain_id,
        # REST reference, 4 (limits): 8 GiB, and 1 GiB in erasure-coded pools.
        granularity=units.GIB if erasure_coded else 8 * units.GIB,
    )


def _volume(system_id: str, payload: VolumePayload) -> Volume:
    return Volume(
        handle=VolumeHandle(system_id, payload.id),
        name=payload.name,
        size=payload.size_in_kb * units.KIB,
        pool_id=payload.storage_pool_id,
        provisioning=Provisioning.THICK if payload.volume_type == "ThickProvisioned" else Provisioning.THIN,
        access_limit=_access(payload.access_mode_limit),
        ancestor_id=payload.ancestor_volume_id,
        created=datetime.datetime.fromtimestamp(payload.creation_time, tz=datetime.UTC),
        mappings=tuple(_mapping(item) for item in payload.mapped_sdc_info or ()),
    )


def _mapping(payload: MappingPayload) -> Mapping:
    return Mapping(host_id=payload.sdc_id, host_name=payload.sdc_name, access=_access(payload.access_mode))


def _access(mode: str | None) -> Access:
    """Old systems leave the mode out: then it is the widest."""
    return Access.READ_ONLY if mode == Access.READ_ONLY.value else Access.READ_WRITE
