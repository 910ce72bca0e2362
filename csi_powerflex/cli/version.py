"""``csi-powerflex version``."""

from __future__ import annotations

import platform

import click

from csi_powerflex import __version__
from csi_powerflex.cli import settings

CSI_VERSION = "1.13.0"


@click.command(name="version", cls=settings.RoleCommand, context_settings=settings.of("version"))
def command() -> None:
    """Print the versions of the driver and of the CSI specification."""
    click.echo(f"csi-powerflex {__version__} (CSI {CSI_VERSION}, Python {platform.python_version()})")
