"""docs/troubleshooting.md quotes what the driver says: each quoted sentence is one that its code can say."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_OF_KUBERNETES = (
    "hostPath type check failed",
    "waiting for first consumer",
    "ContainerCreating",
    "violates PodSecurity",
    "MountVolume.SetUp failed",
    "registrar",
    "volume node affinity conflict",
    "didn't match PersistentVolume's node affinity",
    "detected topology value collision",
)


def quotes() -> list[str]:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    found = [quote for row in text.splitlines() if row.startswith("| ") for quote in _quotes_of(row)]
    return [quote for quote in found if " " in quote and not quote.startswith(_OF_KUBERNETES)]


def _quotes_of(row: str) -> list[str]:
    return re.findall(r"`([^`]+)`", row.split(" | ", maxsplit=1)[0])


@functools.cache
def sayings() -> tuple[str, ...]:
    """Every text in the driver's code, with an ellipsis for what is filled in."""
    found = set()
    for path in (ROOT / "csi_powerflex").rglob("*.py"):
        if "simulator" not in path.parts and "pb" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(" ".join(node.value.split()))
                elif isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                    found.add(" ".join("".join(map(str, parts)).split()))
    return tuple(found)


@pytest.mark.parametrize("quote", quotes())
def test_a_quoted_sentence_is_one_that_the_driver_says(quote: str) -> None:
    pieces = [piece for piece in quote.split("…") if piece.strip(" .;:,?()'")]
    pattern = re.compile(".*".join(re.escape(piece) for piece in pieces))
    assert any(pattern.search(saying) for saying in sayings()), f"no code says: {quote}"


def test_there_are_quotations_and_an_invented_one_is_found() -> None:
    assert len(quotes()) > 30
    with pytest.raises(AssertionError, match="no code says"):
        test_a_quoted_sentence_is_one_that_the_driver_says("the array … is on fire; fetch water")
