"""The array's rules for names, which hold for all objects."""

from __future__ import annotations

from csi_powerflex.simulator.api_error import mdm_error

MAX_NAME = 31


def checked(name: str) -> str:
    """``name``, when an object may have it: at most 31 characters, printable ASCII without blanks.

    Raises:
        Refusal: 226 when it is too long, 227 when a character is not allowed.
    """
    if len(name) > MAX_NAME:
        raise mdm_error(226)
    if not name or not all("!" <= character <= "~" for character in name):
        raise mdm_error(227)
    return name
