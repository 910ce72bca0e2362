"""What every command has in common: its environment variables and its help flags."""

from __future__ import annotations

HELP = ["-h", "--help"]


def of(role: str) -> dict[str, object]:
    """Context settings for the command of a role.

    Its options can be given as POWERFLEX_CSI_<ROLE>_<OPTION>: CSI keeps the prefix CSI_ for itself. The help
    flags are repeated for each command, as click remembers those of the first way in which it was called.
    """
    return {"auto_envvar_prefix": f"POWERFLEX_CSI_{role.upper()}", "help_option_names": HELP}
