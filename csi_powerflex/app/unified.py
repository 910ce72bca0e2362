"""Controller and node in one process with one socket: the "unified plugin" of the specification."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from csi_powerflex.app import controller, hangup, node
from csi_powerflex.config.controller import ControllerSettings
from csi_powerflex.config.node import NodeSettings
from csi_powerflex.csi import server
from csi_powerflex.observability import endpoint


def run(controller_settings: ControllerSettings, node_settings: NodeSettings) -> None:
    """Serve both on the controller's endpoint until the process is told to stop.

    Raises:
        FailedPrecondition: a tool that every volume needs is not installed.
        DriverError: the endpoint cannot be served on.
    """
    controller.begin(controller_settings, "unified")
    node.check_tools()
    with (
        endpoint.serving(controller_settings.metrics_address, controller_settings.metrics_tls),
        controller.services(controller_settings) as parts,
    ):
        hangup.handle(parts.reload)
        register = [*parts.register, node.registration(node_settings)]
        server.serve(
            controller_settings.endpoint,
            register,
            _watching(node_settings, parts),
            slow_call_seconds=controller_settings.slow_call_seconds,
        )


@contextlib.contextmanager
def _watching(node_settings: NodeSettings, parts: controller.Services) -> Iterator[None]:
    """Check the host, and run the controller's background tasks during the block."""
    with node.checked(node_settings), parts.watching:
        yield
