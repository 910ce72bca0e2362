"""The controller process: which parts it has, and how they are connected."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from csi_powerflex import call_context
from csi_powerflex.app import first_line, hangup
from csi_powerflex.config.controller import ControllerSettings
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.config.watch import SystemsWatch
from csi_powerflex.csi import server
from csi_powerflex.csi.controller import Controller, ControllerOperations
from csi_powerflex.csi.group import GroupController
from csi_powerflex.csi.identity import Identity
from csi_powerflex.gateway.fleet import GatewayFleet
from csi_powerflex.gateway.monitor import FleetMonitor
from csi_powerflex.kube import config, events, nodes
from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects import needed
from csi_powerflex.kube_objects.other_users import ListedUsers
from csi_powerflex.model.hold import Holds, NoHolds
from csi_powerflex.model.notices import NoNotices, Notices
from csi_powerflex.model.other_users import NoOtherUsers, OtherUsers
from csi_powerflex.model.ports import NodeRegistry, QosStore
from csi_powerflex.model.snapshot_policy import NeededHandles
from csi_powerflex.model.topology import Topology
from csi_powerflex.model.trash import UnknownNeeds, VolumeNeeds
from csi_powerflex.observability import endpoint, log
from csi_powerflex.operations.controller.attachment import Attachment
from csi_powerflex.operations.controller.capacity import Capacity
from csi_powerflex.operations.controller.cluster_nodes import ClusterNodes
from csi_powerflex.operations.controller.deletion import Deletion, Removal
from csi_powerflex.operations.controller.expansion import Expansion
from csi_powerflex.operations.controller.group_snapshots import Groups
from csi_powerflex.operations.controller.health import Health
from csi_powerflex.operations.controller.holding import Holding
from csi_powerflex.operations.controller.known_nodes import KnownNodes
from csi_powerflex.operations.controller.listing import Listing
from csi_powerflex.operations.controller.modification import Modification
from csi_powerflex.operations.controller.moves import Moves
from csi_powerflex.operations.controller.new_volumes import NewVolumes
from csi_powerflex.operations.controller.orphan_count import OrphanCount
from csi_powerflex.operations.controller.ownership import Ownership
from csi_powerflex.operations.controller.pagination import KeptLists
from csi_powerflex.operations.controller.placement import Placement
from csi_powerflex.operations.controller.policy_departure import PolicyDeparture
from csi_powerflex.operations.controller.qos import Qos
from csi_powerflex.operations.controller.qos_sync import QosSync
from csi_powerflex.operations.controller.snapshot_policies import SnapshotPolicies
from csi_powerflex.operations.controller.snapshots import Snapshots
from csi_powerflex.operations.controller.trash import Trash
from csi_powerflex.operations.controller.trash_sweep import TrashSweep
from csi_powerflex.operations.controller.volumes import Volumes
from csi_powerflex.pb import csi_pb2_grpc
from csi_powerflex.qos_store import kubernetes
from csi_powerflex.qos_store.kubernetes import KubernetesQosStore
from csi_powerflex.qos_store.local import LocalQosStore

# Enough for a gateway that answers. One that hangs must not delay the end of the process.
_LOGOUT_SECONDS = 3.0


def run(settings: ControllerSettings) -> None:
    """Serve until the process is told to stop. No array is called before the first RPC needs it.

    Raises:
        DriverError: the endpoint cannot be served on.
    """
    begin(settings, "controller")
    with endpoint.serving(settings.metrics_address, settings.metrics_tls), services(settings) as parts:
        hangup.handle(parts.reload)
        server.serve(
            settings.endpoint,
            parts.register,
            parts.watching,
            slow_call_seconds=settings.slow_call_seconds,
        )


def begin(settings: ControllerSettings, role: str) -> None:
    """Write the first line of the log, and handle the signals that do not end the process."""
    log.toggle_debug_by_signal()
    hangup.handle()
    systems = ", ".join(system.label for system in settings.systems)
    first_line.write(role, settings.driver_name, cluster_id=settings.cluster_id, systems=systems)


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the controller.

    Attributes:
        register: functions that add its servicers to a server.
        watching: the tasks that run in the background while the server serves. None of them begins before, so
            that the sidecars need not wait for their work.
        reload: reads the systems file now instead of after the present pause; None if no file is watched.
    """

    register: list[server.Register]
    watching: contextlib.AbstractContextManager[None]
    reload: Callable[[], None] | None


@dataclass(frozen=True, slots=True)
class _Parts:
    """What several services use.

    Attributes:
        follow_cluster: begins to follow the objects of the Kubernetes cluster, until the parts end.
    """

    fleet: GatewayFleet
    qos_store: QosStore
    qos: Qos
    registry: NodeRegistry | None
    notices: Notices
    holds: Holds
    needs: VolumeNeeds
    needed_handles: NeededHandles
    other_users: OtherUsers
    known_nodes: KnownNodes
    kept: KeptLists
    listing: Listing
    follow_cluster: Callable[[], None]


