"""Test modules do not import each other, so each can be changed or renamed alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_TESTS = Path(__file__).parents[1]
_FILES = sorted(path for path in _TESTS.rglob("*.py") if "toolchain" not in path.parts)


def imported(code: str) -> Iterator[str]:
    """The names of modules, and of what may be modules, in the import statements of ``code``."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            if (node.module or "").split(".")[0] == "tests":
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def with_tests(code: str) -> list[str]:
    """The imported modules with tests."""
    return [name for name in imported(code) if any(part.startswith("test_") for part in name.split("."))]


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.relative_to(_TESTS)))
def test_no_module_imports_a_module_with_tests(path: Path) -> None:
    assert with_tests(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "code",
    [
        "import tests.node.test_staging",
        "from tests.node.test_staging import mounted",
        "from tests.node import test_staging",
        "def f():\n    from tests.node import test_staging as staging",
    ],
)
def test_an_import_of_a_module_with_tests_is_found(code: str) -> None:
    assert with_tests(code)


def test_other_imports_are_allowed() -> None:
    assert with_tests("import os\nfrom tests.node.client import Kubelet\nfrom a import test_b") == []
