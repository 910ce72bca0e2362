"""Controller and node in one process with one socket: the "unified plugin" of the specification."""

from __future__ import annotations

from csi_powerflex.app import controller, hangup, node
from csi_powerflex.config.controller import ControllerSettings
from csi_powerflex.config.node import NodeSettings
from csi_powerflex.csi import server
from csi_powerflex.observability import endpoint
from csi_powerflex.transport.registry import TransportRegistry


def run(controller_settings: ControllerSettings, node_settings: NodeSettings) -> None:
    """Serve both on the controller's endpoint until the process is told to stop.

    Raises:
        FailedPrecondition: a tool that every volume needs is not installed.
        DriverError: the endpoint cannot be served on.
    """
    controller.begin(controller_settings, "unified")
    node.check_tools()
    node.say_what_is_wrong(node_settings)
    transports = TransportRegistry.of(node_settings)
    with (
        endpoint.serving(controller_settings.metrics_address),
        controller.services(controller_settings) as parts,
        transports.upkeep(),
    ):
        hangup.handle(parts.reload)
        register = [*parts.register, node.registration(node_settings, transports)]
        server.serve(
            controller_settings.endpoint,
            register,
            parts.watching,
            slow_call_seconds=controller_settings.slow_call_seconds,
        )
