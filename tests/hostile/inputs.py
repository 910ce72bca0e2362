"""The number of inputs, and the texts and numbers of hostile inputs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings, strategies as st

FACTOR = int(os.environ.get("HOSTILE_FACTOR", "1"))
"""With 1, as in CI, the inputs are the same each time. More multiplies their number and varies them."""

Test = TypeVar("Test", bound=Callable[..., Any])


def with_examples(examples: int) -> Callable[[Test], Test]:
    """Run a test with so many inputs, times ``FACTOR``."""
    return settings(
        max_examples=examples * FACTOR,
        derandomize=FACTOR == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


# Inputs that are known to cause errors: paths, shells, formats, encodings, numbers, and special characters.
_KNOWN = (
    "", " ", ".", "..", "../../../../etc/passwd", "/etc/passwd", "//", "~root", "C:\\",
    "\0", "a\0b", "\n", "a\nb", "\r\n", "\t", "\x0b", "\x0c", "\x1b[31m", "\x7f", "\x85", "\u2028",
    "$(touch /tmp/x)", "`id`", "; reboot", "| cat", "&& true", "' OR 1=1 --", "%s%n", "{0}", "${x}", "<b>",
    "-", "--", "-f", "--help", "=", ",", '"', "'", "\\", "#", "%", "%00", "%2e%2e%2f", "?x=1", "&", ";",
    "null", "None", "true", "NaN", "Infinity", "-1", "0", "1e400", "9" * 30, "0x10", "١٢٣", "½",
    "ä", "ſ", "İ", "\u202e", "\ufeff", "\U0001f4be", "e\u0301", "\ufffd", "\ud7ff", "\uffff", "\U0010ffff",
)  # fmt: skip
_SIZES = (31, 32, 128, 129, 255, 256, 1000, 5000, 100_000)


def text() -> st.SearchStrategy[str]:
    """Text of any kind that a protocol buffer can contain."""
    return st.one_of(
        st.sampled_from(_KNOWN),
        st.text(max_size=20),
        st.text(alphabet=st.characters(max_codepoint=0x20), min_size=1, max_size=5),
        st.builds(
            lambda unit, size: (unit * size)[:size], st.sampled_from("aä/.\x01💾0"), st.sampled_from(_SIZES)
        ),
    )


def near(known: str) -> st.SearchStrategy[str]:
    """``known`` with additional text before, after or inside of it."""
    return st.builds(
        lambda at, word: known[:at] + word + known[at:], st.integers(0, len(known)), st.sampled_from(_KNOWN)
    )


_EDGES = (0, 1, 7, 8, 9, 15, 31, 32, 40, 53, 62, 63)


def integers(bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    """Integers of that width, most of them close to a limit."""
    least = -(2 ** (bits - 1)) if signed else 0
    greatest = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    edges = {sign * 2**edge + step for edge in _EDGES for sign in (1, -1) for step in (-1, 0, 1)}
    inside = sorted(edge for edge in {*edges, least, greatest} if least <= edge <= greatest)
    return st.one_of(st.sampled_from(inside), st.integers(least, greatest))
