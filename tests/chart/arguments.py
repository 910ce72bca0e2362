"""What our own program makes of arguments, without running anything."""

from __future__ import annotations

import importlib
from typing import Any

import click

from csi_powerflex.cli.main import main


def parsed(arguments: list[str]) -> dict[str, Any]:
    """The options of ``csi-powerflex`` with these arguments, the command's name first.

    Raises:
        click.ClickException: it would refuse them.
    """
    role, *options = arguments
    command: click.Command = importlib.import_module(f"csi_powerflex.cli.{role}").command
    return dict(command.make_context(role, options, parent=click.Context(main)).params)
