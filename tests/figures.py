"""The figures that a run of the tests gives: how much was tried and held.

Tests count into them, the end of the run prints them, and with ``--floors`` the run fails when one is below
its floor in ``floors.toml``: so a proof cannot shrink, be skipped or be deselected without being seen.
"""

from __future__ import annotations

import collections
import tomllib
from pathlib import Path

FLOORS: dict[str, int] = tomllib.loads((Path(__file__).parent / "floors.toml").read_text(encoding="utf-8"))[
    "floors"
]


class Figures:
    """The figures of one run."""

    def __init__(self) -> None:
        self._counts: collections.Counter[str] = collections.Counter()

    def add(self, name: str, number: int = 1) -> None:
        """Count ``number`` more of what ``floors.toml`` has under ``name``."""
        if name not in FLOORS:
            raise KeyError(f"{name!r} has no floor in tests/floors.toml")
        self._counts[name] += number

    def lines(self) -> list[str]:
        """What was counted in this run, a line for each figure."""
        return [f"{name}: {self._counts[name]:,}" for name in FLOORS if self._counts[name]]

    def fallen(self) -> list[str]:
        """The figures below their floors, a line for each."""
        return [
            f"{name}: {self._counts[name]:,}, and the floor is {floor:,}"
            for name, floor in FLOORS.items()
            if self._counts[name] < floor
        ]
