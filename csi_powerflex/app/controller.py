"""The controller process, put together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from csi_powerflex import call_context
from csi_powerflex.config.controller import ControllerSettings
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.config.watch import SystemsWatch
from csi_powerflex.csi import server
from csi_powerflex.csi.controller import Controller, Operations
from csi_powerflex.csi.group import GroupController
from csi_powerflex.csi.identity import Identity
from csi_powerflex.gateway.fleet import GatewayFleet
from csi_powerflex.gateway.monitor import FleetMonitor
from csi_powerflex.model.topology import Topology
from csi_powerflex.observability import endpoint, log
from csi_powerflex.operations.controller.attachment import Attachment
from csi_powerflex.operations.controller.capacity import Capacity
from csi_powerflex.operations.controller.expansion import Expansion
from csi_powerflex.operations.controller.group_snapshots import Groups
from csi_powerflex.operations.controller.health import Health
from csi_powerflex.operations.controller.known_nodes import KnownNodes
from csi_powerflex.operations.controller.listing import Listing
from csi_powerflex.operations.controller.placement import Placement
from csi_powerflex.operations.controller.qos import Qos
from csi_powerflex.operations.controller.qos_sync import QosSync
from csi_powerflex.operations.controller.snapshots import Snapshots
from csi_powerflex.operations.controller.volumes import Volumes
from csi_powerflex.pb import csi_pb2_grpc
from csi_powerflex.qos_store import kubernetes
from csi_powerflex.qos_store.kubernetes import KubernetesQosStore
from csi_powerflex.qos_store.local import LocalQosStore

# Long enough for a gateway that answers; one that hangs must not hold up a shutdown.
_LOGOUT_SECONDS = 3.0


def run(settings: ControllerSettings) -> None:
    """Serve until told to stop. Nothing is asked of an array before the first call needs it.

    Raises:
        DriverError: the endpoint cannot be served on.
    """
    log.toggle_debug_by_signal()
    with endpoint.serving(settings.metrics_address), services(settings) as parts:
        server.serve(settings.endpoint, parts.register, parts.watching)


@dataclass(frozen=True, slots=True)
class Services:
    """What is served, and what runs beside it while it is."""

    register: list[server.Register]
    watching: contextlib.AbstractContextManager[None]


@contextlib.contextmanager
def services(settings: ControllerSettings) -> Iterator[Services]:
    """The controller's services for the block; at its end the arrays get their sessions back."""
    fleet = GatewayFleet(settings.systems, retry_seconds=settings.retry_seconds)
    topology = Topology(settings.driver_name)
    placement = Placement(fleet, topology, system_seconds=settings.system_seconds)
    identity = Identity(settings.driver_name)
    with contextlib.closing(_qos_store(settings)) as qos_store:
        qos, nodes = Qos(fleet, qos_store), KnownNodes()
        listing = Listing(fleet, nodes, settings.cluster_id)
        groups = GroupController(Groups(fleet, settings.cluster_id))
        controller = Controller(
            Operations(
                topology=topology,
                volumes=Volumes(fleet, placement, settings.cluster_id),
                attachment=Attachment(fleet, qos, nodes),
                expansion=Expansion(fleet, qos),
                qos=qos,
                snapshots=Snapshots(fleet, settings.cluster_id),
                listing=listing,
                capacity=Capacity(placement, settings.over_commit),
                health=Health(fleet, listing),
            )
        )
        register: list[server.Register] = [
            lambda grpc_server: csi_pb2_grpc.add_IdentityServicer_to_server(identity, grpc_server),
            lambda grpc_server: csi_pb2_grpc.add_ControllerServicer_to_server(controller, grpc_server),
            lambda grpc_server: csi_pb2_grpc.add_GroupControllerServicer_to_server(groups, grpc_server),
        ]
        try:
            with _following(qos_store, qos):
                yield Services(register, _watching(settings, fleet))
        finally:
            with call_context.background("shutdown", _LOGOUT_SECONDS):
                fleet.close()


def _qos_store(settings: ControllerSettings) -> LocalQosStore | KubernetesQosStore:
    """Where the requested QoS limits are kept."""
    if settings.in_kubernetes:
        return kubernetes.connect(settings.driver_name, settings.kubeconfig)
    return LocalQosStore(settings.state_file)


@contextlib.contextmanager
def _following(qos_store: LocalQosStore | KubernetesQosStore, qos: Qos) -> Iterator[None]:
    """Follow the requested QoS limits during the block, if Kubernetes keeps them."""
    if isinstance(qos_store, LocalQosStore):
        yield
        return
    watch = QosSync(qos)
    watch.start()
    qos_store.start(watch.changed)
    try:
        yield
    finally:
        watch.stop()


@contextlib.contextmanager
def _watching(settings: ControllerSettings, fleet: GatewayFleet) -> Iterator[None]:
    """Watch the systems and their file for the block, where that is asked for."""
    with contextlib.ExitStack() as watching:
        systems = FleetMonitor(fleet, seconds=settings.watch_seconds) if settings.watch_seconds else None
        if systems is not None:
            systems.start()
            watching.callback(systems.stop)

        def replace(changed: tuple[SystemSettings, ...], touched: frozenset[str]) -> None:
            fleet.replace(changed, touched)
            if systems is not None:
                systems.start()

        if settings.systems_file is not None:
            files = SystemsWatch(
                settings.systems_file, settings.systems, replace, seconds=settings.reload_seconds
            )
            files.start()
            watching.callback(files.stop)
        yield
