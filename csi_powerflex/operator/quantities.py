"""Quantities of Kubernetes, such as the size of a claim (Kubernetes reference, "Quantity")."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal

_FACTORS = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "E": 10**18,
    "Ki": 1 << 10,
    "Mi": 1 << 20,
    "Gi": 1 << 30,
    "Ti": 1 << 40,
    "Pi": 1 << 50,
    "Ei": 1 << 60,
}
_FORM = re.compile(r"([0-9]{1,20}(?:\.[0-9]{0,20})?)(?:[eE]([0-9]{1,2})|(m|[kMGTPE]|[KMGTPE]i)?)")


def whole_bytes(quantity: str) -> int:
    """The bytes of a quantity that is not negative, rounded up.

    Raises:
        ValueError: it has another form.
    """
    match = _FORM.fullmatch(quantity.strip())
    if match is None:
        raise ValueError(f"{quantity!r} is no size; give one such as 8Gi")
    number, exponent, suffix = Decimal(match[1]), match[2], match[3] or ""
    if exponent:
        number *= Decimal(10) ** int(exponent)
    elif suffix == "m":
        number /= 1000
    else:
        number *= _FACTORS[suffix]
    return int(number.to_integral_value(rounding=ROUND_CEILING))
