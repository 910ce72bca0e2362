"""``csi-powerflex doctor``: a command for each role, in the module of its name.

Each is imported only when it runs, so the node's does not load the gateway client.
"""

from __future__ import annotations

import importlib
from typing import ClassVar

import click

from csi_powerflex.cli import settings


class DoctorGroup(click.Group):
    """A group whose commands are ``cli.doctor.<name>.command``, loaded on demand."""

    ROLES: ClassVar[dict[str, str]] = {
        "controller": "Check the systems file and each array in it.",
        "node": "Check this host.",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.ROLES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self.ROLES:
            return None
        command = importlib.import_module(f"csi_powerflex.cli.doctor.{cmd_name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"csi_powerflex.cli.doctor.{cmd_name}.command is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(self.ROLES.items()))


@click.group(name="doctor", cls=DoctorGroup, context_settings={"help_option_names": settings.HELP})
def command() -> None:
    """Check an installation, and say what to do about each problem.

    It changes nothing on an array or on the host. The exit status is 0 if there is no fault, 1 if there is
    one, and 2 for a wrong option.
    """
