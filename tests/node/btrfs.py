"""What this machine's kernel does with two btrfs of the same ids, as a copy and its source are."""

from __future__ import annotations

import os
import re

import pytest

_FIRST_THAT_TELLS = (6, 7)


def _kernel() -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return tuple(map(int, found.groups())) if found else ()


tells_twins_apart = pytest.mark.skipif(
    _kernel() < _FIRST_THAT_TELLS,
    reason="before Linux 6.7 the kernel mounts only one of two btrfs with equal ids",
)
takes_twins_for_one = pytest.mark.skipif(
    _kernel() >= _FIRST_THAT_TELLS,
    reason="since Linux 6.7 the kernel mounts two btrfs with equal ids; make test-emulated has an older one",
)
