"""``csi-powerflex doctor controller``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from csi_powerflex.app.doctor import controller as doctor
from csi_powerflex.cli import settings
from csi_powerflex.cli.doctor.output import output_options, show
from csi_powerflex.observability import log
from csi_powerflex.operations.controller.doctor import DoctorSettings

_DEFAULTS = DoctorSettings()


@click.command(name="controller", cls=settings.RoleCommand, context_settings=settings.of("doctor_controller"))
@click.option(
    "--systems",
    default=Path("/etc/powerflex/systems.yaml"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="YAML file with the PowerFlex systems, as for csi-powerflex controller.",
)
@click.option(
    "--over-commit",
    type=click.FloatRange(1, 10),
    default=_DEFAULTS.over_commit,
    show_default=True,
    help="As for csi-powerflex controller. A pool that has more is a warning.",
)
@click.option(
    "--step-seconds",
    type=click.FloatRange(0.1, 600),
    default=_DEFAULTS.step_seconds,
    show_default=True,
    help="Longest time that one step may take, such as a login or a request.",
)
@click.option(
    "--trees",
    "all_trees",
    is_flag=True,
    help="Also count the members of trees where a system has more than 20,000 volumes, or does not tell "
    "their number. This reads the list of all volumes.",
)
@output_options
def command(
    systems: Path,
    over_commit: float,
    step_seconds: float,
    all_trees: bool,
    output: str,
    quiet: bool,
    strict: bool,
) -> None:
    """Check the systems file and each array in it.

    For each endpoint: DNS, TCP, certificate, login, system id. For each system: version, the user's role,
    pools, hosts, limits. It logs in once at each endpoint, and out again. A refused login is not repeated.
    """
    log.configure(level="error")
    checks = doctor.run(
        systems, DoctorSettings(over_commit=over_commit, step_seconds=step_seconds, all_trees=all_trees)
    )
    sys.exit(show("controller", checks, form=output, quiet=quiet, strict=strict))
