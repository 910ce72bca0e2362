"""Caches for the pools and the hosts of a system, which rarely change, and for the pools' capacity.

If a look-up finds nothing, the array is asked again before the look-up fails. If the array does not know a
cached id any more, the caller calls ``forget``. So after a pool was renamed, an SDC was added again or an
array was replaced, the driver sends one more request and needs no restart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.errors import InvalidArgument, NotFound
from csi_powerflex.gateway import convert
from csi_powerflex.gateway.client import Client
from csi_powerflex.gateway.payloads import DomainPayload, PoolPayload, SdcPayload
from csi_powerflex.ids import Initiator, NodeIdentity
from csi_powerflex.model.array import Host, Pool, PoolCapacity
from csi_powerflex.observability import metrics

CAPACITY_SECONDS = 5.0
"""How long the capacity of a pool is remembered."""


class Pools:
    """The storage pools of a system."""

    def __init__(self, settings: SystemSettings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self._cached: tuple[Pool, ...] = ()

    def find(self, domain: str | None, pool: str | None) -> Pool:
        """The pool for ``Array.pool``; arguments and errors are the same."""
        pool = pool or self._settings.storage_pool
        domain = domain or self._settings.protection_domain
        label = self._settings.label
        if pool is None:
            raise InvalidArgument(
                "no storage pool was asked for: give the parameter storagepool, or storagePool for system "
                f"{label} in the systems file"
            )
        found = _matching(self._cached, domain, pool) or _matching(self.refresh(), domain, pool)
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidArgument(
                f"system {label} has several storage pools {pool!r} ({', '.join(sorted(map(str, found)))}); "
                "name one protection domain in the parameter protectiondomain"
            )
        known = ", ".join(sorted(map(str, self._cached))) or "none"
        within = f" in protection domain {domain!r}" if domain else ""
        raise InvalidArgument(f"system {label} has no storage pool {pool!r}{within}; it has: {known}")

    def with_id(self, pool_id: str) -> Pool:
        """The pool for ``Array.pool_by_id``; errors are the same."""
        found = _matching(self._cached, None, pool_id) or _matching(self.refresh(), None, pool_id)
        if not found:
            raise InvalidArgument(f"system {self._settings.label} has no storage pool with id {pool_id}")
        return found[0]

    def kinds(self) -> set[bool]:
        """Which kinds of pools there are: erasure-coded (True), mirrored (False), or both."""
        return {pool.erasure_coded for pool in self.all()}

    def all(self) -> tuple[Pool, ...]:
        """Every pool."""
        return self._cached or self.refresh()

    def forget(self) -> None:
        """Ask the array again at the next look-up."""
        self._cached = ()

    def refresh(self) -> tuple[Pool, ...]:
        """Ask the array now."""
        metrics.GATEWAY_CACHE_MISSES.labels(self._settings.label, "pools").inc()
        domains = self._client.get("/api/types/ProtectionDomain/instances", tuple[DomainPayload, ...])
        pools = self._client.get("/api/types/StoragePool/instances", tuple[PoolPayload, ...])
        by_id = {domain.id: domain for domain in domains}
        self._cached = tuple(convert.pool(by_id.get(pool.protection_domain_id), pool) for pool in pools)
        return self._cached


class Capacities:
    """The capacity of pools, which is remembered for some seconds.

    The provisioner asks for the capacity once for each StorageClass and each topology, and again after each
    new volume. What this driver changes is seen at once; changes of others are seen after these seconds.
    """

    def __init__(
        self,
        client: Client,
        read: Callable[[Pool], PoolCapacity],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._read = read
        self._clock = clock
        self._known: dict[str, tuple[object, float, PoolCapacity]] = {}

    def of(self, pool: Pool) -> PoolCapacity:
        """The capacity of the pool; errors are those of ``Array.pool_capacity``."""
        state, now = self._client.state, self._clock()
        known = self._known.get(pool.id)
        if known is not None:
            seen_state, seen_at, capacity = known
            if seen_state is state and now - seen_at < CAPACITY_SECONDS:
                return capacity
        capacity = self._read(pool)
        self._known[pool.id] = (state, now, capacity)
        return capacity


class Hosts:
    """The hosts that a system knows, by initiator: SDCs and NVMe hosts."""

    def __init__(self, settings: SystemSettings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self._cached: Mapping[Initiator, Host] = {}
        # Ids of all entries, also of those that cannot be a node.
        self._ids: frozenset[str] = frozenset()

    def of(self, node: NodeIdentity) -> Sequence[Host]:
        """The hosts for ``Array.hosts_of``; errors are the same."""
        found = _of(node, self._cached)
        if len(found) < len(node.initiators):
            found = _of(node, self.refresh())
        if not found:
            raise NotFound(
                f"system {self._settings.label} knows no host of node {node}; is the SDC of that node "
                "connected to this system?"
            )
        return found

    def by_id(self, needed: Collection[str]) -> Mapping[str, Host]:
        """The hosts for ``Array.hosts_by_id``."""
        cached = self._cached
        if not cached or not self._ids.issuperset(needed):
            cached = self.refresh()
        return {host.id: host for host in cached.values()}

    def forget(self) -> None:
        """Ask the array again at the next look-up."""
        self._cached = {}

    def refresh(self) -> Mapping[Initiator, Host]:
        """Ask the array now."""
        metrics.GATEWAY_CACHE_MISSES.labels(self._settings.label, "hosts").inc()
        payloads = self._client.get("/api/types/Sdc/instances", tuple[SdcPayload, ...])
        self._ids = frozenset(payload.id for payload in payloads)
        hosts = [host for payload in payloads if (host := convert.host(payload)) is not None]
        self._cached = {host.initiator: host for host in hosts}
        return self._cached


def _of(node: NodeIdentity, hosts: Mapping[Initiator, Host]) -> list[Host]:
    return [hosts[initiator] for initiator in node.initiators if initiator in hosts]


def _matching(pools: tuple[Pool, ...], domain: str | None, pool: str) -> list[Pool]:
    return [
        item
        for item in pools
        if pool in (item.id, item.name) and (domain is None or domain in (item.domain_id, item.domain_name))
    ]
