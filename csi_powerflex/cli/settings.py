"""What all commands have in common: environment variables and help flags."""

from __future__ import annotations

HELP = ["-h", "--help"]


def of(role: str) -> dict[str, object]:
    """Context settings for the command of a role.

    Its options can be given as POWERFLEX_CSI_<ROLE>_<OPTION>, because CSI reserves the prefix CSI_. The help
    flags are set for each command, because click keeps those of the context that first called the command.
    """
    return {"auto_envvar_prefix": f"POWERFLEX_CSI_{role.upper()}", "help_option_names": HELP}
