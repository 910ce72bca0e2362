"""Sizes in bytes, the array's granularity, durations as text, and whole numbers in text."""

from __future__ import annotations

from csi_powerflex.errors import OutOfRange

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

INT64_MAX = 2**63 - 1

_EXACT_SECONDS = 3.0
_DURATIONS = (
    (86400.0, "a day"),
    (3600.0, "an hour"),
    (600.0, "10 minutes"),
    (60.0, "a minute"),
    (10.0, "10 seconds"),
    (0.0, "some seconds"),
)


def whole_number(text: str, *, digits: int) -> int | None:
    """The number in ``text``, which has at most ``digits`` decimal digits; None where it has another form."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= digits else None


def seconds(duration: float) -> str:
    """A duration in seconds as text for a message, without the fractions that differ each time (ADR 14)."""
    return f"{duration:.0f} s" if duration >= _EXACT_SECONDS else f"{duration:.1f} s"


def at_least(duration: float) -> str:
    """The longest of some usual durations that is not above ``duration`` in seconds: ``10 minutes``."""
    return next(text for least, text in _DURATIONS if duration >= least)


_SECONDS_OF = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: str) -> int:
    """The seconds in a text such as ``24h``, ``30m`` or ``7d``; a number without a letter is seconds.

    Raises:
        ValueError: it has another form, or is more than 10 years.
    """
    number, factor = (text[:-1], _SECONDS_OF[text[-1]]) if text[-1:] in _SECONDS_OF else (text, 1)
    found = whole_number(number, digits=9)
    if found is None or found * factor > 10 * 365 * 86400:
        raise ValueError("must be a whole number of at most 10 years, with s, m, h or d, such as 24h")
    return found * factor


def round_up(size: int, granularity: int) -> int:
    """The smallest multiple of ``granularity`` that is not below ``size``."""
    return -(-size // granularity) * granularity


def whole_percent(part: int, total: int) -> int:
    """How many percent ``part`` is of ``total``, rounded down and at most 100; 100 if ``total`` is 0."""
    return min(100, part * 100 // total) if total else 100


def check_range(*, required: int, limit: int) -> None:
    """Check that a range of sizes is possible. Both are bytes as in the request; 0 means "not given".

    Raises:
        OutOfRange: it is not.
    """
    if required < 0 or limit < 0:
        raise OutOfRange(f"a capacity cannot be negative: required {required}, limit {limit} bytes")
    if limit and limit < required:
        raise OutOfRange(f"the limit of {limit} bytes is below the required {required} bytes")


def size_within(*, required: int, limit: int, granularity: int, default: int) -> int:
    """The size in bytes to request from the array for a CSI CapacityRange.

    Args:
        required: the least size, as in the request; 0 means "not given".
        limit: the greatest size, as in the request; 0 means "not given".
        granularity: the result is a multiple of it.
        default: the size where no ``required`` is given. The result is less where ``limit`` is less.

    Raises:
        OutOfRange: no multiple of the granularity is within the range.
    """
    check_range(required=required, limit=limit)
    highest = (limit or INT64_MAX) // granularity * granularity
    size = round_up(required, granularity) if required else min(round_up(default, granularity), highest)
    if not 0 < size <= highest:
        raise OutOfRange(
            f"the array allots {readable(granularity)} at a time: "
            f"{readable(size or granularity)} is the least for this request, "
            f"and the limit is {readable(limit or INT64_MAX)}"
        )
    return size


def readable(size: int) -> str:
    """``size`` bytes for people: exact, in the largest binary unit that divides it."""
    for unit, name in ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} bytes"
