"""The source code of the driver and of the tests: what it reads, and which texts it has."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "csi_powerflex"


@functools.cache
def tree(path: Path) -> ast.Module:
    """The parsed module."""
    return ast.parse(path.read_text(encoding="utf-8"))


def sources(*folders: str) -> list[Path]:
    """The modules in these folders of the driver."""
    return [path for folder in folders for path in (PACKAGE / folder).rglob("*.py")]


def reads(paths: Iterable[Path]) -> set[tuple[str, str]]:
    """What the code reads: the name of a variable or attribute, and an attribute of it."""
    return {
        (getattr(part.value, "id", "") or getattr(part.value, "attr", ""), part.attr)
        for path in paths
        for part in ast.walk(tree(path))
        if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Load)
    }


def texts(paths: Iterable[Path]) -> set[str]:
    """The texts in the code."""
    return {
        part.value
        for path in paths
        for part in ast.walk(tree(path))
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }
