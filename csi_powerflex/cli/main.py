"""``csi-powerflex``: one command for every role.

Each subcommand is in the module of its name, which is imported only when it runs. So a node never loads the
gateway client, and the driver never loads the simulator.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
from collections.abc import Iterator
from typing import ClassVar

import click

from csi_powerflex import __version__


class RoleGroup(click.Group):
    """A group whose commands are ``cli.<name>.command``, loaded on demand.

    A command whose module is missing does not exist: the driver's image has no simulator and no demo.
    """

    ROLES: ClassVar[dict[str, str]] = {
        "controller": "Serve CSI's identity and controller services against PowerFlex gateways.",
        "demo": "Walk a volume through its whole life on a simulated PowerFlex.",
        "doctor": "Check an installation, and say what to do about each problem.",
        "labels": "Write labels of a Kubernetes node into files, and end.",
        "mover": "Copy, import, export and inspect disks, as a job.",
        "node": "Serve CSI's identity and node services on this host.",
        "operator": "Work on the custom resources of powerflex.dev in a Kubernetes cluster.",
        "simulate": "Run a simulated PowerFlex gateway with real block devices.",
        "snapshots": "Show the snapshots on the arrays, and prepare their import.",
        "unified": "Serve all of CSI's services on one socket, from one process on this host.",
        "version": "Print the versions of the driver and of the CSI specification.",
        "volumes": "Show the volumes on the arrays, and prepare their import and release.",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [role for role in self.ROLES if _module_exists(role)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self.ROLES or not _module_exists(cmd_name):
            return None
        with _without_collecting():
            command = importlib.import_module(f"csi_powerflex.cli.{cmd_name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"csi_powerflex.cli.{cmd_name}.command is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(role, self.ROLES[role]) for role in self.list_commands(ctx)])


@contextlib.contextmanager
def _without_collecting() -> Iterator[None]:
    """Do not look for garbage during the block.

    Nearly all that an import allocates stays, and the collector would look at it again and again.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _module_exists(role: str) -> bool:
    return importlib.util.find_spec(f"csi_powerflex.cli.{role}") is not None


@click.group(
    cls=RoleGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="csi-powerflex")
def main() -> None:
    """A CSI driver for Dell PowerFlex, and a PowerFlex simulator to try it on.

    Every option can also be given in the environment, as POWERFLEX_CSI_<COMMAND>_<OPTION>. The help of each
    command shows these names. There, an option that can be given several times takes its values separated by
    spaces, and paths separated by colons.
    """
