"""Caches for the pools and the hosts of a system, which rarely change, and for the pools' capacity.

If a look-up finds nothing, the array is asked again before the look-up fails. If the array does not know a
cached id any more, the caller calls ``forget``. So after a pool was renamed, an SDC was added again or an
array was replaced, the driver sends one more request and needs no restart.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.errors import InvalidArgument, NotFound
from csi_powerflex.gateway import convert
from csi_powerflex.gateway.client import Client
from csi_powerflex.gateway.payloads import DomainPayload, PoolPayload, SdcPayload
from csi_powerflex.ids import Initiator, InitiatorKind, NodeIdentity
from csi_powerflex.model.array import Host, Pool, PoolCapacity
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)

CAPACITY_SECONDS = 5.0
"""How long the capacity of a pool is remembered."""

HOST_SECONDS = 60.0
"""How long a list of hosts is good enough to say that a node has no further host."""


class Pools:
    """The storage pools of a system."""

    def __init__(self, settings: SystemSettings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self._cached: tuple[Pool, ...] = ()
        # What of the systems file does not exist, as far as it was logged.
        self._missing: list[str] = []
        self._read: tuple[tuple[DomainPayload | None, PoolPayload], ...] = ()

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

    def last_read(self) -> tuple[tuple[DomainPayload | None, PoolPayload], ...]:
        """Each pool with its domain, as the array described them when it was asked last."""
        return self._read

    def refresh(self) -> tuple[Pool, ...]:
        """Ask the array now."""
        metrics.GATEWAY_CACHE_MISSES.labels(self._settings.label, "pools").inc()
        domains = self._client.get_list("/api/types/ProtectionDomain/instances", DomainPayload)
        pools = self._client.get_list("/api/types/StoragePool/instances", PoolPayload)
        by_id = {domain.id: domain for domain in domains}
        self._read = tuple((by_id.get(pool.protection_domain_id), pool) for pool in pools)
        self._cached = tuple(convert.pool(domain, pool) for domain, pool in self._read)
        self._log_missing()
        return self._cached

    def _log_missing(self) -> None:
        """Log once which pools and domains of the systems file do not exist on the array."""
        settings = self._settings
        named = [(settings.protection_domain, settings.storage_pool)]
        named += [(zone.protection_domain, pool) for zone in settings.zones for pool in zone.storage_pools]
        missing = [
            _named(domain, pool) for domain, pool in named if not _matching(self._cached, domain, pool)
        ]
        if missing != self._missing:
            self._missing = missing
            for what in missing:
                log.warning(
                    "the systems file names a pool that does not exist",
                    system=settings.label,
                    missing=what,
                    pools=", ".join(sorted(map(str, self._cached))) or "none",
                )


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
        if capacity.total:  # Figures that an answer lacks are read as 0. It is asked again.
            self._known[pool.id] = (state, now, capacity)
        return capacity


class Hosts:
    """The hosts that a system knows, by initiator: SDCs and NVMe hosts.

    ``has_nvme`` is whether there were NVMe hosts when the array was asked last.
    """

    def __init__(
        self, settings: SystemSettings, client: Client, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._read_at = -math.inf
        self._cached: Mapping[Initiator, Host] = {}
        self.has_nvme = False
        # Ids of all entries, also of those that cannot be a node.
        self._ids: frozenset[str] = frozenset()

    def of(self, node: NodeIdentity, mapped: Collection[str], *, fresh: bool) -> Sequence[Host]:
        """The hosts for ``Array.hosts_of``; arguments and errors are the same.

        A node may have an initiator that this system does not know, so that is no reason to ask each time.
        """
        found = _of(node, self.refresh() if fresh else self._cached)
        missing = len(found) < len(node.initiators)
        old = self._clock() - self._read_at >= HOST_SECONDS
        if not fresh and (not found or (missing and old) or not self._ids.issuperset(mapped)):
            found = _of(node, self.refresh())
        if not found:
            raise NotFound(_unknown(self._settings.label, node))
        return found

    def add(self, host: Host) -> None:
        """Take up a host that was just created."""
        self._cached = {**self._cached, host.initiator: host}
        self._ids |= {host.id}
        self.has_nvme = self.has_nvme or host.kind is InitiatorKind.NVME

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
        payloads = self._client.get_list("/api/types/Sdc/instances", SdcPayload)
        self._read_at = self._clock()
        self._ids = frozenset(payload.id for payload in payloads)
        hosts = [host for payload in payloads if (host := convert.host(payload)) is not None]
        self.has_nvme = any(host.kind is InitiatorKind.NVME for host in hosts)
        self._cached = {host.initiator: host for host in hosts}
        return self._cached


def _unknown(label: str, node: NodeIdentity) -> str:
    """What is said of a node that the system has no host of. An NVMe host is created by the driver itself."""
    if node.initiator(InitiatorKind.SDC) is None:
        return (
            f"system {label} knows no host of node {node}; the driver creates the NVMe host when it first "
            "publishes a volume there"
        )
    return f"system {label} knows no host of node {node}; is the SDC of that node connected to this system?"


def _of(node: NodeIdentity, hosts: Mapping[Initiator, Host]) -> list[Host]:
    return [hosts[initiator] for initiator in node.initiators if initiator in hosts]


def _matching(pools: tuple[Pool, ...], domain: str | None, pool: str | None) -> list[Pool]:
    """The pools with that name or id in the domain with that name or id; None for any."""
    return [
        item
        for item in pools
        if (pool is None or pool in (item.id, item.name))
        and (domain is None or domain in (item.domain_id, item.domain_name))
    ]


def _named(domain: str | None, pool: str | None) -> str:
    parts = [f"storage pool {pool!r}"] if pool is not None else []
    parts += [f"protection domain {domain!r}"] if domain is not None else []
    return " in ".join(parts) or "any storage pool"
