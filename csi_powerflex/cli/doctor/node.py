"""``csi-powerflex doctor node``."""

from __future__ import annotations

import sys
from typing import Any

import click

from csi_powerflex.app.doctor import node as doctor
from csi_powerflex.cli import node, options, settings
from csi_powerflex.cli.doctor.output import output_options, show
from csi_powerflex.observability import log


@click.command(name="node", cls=settings.RoleCommand, context_settings=settings.of("doctor_node"))
@options.driver_name
@node.role_options
@output_options
def command(output: str, quiet: bool, strict: bool, **given: Any) -> None:
    """Check this host.

    Privileges, the kubelet's folder, mount propagation, kernel, tools, the SDC and its systems, multipath,
    clock, leftovers. It takes the options of csi-powerflex node, starts nothing, and asks no array.
    """
    log.configure(level="error")
    with options.one_line_errors():
        checks = doctor.run(
            node.settings_from(
                endpoint="",
                metrics_address=None,
                metrics_tls_cert=None,
                metrics_tls_key=None,
                slow_call_seconds=0.0,
                **given,
            )
        )
    sys.exit(show("node", checks, form=output, quiet=quiet, strict=strict))
