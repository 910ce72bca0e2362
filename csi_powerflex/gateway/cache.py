"""What seldom changes on a system, remembered: its pools and its hosts.

A look-up that finds nothing asks the array again before it says so, and whoever meets a remembered id that
the array no longer knows calls ``forget``. So a renamed pool, a re-added SDC or a replaced array costs one
more look and no restart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from csi_powerflex import units
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.errors import InvalidArgument, NotFound
from csi_powerflex.gateway.client import Client
from csi_powerflex.gateway.payloads import DomainPayload, PoolPayload, SdcPayload
from csi_powerflex.ids import NodeIdentity, is_guid
from csi_powerflex.model.array import Host, Pool
from csi_powerflex.observability import metrics


class Pools:
    """The storage pools of a system."""

    def __init__(self, settings: SystemSettings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self._known: tuple[Pool, ...] = ()

    def find(self, domain: str | None, pool: str | None) -> Pool:
        """See ``Array.pool``."""
        pool = pool or self._settings.storage_pool
        domain = domain or self._settings.protection_domain
        label = self._settings.label
        if pool is None:
            raise InvalidArgument(
                f"no storage pool: give the parameter storagepool, or storagePool for system {label} "
                "in the systems file"
            )
        found = _matching(self._known, domain, pool) or _matching(self.refresh(), domain, pool)
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidArgument(
                f"system {label} has several storage pools {pool!r} ({', '.join(sorted(map(str, found)))}); "
                "name one protection domain in the parameter protectiondomain"
            )
        known = ", ".join(sorted(map(str, self._known))) or "none"
        within = f" in protection domain {domain!r}" if domain else ""
        raise InvalidArgument(f"system {label} has no storage pool {pool!r}{within}; it has: {known}")

    def with_id(self, pool_id: str) -> Pool:
        """See ``Array.pool_by_id``."""
        found = _matching(self._known, None, pool_id) or _matching(self.refresh(), None, pool_id)
        if not found:
            raise InvalidArgument(f"system {self._settings.label} has no storage pool with id {pool_id}")
        return found[0]

    def kinds(self) -> set[bool]:
        """Which kinds of pools there are: erasure-coded (True), mirrored (False), or both."""
        return {pool.erasure_coded for pool in self.all()}

    def all(self) -> tuple[Pool, ...]:
        """Every pool."""
        return self._known or self.refresh()

    def forget(self) -> None:
        """Ask the array again at the next look-up."""
        self._known = ()

    def refresh(self) -> tuple[Pool, ...]:
        """Ask the array now."""
        metrics.GATEWAY_CACHE_MISSES.labels(self._settings.label, "pools").inc()
        domains = self._client.get("/api/types/ProtectionDomain/instances", tuple[DomainPayload, ...])
        pools = self._client.get("/api/types/StoragePool/instances", tuple[PoolPayload, ...])
        by_id = {domain.id: domain for domain in domains}
        self._known = tuple(_pool(by_id.get(pool.protection_domain_id), pool) for pool in pools)
        return self._known


class Hosts:
    """The hosts that a system knows."""

    def __init__(self, settings: SystemSettings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self._known: Mapping[str, Host] = {}
        self._ids: frozenset[str] = frozenset()

    def find(self, identity: NodeIdentity) -> Host:
        """See ``Array.host``."""
        host = self._known.get(identity.sdc_guid) or self.refresh().get(identity.sdc_guid)
        if host is None:
            raise NotFound(
                f"system {self._settings.label} knows no SDC with GUID {identity.sdc_guid}; is the SDC of "
                "that node connected to this system?"
            )
        return host

    def by_id(self, needed: Collection[str]) -> Mapping[str, Host]:
        """See ``Array.hosts_by_id``."""
        known = self._known
        if not known or not self._ids.issuperset(needed):
            known = self.refresh()
        return {host.id: host for host in known.values()}

    def forget(self) -> None:
        """Ask the array again at the next look-up."""
        self._known = {}

    def refresh(self) -> Mapping[str, Host]:
        """Ask the array now."""
        metrics.GATEWAY_CACHE_MISSES.labels(self._settings.label, "hosts").inc()
        hosts = self._client.get("/api/types/Sdc/instances", tuple[SdcPayload, ...])
        # A GUID has no fixed case on the wire (protocol notes, 8); a NodeIdentity has it in upper case.
        self._ids = frozenset(host.id for host in hosts)
        known = [_host(host) for host in hosts if host.sdc_guid and is_guid(host.sdc_guid)]
        self._known = {host.identity.sdc_guid: host for host in known}
        return self._known


def _matching(pools: tuple[Pool, ...], domain: str | None, pool: str) -> list[Pool]:
    return [
        item
        for item in pools
        if pool in (item.id, item.name) and (domain is None or domain in (item.domain_id, item.domain_name))
    ]


def _pool(domain: DomainPayload | None, pool: PoolPayload) -> Pool:
    generation = (domain.gen_type if domain else None, pool.gen_type)
    erasure_coded = "EC" in generation or pool.data_layout == "ErasureCoding"
    return Pool(
        id=pool.id,
        name=pool.name or pool.id,
        domain_id=pool.protection_domain_id,
        domain_name=(domain.name if domain else None) or pool.protection_domain_id,
        # protocol notes, 4 (limits): 8 GiB, and 1 GiB in erasure-coded pools.
        granularity=units.GIB if erasure_coded else 8 * units.GIB,
        erasure_coded=erasure_coded,
        compressible=pool.data_layout == "FineGranularity",
        zero_padded=pool.zero_padding_enabled,
    )


def _host(host: SdcPayload) -> Host:
    return Host(
        id=host.id,
        name=host.name,
        identity=NodeIdentity.of_sdc(host.sdc_guid or ""),
        connected=host.mdm_connection_state == "Connected",
        approved=host.sdc_approved is not False,
    )
