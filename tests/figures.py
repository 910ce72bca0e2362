"""The figures of a run of the tests: how many inputs, calls and cases succeeded.

Tests add to them, and the end of the run prints them. With ``--floors`` the run fails if a figure is below
its floor in ``floors.toml``. So a test cannot become smaller, be skipped or be deselected unnoticed.
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
        self._lines: list[str] = []

    def add(self, name: str, number: int = 1) -> None:
        """Add ``number`` to the figure ``name`` of ``floors.toml``."""
        if name not in FLOORS:
            raise KeyError(f"{name!r} has no floor in tests/floors.toml")
        self._counts[name] += number

    def tell(self, lines: Iterable[str]) -> None:
        """Let the end of the run print these lines too, for the log of CI."""
        self._lines.extend(lines)

    def handed_over(self) -> dict[str, Any]:
        """All figures as plain values for ``take``, because each worker of pytest-xdist has its own."""
        return {"counts": dict(self._counts), "told": self._lines}

    def take(self, handed: Mapping[str, Any]) -> None:
        """Add the figures of another worker."""
        for name, number in handed["counts"].items():
            self.add(name, number)
        self.tell(handed["told"])

    def lines(self) -> list[str]:
        """The lines of this run, and a line for each figure."""
        counted = [f"{name}: {self._counts[name]:,}" for name in FLOORS if self._counts[name]]
        return [*self._lines, *counted]

    def fallen(self) -> list[str]:
        """A line for each figure below its floor."""
        return [
            f"{name}: {self._counts[name]:,}, and the floor is {floor:,}"
            for name, floor in FLOORS.items()
            if self._counts[name] < floor
        ]