@contextlib.contextmanager
def services(settings: ControllerSettings) -> Iterator[Services]:
    """The controller's services during the block. At its end, the driver logs out of the arrays."""
    fleet = GatewayFleet(settings.systems, retry_seconds=settings.retry_seconds)
    with (
        contextlib.closing(_qos_store(settings)) as qos_store,
        _logging_out(fleet),
        _parts(settings, fleet, qos_store) as parts,
        _orphan_count(settings, parts) as orphans,
    ):
        monitor = _monitor(settings, fleet)
        files = _systems_watch(settings, fleet, monitor)
        yield Services(
            register=_registrations(settings, parts),
            watching=_watching(
                parts.follow_cluster, (monitor, files, orphans, _trash_sweep(settings, parts))
            ),
            reload=files.wake if files is not None else None,
        )


@contextlib.contextmanager
def _parts(settings: ControllerSettings, fleet: GatewayFleet, qos_store: QosStore) -> Iterator[_Parts]:
    """What several services use, during the block."""
    qos = Qos(fleet, qos_store)
    with (
        _notices(settings, qos_store) as notices,
        _qos_sync(qos, notices) as qos_sync,
        _node_registry(settings) as registry,
        _needed_handles(settings) as needed_handles,
        _other_users(settings) as other_users,
    ):

        def follow_cluster() -> None:
            qos_sync.start()
            qos_store.start(qos_sync.changed)
            if registry is not None:
                registry.start()

        known_nodes, kept = KnownNodes(registry), KeptLists()
        listing = Listing(fleet, known_nodes, settings.cluster_id, kept)
        in_cluster = qos_store if isinstance(qos_store, KubernetesQosStore) else None
        yield _Parts(
            fleet=fleet,
            qos_store=qos_store,
            qos=qos,
            registry=registry,
            notices=notices,
            holds=in_cluster or NoHolds(),
            needs=in_cluster or UnknownNeeds(),
            needed_handles=needed_handles,
            other_users=other_users,
            known_nodes=known_nodes,
            kept=kept,
            listing=listing,
            follow_cluster=follow_cluster,
        )


@contextlib.contextmanager
def _notices(settings: ControllerSettings, qos_store: QosStore) -> Iterator[Notices]:
    """Where notices go during the block: to Kubernetes Events, if the settings want them."""
    if not settings.events or not isinstance(qos_store, KubernetesQosStore):
        yield NoNotices()
        return
    made = events.connect(settings.driver_name, settings.kubeconfig, qos_store.persistent_volume)
    with contextlib.closing(made) as written:
        written.start()
        yield written


@contextlib.contextmanager
def _orphan_count(settings: ControllerSettings, parts: _Parts) -> Iterator[OrphanCount | None]:
    """The count of orphans, which does not run yet; None if the settings want none."""
    if not settings.orphans_seconds or not settings.in_kubernetes:
        yield None
        return
    with contextlib.closing(Client(config.load(settings.kubeconfig))) as client:
        yield OrphanCount(
            parts.fleet,
            parts.listing,
            lambda: needed.read(client, settings.cluster_id),
            settings.cluster_id,
            seconds=settings.orphans_seconds,
        )


@contextlib.contextmanager
def _needed_handles(settings: ControllerSettings) -> Iterator[NeededHandles]:
    """What tells the snapshots that Kubernetes has; none outside Kubernetes."""
    if not settings.in_kubernetes:
        yield frozenset
        return
    with contextlib.closing(Client(config.load(settings.kubeconfig))) as client:
        yield lambda: needed.handles(client)


@contextlib.contextmanager
def _other_users(settings: ControllerSettings) -> Iterator[OtherUsers]:
    """What tells which objects of Kubernetes need a volume or snapshot; none outside Kubernetes."""
    if not settings.in_kubernetes:
        yield NoOtherUsers()
        return
    with contextlib.closing(Client(config.load(settings.kubeconfig))) as client:
        yield ListedUsers(client)


@contextlib.contextmanager
def _node_registry(settings: ControllerSettings) -> Iterator[nodes.KubernetesNodes | None]:
    """The nodes of the cluster, which are not followed yet; None outside Kubernetes."""
    if not settings.in_kubernetes:
        yield None
        return
    with contextlib.closing(nodes.connect(settings.driver_name, settings.kubeconfig)) as registry:
        yield registry


def _qos_store(settings: ControllerSettings) -> QosStore:
    """The store of the requested QoS limits."""
    if settings.in_kubernetes:
        return kubernetes.connect(settings.driver_name, settings.kubeconfig)
    return LocalQosStore(settings.state_file)


