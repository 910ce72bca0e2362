"""What all commands have in common: environment variables and help flags."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from typing import Any

import click

HELP = ["-h", "--help"]

PREFIX = "POWERFLEX_CSI_"
"""Begins each variable of the driver. The role and the option follow. CSI reserves the prefix CSI_."""

# What Kubernetes adds for each Service of the namespace. A Service may be called powerflex-csi.
_OF_A_SERVICE = re.compile(
    r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


class RoleCommand(click.Command):
    """A command whose options can also be given in the environment, as POWERFLEX_CSI_<ROLE>_<OPTION>.

    For a command of a group, <ROLE> is the group's name and its own: POWERFLEX_CSI_DOCTOR_NODE_<OPTION>.

    ``--help`` shows the variable of each option. A variable of this role, or of no role, that no option has
    is refused, like a misspelt option.
    """

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.variables = f"{self.context_settings['auto_envvar_prefix']}_"
        for option in self.params:
            if isinstance(option, click.Option) and (option.envvar or option.allow_from_autoenv):
                option.envvar = option.envvar or variable(self.variables, option)
                option.show_envvar = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not (ctx.resilient_parsing or set(HELP) & set(args)):
            self._check_environment(self._of_others(ctx))
        return super().parse_args(ctx, args)

    def _of_others(self, ctx: click.Context) -> tuple[str, ...]:
        """What the variables of other commands begin with: of the groups that this command is in."""
        groups: list[click.Context] = []
        while ctx.parent is not None:
            ctx = ctx.parent
            groups.insert(0, ctx)
        begin, found = PREFIX, list[str]()
        for depth, group in enumerate(groups):
            if depth:
                begin += f"{group.command.name}_".upper()
            found += [f"{begin}{name}_".upper() for name in _names_in(group.command)]
        return tuple(other for other in found if not self.variables.startswith(other))

    def _check_environment(self, others: tuple[str, ...]) -> None:
        """Refuse variables that are misspelt.

        Raises:
            click.UsageError: it names each of them.
        """
        known = [str(option.envvar) for option in self.params if isinstance(option, click.Option)]
        unknown = [name for name in sorted(os.environ) if self._is_own(name, others) and name not in known]
        if unknown:
            found = "; ".join(f"{name}{_meant(name, known)}" for name in unknown)
            raise click.UsageError(
                f"no option of this command has the environment variable {found}. --help shows the variable "
                "of each option"
            )

    @staticmethod
    def _is_own(name: str, others: tuple[str, ...]) -> bool:
        """Whether the variable is meant for this command. Those of other roles are left alone."""
        return (
            name.startswith(PREFIX)
            and not name.startswith(others)
            and not _OF_A_SERVICE.search(name, len(PREFIX) - 1)
        )


def variable(begin: str, option: click.Option) -> str:
    """The environment variable of an option, which begins with ``begin``."""
    flag = next(name for name in option.opts if name.startswith("--")).removeprefix("--")
    return f"{begin}{flag.replace('-', '_')}".upper()


def _names_in(group: click.Command) -> Iterable[str]:
    """The commands of a group, also those whose module is missing."""
    return [*getattr(group, "ROLES", ()), *getattr(group, "commands", ())]


def _meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.8)
    return f" (did you mean {close[0]}?)" if close else ""


def of(role: str) -> dict[str, object]:
    """Context settings for the command of a role.

    The help flags are set for each command, because click keeps those of the context that first called the
    command.
    """
    return {"auto_envvar_prefix": f"{PREFIX}{role.upper()}", "help_option_names": HELP}
