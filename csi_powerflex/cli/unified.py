"""``csi-powerflex unified``."""

from __future__ import annotations

from typing import Any

import click

from csi_powerflex.app import unified
from csi_powerflex.cli import controller, node, options, settings
from csi_powerflex.observability import log


@click.command(name="unified", cls=settings.RoleCommand, context_settings=settings.of("unified"))
@options.endpoint
@options.driver_name
@controller.role_options
@node.role_options
@options.metrics_address
@options.slow_call_seconds
@options.log_lines
def command(log_level: str, log_format: str, **given: Any) -> None:
    """Serve all of CSI's services on one socket, from one process on this host.

    Does what controller and node do, with the options of both. It is for orchestrators that want one
    endpoint, and for single hosts. It has the array's credentials. In Kubernetes, run controller and node
    separately, so that nodes have no credentials.
    """
    log.configure(level=log_level, form=log.Format(log_format))
    with options.one_line_errors():
        unified.run(controller.settings_from(**given), node.settings_from(**given))