@contextlib.contextmanager
def _logging_out(fleet: GatewayFleet) -> Iterator[None]:
    """Log out of the arrays at the end of the block."""
    try:
        yield
    finally:
        with call_context.background("shutdown", _LOGOUT_SECONDS):
            fleet.close()


@contextlib.contextmanager
def _qos_sync(qos: Qos, notices: Notices) -> Iterator[QosSync]:
    """What applies the limits of volumes whose class is changed elsewhere. It stops after the block."""
    qos_sync = QosSync(qos, notices)
    try:
        yield qos_sync
    finally:
        qos_sync.stop()


def _registrations(settings: ControllerSettings, parts: _Parts) -> list[server.Register]:
    """Functions that add the controller's servicers to a server."""
    identity = Identity(settings.driver_name)
    ownership = Ownership(settings.cluster_id)
    controller = _controller(settings, parts, ownership)
    groups = GroupController(Groups(parts.fleet, ownership, settings.cluster_id))
    return [
        lambda grpc_server: csi_pb2_grpc.add_IdentityServicer_to_server(identity, grpc_server),
        lambda grpc_server: csi_pb2_grpc.add_ControllerServicer_to_server(controller, grpc_server),
        lambda grpc_server: csi_pb2_grpc.add_GroupControllerServicer_to_server(groups, grpc_server),
    ]


def _controller(settings: ControllerSettings, parts: _Parts, ownership: Ownership) -> Controller:
    """The Controller service with its operations."""
    fleet, qos, notices = parts.fleet, parts.qos, parts.notices
    cluster_nodes = ClusterNodes(
        parts.registry, ownership, notices, may_remove=settings.remove_stale_mappings
    )
    topology, new_volumes = Topology(settings.driver_name), NewVolumes()
    removal = Removal(
        Trash(settings.cluster_id, parts.needs), PolicyDeparture(parts.qos_store, parts.needed_handles)
    )
    policies = SnapshotPolicies(parts.qos_store, ownership)
    moves = Moves(parts.qos_store, notices, parts.holds, settings.cluster_id)
    placement = Placement(
        fleet,
        topology,
        keeps_attributes=not isinstance(parts.needs, UnknownNeeds),
        system_seconds=settings.system_seconds,
    )
    operations = ControllerOperations(
        volumes=Volumes(fleet, placement, parts.qos_store, ownership, policies, new_volumes),
        deletion=Deletion(fleet, ownership, cluster_nodes, removal, new_volumes, parts.other_users),
        attachment=Attachment(fleet, qos, parts.known_nodes, ownership, cluster_nodes, new_volumes),
        expansion=Expansion(fleet, qos, new_volumes),
        qos=qos,
        modification=Modification(fleet, qos, moves, policies),
        snapshots=Snapshots(fleet, ownership, settings.cluster_id, parts.other_users),
        listing=parts.listing,
        capacity=Capacity(placement, settings.over_commit),
        health=Health(fleet, parts.listing, parts.kept),
        holding=Holding(parts.holds),
    )
    return Controller(topology, operations)


def _monitor(settings: ControllerSettings, fleet: GatewayFleet) -> FleetMonitor | None:
    """The monitor of the systems; None if the settings want none."""
    if not settings.watch_seconds:
        return None
    return FleetMonitor(fleet, seconds=settings.watch_seconds, over_commit=settings.over_commit)


def _trash_sweep(settings: ControllerSettings, parts: _Parts) -> TrashSweep:
    """What removes volumes that are due in the trash. It does not run yet."""
    return TrashSweep(
        parts.fleet,
        settings.cluster_id,
        parts.needs,
        needed=parts.needed_handles,
        seconds=settings.trash_seconds,
    )


def _systems_watch(
    settings: ControllerSettings, fleet: GatewayFleet, monitor: FleetMonitor | None
) -> SystemsWatch | None:
    """The watch of the systems file; None if the settings name no file."""
    if settings.systems_file is None:
        return None

    def replace(changed: tuple[SystemSettings, ...], touched: frozenset[str]) -> None:
        fleet.replace(changed, touched)
        if monitor is not None:
            monitor.start()

    return SystemsWatch(settings.systems_file, settings.systems, replace, seconds=settings.reload_seconds)


@contextlib.contextmanager
def _watching(
    follow_cluster: Callable[[], None],
    tasks: Sequence[FleetMonitor | SystemsWatch | OrphanCount | TrashSweep | None],
) -> Iterator[None]:
    """Follow the cluster from now on, and run the tasks that the settings want during the block.

    The cluster is followed until the last call has ended, which is after the block.
    """
    follow_cluster()
    with contextlib.ExitStack() as watching:
        for part in tasks:
            if part is not None:
                part.start()
                watching.callback(part.stop)
        yield
