"""The node process: which parts it has, and how they are connected."""

from __future__ import annotations

from csi_powerflex.app import first_line, hangup
from csi_powerflex.config.node import NodeSettings
from csi_powerflex.csi import server
from csi_powerflex.csi.identity import Identity
from csi_powerflex.csi.node import Node, NodeOperations
from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.host import facts, filesystem
from csi_powerflex.host.run import missing_tools
from csi_powerflex.host.time_limit import TimeLimit
from csi_powerflex.model.checks import Level, guarded
from csi_powerflex.model.topology import Topology
from csi_powerflex.observability import endpoint
from csi_powerflex.observability.log import Log, toggle_debug_by_signal
from csi_powerflex.operations.node import doctor
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
ALWAYS_NEEDED = ("mount", "umount", "blkid", "wipefs", "fsfreeze", "blockdev")
"""The tools that every volume needs."""


def run(settings: NodeSettings) -> None:
    """Serve until the process is told to stop.

    Raises:
        FailedPrecondition: a tool that every volume needs is not installed.
        DriverError: the endpoint cannot be served on.
    """
    toggle_debug_by_signal()
    hangup.handle()
    first_line.write("node", settings.driver_name)
    check_tools()
    say_what_is_wrong(settings)
    identity = Identity(settings.driver_name)
    transports = TransportRegistry.of(settings)
    register_node = registration(settings, transports)
    with endpoint.serving(settings.metrics_address):
        server.serve(
            settings.endpoint,
            [
                lambda grpc_server: csi_pb2_grpc.add_IdentityServicer_to_server(identity, grpc_server),
                register_node,
            ],
            transports.upkeep(),
            slow_call_seconds=settings.slow_call_seconds,
        )


def registration(settings: NodeSettings, transports: TransportRegistry) -> server.Register:
    """A function that adds the Node service to a server."""
    node = service(settings, transports)
    return lambda grpc_server: csi_pb2_grpc.add_NodeServicer_to_server(node, grpc_server)


def service(settings: NodeSettings, transports: TransportRegistry) -> Node:
    """The Node service with its operations."""
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


def say_what_is_wrong(settings: NodeSettings) -> None:
    """Write to the log what keeps volumes from being mounted on this host. It takes some milliseconds.

    The node serves all the same: it can tell callers what fails, and some volumes may still work.
    """
    for check in guarded(doctor.HOST, lambda: doctor.essentials(settings, facts.read())):
        fields = {"check": check.name, "subject": check.subject, "found": check.found, "remedy": check.remedy}
        if check.level is Level.FAULT:
            log.error("host check failed", **fields)
        elif check.level is Level.WARNING:
            log.warning("host check gave a warning", **fields)


def check_tools() -> None:
    """Check that the tools are installed.

    Raises:
        FailedPrecondition: one that every volume needs is not installed.
    """
    missing = missing_tools(ALWAYS_NEEDED)
    if missing:
        raise FailedPrecondition(
            f"tools are missing: {', '.join(missing)}; install them on the host or in the image"
        )
    for kind in filesystem.KINDS.values():
        missing = missing_tools(kind.tools)
        if missing:
            log.warning("filesystem cannot be used", filesystem=kind.name, missing=", ".join(missing))
