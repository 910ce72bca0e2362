"""Caches for the pools and the hosts of a system, which rarely change, and for the pools' capacity.

If a look-up finds nothing, the array is asked again before the look-up fails. If the array does not know a
cached id any more, the caller calls ``forget``. So after a pool was renamed, an SDC was added again or an
array was replaced, the driver sends one more request and needs no restart.

Callers at the same time share one read, so its cost does not grow with their number. A read that began before
a call to ``forget`` is not kept: it could have what the array does not know any more.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.errors import InvalidArgument, NotFound
from csi_powerflex.gateway import convert
from csi_powerflex.gateway.client import Client
from csi_powerflex.gateway.payloads import DomainPayload, PoolPayload, SdcPayload
from csi_powerflex.ids import Initiator, InitiatorKind, NodeIdentity
from csi_powerflex.model.array import Host, Pool, PoolCapacity
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log
from csi_powerflex.shared_read import SharedRead

log = Log(__name__)

CAPACITY_SECONDS = 5.0
"""How long the capacity of a pool is remembered."""

# The requests of which a read of the pools consists.
_READS = 2

HOST_SECONDS = 60.0
"""How long a list of hosts is good enough to say that a node has no further host."""


class Pools:
    """The storage pools of a system; safe to share between threads."""

    def __init__(self, settings: SystemSettings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self._shared = SharedRead(self._read_now, seconds=_READS * settings.request_timeout)
        self._guard = threading.Lock()
        self._cached: tuple[Pool, ...] = ()
        # How many times ``forget`` was called.
        self._forgotten = 0
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
        pools = self._with(domain, pool)
        found = _matching(pools, domain, pool)
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidArgument(
                f"system {label} has several storage pools {pool!r} ({', '.join(sorted(map(str, found)))}); "
                "name one protection domain in the parameter protectiondomain"
            )
        known = ", ".join(sorted(map(str, pools))) or "none"
        within = f" in protection domain {domain!r}" if domain else ""
        raise InvalidArgument(f"system {label} has no storage pool {pool!r}{within}; it has: {known}")

    def with_id(self, pool_id: str) -> Pool:
        """The pool for ``Array.pool_by_id``; errors are the same."""
        found = _matching(self._with(None, pool_id), None, pool_id)
        if not found:
            raise InvalidArgument(f"system {self._settings.label} has no storage pool with id {pool_id}")
        return found[0]

    def _with(self, domain: str | None, pool: str | None) -> tuple[Pool, ...]:
        """Every pool, as it is cached if one of them matches; else as the array reports them now."""

        def kept() -> tuple[Pool, ...] | None:
            cached = self._cached
            return cached if _matching(cached, domain, pool) else None

        return self._shared.get_unless(kept)

    def kinds(self) -> set[bool]:
        """Which kinds of pools there are: erasure-coded (True), mirrored (False), or both."""
        return {pool.erasure_coded for pool in self.all()}

    def all(self) -> tuple[Pool, ...]:
        """Every pool."""
        return self._with(None, None)

    def forget(self) -> None:
        """Ask the array again at the next look-up."""
        with self._guard:
            self._forgotten += 1
            self._cached = ()

    def last_read(self) -> tuple[tuple[DomainPayload | None, PoolPayload], ...]:
        """Each pool with its domain, as the array described them when it was asked last."""
        return self._read

    def refresh(self) -> tuple[Pool, ...]:
        """Ask the array now."""
        return self._shared.get()

    def _read_now(self) -> tuple[Pool, ...]:
        forgotten = self._forgotten
        metrics.GATEWAY_CACHE_MISSES.labels(self._settings.label, "pools").inc()
        domains = self._client.get_list("/api/types/ProtectionDomain/instances", DomainPayload)
        payloads = self._client.get_list("/api/types/StoragePool/instances", PoolPayload)
        by_id = {domain.id: domain for domain in domains}
        self._read = tuple((by_id.get(payload.protection_domain_id), payload) for payload in payloads)
        pools = tuple(convert.pool(domain, payload) for domain, payload in self._read)
        with self._guard:
            if self._forgotten == forgotten:
                self._cached = pools
        self._log_missing(pools)
        return pools

    def _log_missing(self, pools: tuple[Pool, ...]) -> None:
        """Log once which pools and domains of the systems file do not exist on the array."""
        settings = self._settings
        named = [(settings.protection_domain, settings.storage_pool)]
        named += [(zone.protection_domain, pool) for zone in settings.zones for pool in zone.storage_pools]
        missing = [_named(domain, pool) for domain, pool in named if not _matching(pools, domain, pool)]
        if missing != self._missing:
            self._missing = missing
            for what in missing:
                log.warning(
                    "the systems file names a pool that does not exist",
                    system=settings.label,
                    missing=what,
                    pools=", ".join(sorted(map(str, pools))) or "none",
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
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._read = read
        self._seconds = seconds
        self._clock = clock
        self._known: dict[str, tuple[object, float, PoolCapacity]] = {}
        self._shared: dict[str, SharedRead[PoolCapacity]] = {}

    def of(self, pool: Pool) -> PoolCapacity:
        """The capacity of the pool; errors are those of ``Array.pool_capacity``."""
        shared = self._shared.get(pool.id)
        if shared is None:
            # What the read needs of a pool is the same as long as the pool exists: its id and its kind.
            new = SharedRead(lambda: self._read_now(pool), seconds=self._seconds)
            shared = self._shared.setdefault(pool.id, new)
        return shared.get_unless(lambda: self._kept(pool.id))

    def _kept(self, pool_id: str) -> PoolCapacity | None:
        """What is remembered, if it is recent and nothing has changed since its read began."""
        known = self._known.get(pool_id)
        if known is None:
            return None
        state, read_at, capacity = known
        usable = state is self._client.state and self._clock() - read_at < CAPACITY_SECONDS
        return capacity if usable else None

    def _read_now(self, pool: Pool) -> PoolCapacity:
        state, now = self._client.state, self._clock()
        capacity = self._read(pool)
        if capacity.total:  # Figures that an answer lacks are read as 0. It is asked again.
            self._known[pool.id] = (state, now, capacity)
        return capacity


@dataclass(frozen=True, slots=True)
class _Known:
    """The hosts of a system at one time.

    Attributes:
        hosts: those that can be a node, by initiator.
        ids: those of all entries, also of those that cannot be a node.
        read_at: when they were read, a value of the clock; minus infinity for never.
        by_id: ``hosts`` by their ids.
    """

    hosts: Mapping[Initiator, Host]
    ids: frozenset[str]
    read_at: float
    by_id: Mapping[str, Host] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {host.id: host for host in self.hosts.values()})

    def and_hosts(self, added: Iterable[Host]) -> _Known:
        """These hosts, and those that were added since their read began. What the array told counts more."""
        new = {host.initiator: host for host in added}
        return _Known({**new, **self.hosts}, self.ids.union(host.id for host in new.values()), self.read_at)


_NOTHING = _Known({}, frozenset(), -math.inf)


class Hosts:
    """The hosts that a system knows, by initiator: SDCs and NVMe hosts; safe to share between threads.

    What is known is replaced as a whole. A look-up that took the hosts from before a read and the ids from
    after it could miss that a volume is mapped to the other host of a node.

    ``has_nvme`` is whether there were NVMe hosts when the array was asked last.
    """

    def __init__(
        self, settings: SystemSettings, client: Client, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._shared = SharedRead(self._read_now, seconds=settings.request_timeout)
        self._guard = threading.Lock()
        self._known = _NOTHING
        # How many times ``forget`` was called, and the hosts that were added since the last read began.
        self._forgotten = 0
        self._added: list[Host] = []
        self.has_nvme = False

    def of(self, node: NodeIdentity, mapped: Collection[str], *, fresh: bool) -> Sequence[Host]:
        """The hosts for ``Array.hosts_of``; arguments and errors are the same.

        A node may have an initiator that this system does not know, so that is no reason to ask each time.
        """
        known = self._shared.get() if fresh else self._shared.get_unless(lambda: self._kept(node, mapped))
        found = _of(node, known.hosts)
        if not found:
            raise NotFound(_unknown(self._settings.label, node))
        return found

    def _kept(self, node: NodeIdentity, mapped: Collection[str]) -> _Known | None:
        """What is known, if it says enough of the node."""
        known = self._known
        found = _of(node, known.hosts)
        missing = len(found) < len(node.initiators)
        old = self._clock() - known.read_at >= HOST_SECONDS
        return None if not found or (missing and old) or not known.ids.issuperset(mapped) else known

    def add(self, host: Host) -> None:
        """Take up a host that was just created."""
        with self._guard:
            self._added.append(host)
            if self._known is not _NOTHING:
                self._known = self._known.and_hosts([host])
            self.has_nvme = self.has_nvme or host.kind is InitiatorKind.NVME

    def by_id(self, needed: Collection[str]) -> Mapping[str, Host]:
        """The hosts for ``Array.hosts_by_id``."""

        def kept() -> _Known | None:
            known = self._known
            return known if known.hosts and known.ids.issuperset(needed) else None

        return self._shared.get_unless(kept).by_id

    def now(self) -> Mapping[str, Host]:
        """The hosts for ``Array.hosts_now``."""
        return self._shared.get().by_id

    def forget(self) -> None:
        """Ask the array again at the next look-up."""
        with self._guard:
            self._forgotten += 1
            self._known = _NOTHING

    def _read_now(self) -> _Known:
        with self._guard:
            forgotten, self._added = self._forgotten, []
        metrics.GATEWAY_CACHE_MISSES.labels(self._settings.label, "hosts").inc()
        payloads = self._client.get_list("/api/types/Sdc/instances", SdcPayload)
        hosts = [host for payload in payloads if (host := convert.host(payload)) is not None]
        listed = _Known(
            {host.initiator: host for host in hosts},
            frozenset(payload.id for payload in payloads),
            self._clock(),
        )
        with self._guard:
            known = listed.and_hosts(self._added)
            self.has_nvme = any(host.kind is InitiatorKind.NVME for host in known.hosts.values())
            if self._forgotten == forgotten:
                self._known = known
        return known


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
