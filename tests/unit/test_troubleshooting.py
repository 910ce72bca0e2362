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
    "AttachVolume.Attach failed",
    "Multi-Attach error",
    "volume node affinity conflict",
    "driver name csi.powerflex.dev not found",
    "requested volume size",
    "kubectl get",
    "registrar",
    "volume node affinity conflict",
    "didn't match PersistentVolume's node affinity",
    "detected topology value collision",
    "Failed to remove finalizer",
    "the server rejected our request",
)
_OF_THE_HOST = ("Deprecated V4 format", "permission denied", "mount point does not exist")
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def quotes() -> list[str]:
    found = [
        quote
        for line in PAGE.splitlines()
        if line.startswith("> ")
        for quote in re.findall(r"`([^`]+)`", line)
    ]
    return [quote for quote in found if " " in quote and not quote.startswith(_OF_KUBERNETES + _OF_THE_HOST)]


def entries() -> dict[str, str]:
    """Each entry of the page: its heading and its text."""
    parts = re.split(r"^(###? .*)$", PAGE, flags=re.MULTILINE)
    return {
        heading.removeprefix("### "): text
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
        if heading.startswith("### ")
    }


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
    whole = any(pattern.search(saying) for saying in sayings())
    assert whole or all(is_said(piece.strip()) for piece in pieces), f"no code says: {quote}"


def is_said(piece: str) -> bool:
    """Whether the code has a text between two ellipses, as a whole or in the parts that it is made of."""
    saying = "\n".join(sayings())
    if piece in saying:
        return True
    words = piece.split()
    heads = (number for number in range(len(words) - 1, 0, -1) if " ".join(words[:number]) in saying)
    return any(" ".join(words[number:]) in saying for number in heads)


@pytest.mark.parametrize("heading", entries())
def test_each_entry_has_a_symptom_a_cause_and_what_to_do(heading: str) -> None:
    text = entries()[heading].strip()
    assert re.fullmatch(r"> .+\n\n- \*\*Cause:\*\* .+\.\n- \*\*Do:\*\* .+\.", text), text


def test_the_page_has_no_tables_which_phones_cannot_show() -> None:
    assert not [line for line in PAGE.splitlines() if line.startswith("|")]


def test_each_section_lists_its_entries_in_their_order() -> None:
    for section in PAGE.split("\n## ")[1:]:
        headings = re.findall(r"^### (.*)$", section, flags=re.MULTILINE)
        listed = re.findall(r"^- \[(.*)\]\(#.*\)$", section, flags=re.MULTILINE)
        assert listed == headings


def test_there_are_quotations_and_an_invented_one_is_found() -> None:
    assert len(quotes()) > 30
    with pytest.raises(AssertionError, match="no code says"):
        test_a_quoted_sentence_is_one_that_the_driver_says("the array … is on fire; fetch water")
