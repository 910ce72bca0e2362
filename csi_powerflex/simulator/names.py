"""The array's rules for the names of all objects, and lists of names."""

from __future__ import annotations

from collections.abc import Container

from csi_powerflex.simulator.api_error import ApiError, mdm_error

MAX_NAME = 31


def free_name(name: str, used: Container[str | None], in_use: ApiError) -> str:
    """``name``, if an object may get it: 1 to 31 printable ASCII characters without spaces, not ``used``.

    Raises:
        ApiError: 226 when it is too long, 227 when a character is not allowed, ``in_use`` when it is used.
    """
    if len(name) > MAX_NAME:
        raise mdm_error(226)
    if not name or not all("!" <= character <= "~" for character in name):
        raise mdm_error(227)
    if name in used:
        raise in_use
    return name


def words(text: str) -> tuple[str, ...]:
    """The words of ``text``, for long tables of names."""
    return tuple(text.split())
