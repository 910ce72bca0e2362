"""The list of names that vulture must not report has no name that the driver lacks."""

from __future__ import annotations

import ast

from tests.known_names import modules
from tests.source_code import ROOT, tree


def test_each_allowed_name_is_in_the_code() -> None:
    listed = tree(ROOT / "tests" / "allowed_unused.py")
    names = {part.attr for part in ast.walk(listed) if isinstance(part, ast.Attribute)}
    assert len(names) > 40
    assert names - {word for module in modules().values() for word in module.words} == set()
