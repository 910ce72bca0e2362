"""The node process: which parts it has, and how they are connected."""

from __future__ import annotations

from csi_powerflex.config.node import NodeSettings
from csi_powerflex.csi import server
from csi_powerflex.csi.identity import Identity
from csi_powerflex.csi.node import Node, NodeOperations
from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.host import filesystem
from csi_powerflex.host.run import missing_tools
from csi_powerflex.host.time_limit import TimeLimit
from csi_powerflex.model.topology import Topology
from csi_powerflex.observability import endpoint
from csi_powerflex.observability.log import Log, toggle_debug_by_signal
from csi_powerflex.operations.node.device import Devices
from csi_powerflex.operations.node.expansion import Expansion
from csi_powerflex.operations.node.filesystem_state import FilesystemState
from csi_powerflex.operations.node.health import Health
from csi_powerflex.operations.node.info import NodeInfoReader
from csi_powerflex.operations.node.publishing import Publishing
from csi_powerflex.operations.node.staging import Staging
from csi_powerflex.operations.node.stats import Stats
from csi_powerflex.pb import csi_pb2_grpc
from csi_powerflex.transport.registry import TransportRegistry

log = Log(__name__)

# How long a read of a volume may take before the volume counts as hanging.
_READ_SECONDS = 5.0
_ALWAYS_NEEDED = ("mount", "umount", "blkid", "wipefs", "fsfreeze", "blockdev")


def run(settings: NodeSettings) -> None:
    """Serve until the process is told to stop.

    Raises:
        FailedPrecondition: a tool that every volume needs is not installed.
        DriverError: the endpoint cannot be served on.
    """
    check_tools()
    identity = Identity(settings.driver_name)
    register_node = registration(settings)
    toggle_debug_by_signal()
    with endpoint.serving(settings.metrics_address):
        server.serve(
            settings.endpoint,
            [
                lambda grpc_server: csi_pb2_grpc.add_IdentityServicer_to_server(identity, grpc_server),
                register_node,
            ],
        )


def registration(settings: NodeSettings) -> server.Register:
    """A function that adds the Node service to a server."""
    node = service(settings)
    return lambda grpc_server: csi_pb2_grpc.add_NodeServicer_to_server(node, grpc_server)


def service(settings: NodeSettings) -> Node:
    """The Node service with its operations."""
    transports = TransportRegistry.of(settings)
    devices = Devices(transports)
    roots = settings.mount_roots
    time_limit = TimeLimit(_READ_SECONDS)
    state = FilesystemState(time_limit)
    staging = Staging(devices, roots, state)
    operations = NodeOperations(
        staging=staging,
        publishing=Publishing(devices, roots, staging, state),
        expansion=Expansion(devices, roots),
        stats=Stats(devices, roots, time_limit),
        health=Health(transports, devices, roots, state, time_limit),
        info=NodeInfoReader(transports, settings),
    )
    return Node(Topology(settings.driver_name), operations)


def check_tools() -> None:
    """Check that the tools are installed.

    Raises:
        FailedPrecondition: one that every volume needs is not installed.
    """
    missing = missing_tools(_ALWAYS_NEEDED)
    if missing:
        raise FailedPrecondition(
            f"tools are missing: {', '.join(missing)}; install them on the host or in the image"
        )
    for kind in filesystem.KINDS.values():
        missing = missing_tools(kind.tools)
        if missing:
            log.warning("filesystem cannot be used", filesystem=kind.name, missing=", ".join(missing))
