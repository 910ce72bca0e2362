"""Parts of messages: suggestions for an unknown name, and long lists."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the known name that is closest to ``name``, or all known names where none is close."""
    by_lower_case = {item.lower(): item for item in known}
    close = difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    if close:
        return f"did you mean {by_lower_case[close[0]]!r}?"
    return f"known keys: {', '.join(by_lower_case.values())}"


def first_of(items: Sequence[str], *, most: int = 8) -> str:
    """The first of ``items`` as one text, with the number of the others."""
    shown = ", ".join(items[:most])
    return f"{shown} and {len(items) - most} more" if len(items) > most else shown
