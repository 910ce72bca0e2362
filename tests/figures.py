"""The figures that a run of the tests gives: how much was tried and held.

Tests count into them, the end of the run prints them, and with ``--floors`` the run fails when one is below
its floor in ``floors.toml``: so a proof cannot shrink, be skipped or be deselected without being seen.
"""

from __future__ import annotations

import collections
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FLOORS: dict[str, int] = tomllib.loads((Path(__file__).parent / "floors.toml").read_text(encoding="utf-8"))[
    "floors"
]


class Figures:
    """The figures of one run."""

    def __init__(self) -> None:
        self._counts: collections.Counter[str] = collections.Counter()
        self._told: list[str] = []

    def add(self, name: str, number: int = 1) -> None:
        """Count ``number`` more of what ``floors.toml`` has under ``name``."""
        if name not in FLOORS:
            raise KeyError(f"{name!r} has no floor in tests/floors.toml")
        self._counts[name] += number

    def tell(self, lines: Iterable[str]) -> None:
        """Let the end of the run print these lines too: they belong into the log of CI."""
        self._told.extend(lines)

    def handed_over(self) -> dict[str, Any]:
        """All of it in plain values, for ``take``: a worker of pytest-xdist has its own figures."""
        return {"counts": dict(self._counts), "told": self._told}

    def take(self, handed: Mapping[str, Any]) -> None:
        """Add what another has handed over."""
        for name, number in handed["counts"].items():
            self.add(name, number)
        self.tell(handed["told"])

    def lines(self) -> list[str]:
        """What was told and counted in this run, a line for each figure."""
        counted = [f"{name}: {self._counts[name]:,}" for name in FLOORS if self._counts[name]]
        return [*self._told, *counted]

    def fallen(self) -> list[str]:
        """The figures below their floors, a line for each."""
        return [
            f"{name}: {self._counts[name]:,}, and the floor is {floor:,}"
            for name, floor in FLOORS.items()
            if self._counts[name] < floor
        ]
