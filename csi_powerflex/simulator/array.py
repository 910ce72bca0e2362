"""The state of one PowerFlex system in memory: its objects and the indexes over them.

It knows no paths and no JSON. It collects the changes of a request. ``commit`` stores them together and then
tells the listeners (the hosts' agents) which volumes changed. Observers get each object that changed or was
removed, while the lock is held. ``paused`` holds back the I/O on volumes that the simulator itself does.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from csi_powerflex.simulator.clock import Clock, OwnClock
from csi_powerflex.simulator.dialect import Dialect
from csi_powerflex.simulator.hosts.plane import DataPlane
from csi_powerflex.simulator.model import (
    SDC,
    SNAPSHOT,
    THICK,
    THIN,
    Device,
    FaultSet,
    Host,
    NvmeController,
    Object,
    ProtectionDomain,
    Sds,
    Sdt,
    SnapshotPolicy,
    StoragePool,
    System,
    User,
    Volume,
    VTree,
)
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.store import Copied, Storage

T = TypeVar("T", bound=Object)

_FIRST_HIGH = 0xB1F00000
"""The first upper half of an id. It grows with every new object, as on a real system."""


EVERY_VOLUME = ""
"""Listeners get this in place of a volume id when a host changed: any of its volumes may have changed."""


@dataclass(slots=True)
class Totals:
    """Sums over the volumes of a pool, by volume type. Sizes are KiB."""

    size_kb: dict[str, int] = field(default_factory=lambda: dict.fromkeys((THICK, THIN, SNAPSHOT), 0))
    count: dict[str, int] = field(default_factory=lambda: dict.fromkeys((THICK, THIN, SNAPSHOT), 0))
    volume_ids: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MigrationsSeen:
    """A look at all migrations. It holds until ``until``, while ``changes`` and ``written`` are the same."""

    changes: int
    written: Mapping[str, int]
    until: float


class Array:
    """The objects of one system. A caller that reads or changes them must hold ``lock``.

    ``changes`` counts how often an object was added, changed or removed.
    """

    changes = 0
    migrations_seen: MigrationsSeen | None = None

    def __init__(
        self, dialect: Dialect, *, clock: Clock, store: Storage, plane: DataPlane, settings: Settings
    ) -> None:
        self.dialect = dialect
        self.clock = OwnClock(clock)
        self.plane = plane
        self.settings = settings
        self.lock = threading.RLock()
        self.listeners: list[Callable[[str], None]] = []
        self.observers: list[Callable[[Object], None]] = []
        self.paused: Callable[[Collection[str]], AbstractContextManager[None]] = _not_paused
        self.systems: dict[str, System] = {}
        self.domains: dict[str, ProtectionDomain] = {}
        self.pools: dict[str, StoragePool] = {}
        self.volumes: dict[str, Volume] = {}
        self.vtrees: dict[str, VTree] = {}
        self.hosts: dict[str, Host] = {}
        self.sdts: dict[str, Sdt] = {}
        self.sdss: dict[str, Sds] = {}
        self.devices: dict[str, Device] = {}
        self.fault_sets: dict[str, FaultSet] = {}
        self.policies: dict[str, SnapshotPolicy] = {}
        self.users: dict[str, User] = {}
        self.nvme_controllers: dict[int, NvmeController] = {}
        self.volume_ids_by_name: dict[str, str] = {}
        self.volume_ids_by_host: dict[str, dict[str, None]] = {}
        self.totals: dict[str, Totals] = {}
        self.migrating: dict[str, None] = {}
        self.removing: dict[str, None] = {}
        self._tables: dict[type, dict[str, Any]] = {  # put() adds an object to the table of its type
            System: self.systems,
            ProtectionDomain: self.domains,
            StoragePool: self.pools,
            Volume: self.volumes,
            VTree: self.vtrees,
            Host: self.hosts,
            Sdt: self.sdts,
            Sds: self.sdss,
            Device: self.devices,
            FaultSet: self.fault_sets,
            SnapshotPolicy: self.policies,
            User: self.users,
        }
        self._start_change()
        self._store = store
        self._add(store.load())

    def _add(self, items: Iterable[Object]) -> None:
        for item in items:
            self._tables[type(item)][item.id] = item
            self._index(item)

    @property
    def system(self) -> System:
        """The one system object."""
        return next(iter(self.systems.values()))

    def initial_state(self) -> list[Object]:
        """The objects at the first start; none if that version did not remember them."""
        return list(self._store.initial_state())

    def every_object(self) -> list[Object]:
        """All objects."""
        return [item for table in self._tables.values() for item in table.values()]

    def copy(self) -> Array:
        """A read-only copy of the array as it is now. Later changes do not appear in it."""
        items = self.every_object()
        copied = Array(
            self.dialect,
            clock=self.clock,
            store=Copied(items),
            plane=self.plane,
            settings=self.settings,
        )
        copied.nvme_controllers = dict(self.nvme_controllers)
        return copied

    # --- identifiers ---------------------------------------------------------------------------

    def new_id(self, table: dict[str, T], *, high_slot: int = 0) -> str:
        """A new id. The upper half grows with every object, the lower half is a slot number."""
        system = self.system
        system.ids_issued += 1
        self._changed[system.id] = system
        slot = system.ids_issued if table else 0
        return f"{_FIRST_HIGH + system.ids_issued:08x}{high_slot << 16 | slot:08x}"

    def next_namespace(self) -> int:
        """A new NVMe namespace id."""
        self.system.namespaces += 1
        return self.system.namespaces

    # --- changes -------------------------------------------------------------------------------

    def put(self, item: Object) -> None:
        """Add a new object."""
        self.changes += 1
        self._tables[type(item)][item.id] = item
        self._index(item)
        self._changed[item.id] = item

    def change(self, item: Object, **fields: object) -> None:
        """Set attributes of an existing object and update the indexes."""
        self.changes += 1
        self._unindex(item)
        for name, value in fields.items():
            setattr(item, name, value)
        self._index(item)
        self._changed[item.id] = item

    def drop(self, item: Object) -> None:
        """Remove an object."""
        self.changes += 1
        self._unindex(item)
        del self._tables[type(item)][item.id]
        self._changed.pop(item.id, None)
        self._dropped[item.id] = item

    def _start_change(self) -> None:
        self._changed: dict[str, Object] = {}
        self._dropped: dict[str, Object] = {}
        self._after_commit: list[Callable[[], None]] = []

    def after_commit(self, effect: Callable[[], None]) -> None:
        """Run ``effect`` after the change is stored, such as deleting the file of a removed volume."""
        self._after_commit.append(effect)

    def commit(self) -> None:
        """Store the changes and tell the listeners which volumes changed."""
        if not (self._changed or self._dropped or self._after_commit):
            return
        changed, dropped, effects = self._changed, self._dropped, self._after_commit
        self._start_change()
        self._store.commit(changed.values(), dropped.values())
        for item in (*changed.values(), *dropped.values()):
            self._notify(item)
        for effect in effects:
            with self.lock_released():
                effect()

    def _notify(self, item: Object) -> None:
        for observer in self.observers:
            observer(item)
        if not isinstance(item, Volume | Host):
            return
        for listener in self.listeners:
            listener(item.id if isinstance(item, Volume) else EVERY_VOLUME)

    @contextlib.contextmanager
    def lock_released(self) -> Iterator[None]:
        """Release the lock for the block, so that others can read. The gateway keeps out other changes."""
        self.lock.release()
        try:
            yield
        finally:
            self.lock.acquire()

    # --- indexes -------------------------------------------------------------------------------

    def _index(self, item: Object) -> None:
        if isinstance(item, StoragePool):
            self.totals.setdefault(item.id, Totals())
        if isinstance(item, VTree) and item.migration is not None:
            self.migrating[item.id] = None
        if not isinstance(item, Volume):
            return
        if item.removed_at is not None:
            self.removing[item.id] = None
        if item.name is not None:
            self.volume_ids_by_name[item.name] = item.id
        for mapping in item.mappings:
            self.volume_ids_by_host.setdefault(mapping.host_id, {})[item.id] = None
        totals = self.totals.setdefault(item.pool_id, Totals())
        totals.volume_ids[item.id] = None
        key = _totals_key(item)
        totals.size_kb[key] += item.size_kb
        totals.count[key] += 1

    def _unindex(self, item: Object) -> None:
        self.migrating.pop(item.id, None)
        self.removing.pop(item.id, None)
        if not isinstance(item, Volume):
            return
        if item.name is not None:
            self.volume_ids_by_name.pop(item.name, None)
        for mapping in item.mappings:
            self.volume_ids_by_host[mapping.host_id].pop(item.id, None)
        totals = self.totals[item.pool_id]
        totals.volume_ids.pop(item.id, None)
        key = _totals_key(item)
        totals.size_kb[key] -= item.size_kb
        totals.count[key] -= 1

    # --- questions -----------------------------------------------------------------------------

    def volumes_of_pool(self, pool_id: str) -> list[Volume]:
        """The volumes and snapshots in a pool."""
        return [self.volumes[volume_id] for volume_id in list(self.totals[pool_id].volume_ids)]

    def volumes_of_host(self, host_id: str) -> list[Volume]:
        """The volumes mapped to a host."""
        return [self.volumes[volume_id] for volume_id in list(self.volume_ids_by_host.get(host_id, ()))]

    def volumes_of_vtree(self, vtree_id: str) -> list[Volume]:
        """The volumes and snapshots in a VTree."""
        return [self.volumes[volume_id] for volume_id in list(self.vtrees[vtree_id].volume_ids)]

    def children(self, volume: Volume) -> list[Volume]:
        """The snapshots and clones whose direct ancestor is ``volume``."""
        return [item for item in self.volumes_of_vtree(volume.vtree_id) if item.ancestor_id == volume.id]

    def descendants(self, volume: Volume) -> list[Volume]:
        """The snapshots and clones of ``volume``, those of these, and so on."""
        tree = self.volumes_of_vtree(volume.vtree_id)
        found: list[Volume] = []
        ancestors = {volume.id}
        while ancestors:
            children = [item for item in tree if item.ancestor_id in ancestors]
            found += children
            ancestors = {item.id for item in children}
        return found

    def pools_of_domain(self, domain_id: str) -> list[StoragePool]:
        """The pools of a protection domain."""
        return [pool for pool in self.pools.values() if pool.domain_id == domain_id]

    def domain_of(self, pool_id: str) -> ProtectionDomain:
        """The protection domain that a pool belongs to."""
        return self.domains[self.pools[pool_id].domain_id]

    def is_erasure_coded(self, pool_id: str) -> bool:
        """Whether a pool is of the second generation."""
        return self.domain_of(pool_id).generation == "EC"

    @property
    def has_mirroring(self) -> bool:
        """Whether there is a protection domain of the first generation."""
        return any(domain.generation != "EC" for domain in self.domains.values())

    def host_by_guid(self, guid: str) -> Host | None:
        """The SDC with this GUID. Upper and lower case do not matter."""
        wanted = guid.upper()
        return next((host for host in self.hosts.values() if host.guid == wanted), None)

    def host_by_nqn(self, nqn: str) -> Host | None:
        """The NVMe host with this qualified name. Upper and lower case do not matter."""
        wanted = nqn.lower()
        return next((host for host in self.hosts.values() if host.nqn and host.nqn.lower() == wanted), None)

    def is_connected(self, host: Host) -> bool:
        """Whether a host is connected: an NVMe host by its connections, an SDC as the simulator is told."""
        if host.type == SDC:
            return host.connected
        return any(controller.host_id == host.id for controller in self.nvme_controllers.values())

    def sdcs(self) -> list[Host]:
        """The hosts that are SDCs."""
        return [host for host in self.hosts.values() if host.type == SDC]


def _not_paused(_volume_ids: Collection[str]) -> AbstractContextManager[None]:
    return contextlib.nullcontext()


def _totals_key(volume: Volume) -> str:
    return SNAPSHOT if volume.ancestor_id is not None or volume.type not in (THICK, THIN) else volume.type
