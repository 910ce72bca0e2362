"""docs/doctor.md has a section for each check, under the check's name."""

from __future__ import annotations

import ast
import re

from csi_powerflex.cli.doctor import output
from csi_powerflex.hints import first_of
from csi_powerflex.model import checks
from csi_powerflex.model.checks import Check, Level
from tests.source_code import PACKAGE, ROOT, tree

MODULES = (
    "app/doctor/controller.py",
    "model/checks.py",
    "operations/controller/doctor.py",
    "operations/node/doctor.py",
    "transport/nvme/doctor.py",
    "transport/sdc/doctor.py",
)
MAKERS = {"ok", "warning", "fault"}


def made() -> set[str]:
    """The names in the code: the first argument of each call that makes a check."""
    calls = [
        part
        for module in MODULES
        for part in ast.walk(tree(PACKAGE / module))
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id in MAKERS
    ]
    first = [call.args[0] for call in calls]
    assert all(isinstance(name, ast.Constant) for name in first), "write the name of a check as a text"
    return {str(name.value) for name in first if isinstance(name, ast.Constant)}


def page() -> str:
    return (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")


def test_each_check_has_a_section_and_each_section_is_of_a_check() -> None:
    sections = re.findall(r"^### (.+)$", page(), flags=re.MULTILINE)
    assert len(made()) > 30
    assert made() == set(sections)
    assert len(set(sections)) == len(sections)


def test_the_page_of_a_check_leads_to_its_section() -> None:
    check = checks.ok("leftover mounts", "this host", "none")
    assert check.page == "docs/doctor.md#leftover-mounts"


def test_the_page_describes_the_json() -> None:
    check = checks.fault("dns", "prod", "no address", "correct it")
    document = output.document("controller", [check])
    described = set(re.findall(r"`(\w+)`", page()))
    assert document.keys() | document["checks"][0].keys() <= described
    assert {level.value for level in Level} <= described


def test_a_long_list_of_names_is_shortened() -> None:
    assert first_of(["a", "b"]) == "a, b"
    assert first_of([str(number) for number in range(10)], most=3) == "0, 1, 2 and 7 more"


def test_a_heading_is_repeated_only_when_the_subject_changes() -> None:
    lines = list(
        output.table([checks.ok("a", "one", "x"), checks.ok("b", "one", "y"), checks.ok("c", "two", "z")])
    )
    assert lines == [
        *("one", "  ok      a: x", "  ok      b: y", "", "two", "  ok      c: z", ""),
        "3 checks: 3 ok, 0 warnings, 0 faults",
    ]


def test_a_check_of_any_text_fits_the_width_of_the_table() -> None:
    check = Check("dns", "s" * 300, Level.FAULT, "word " * 50 + "x" * 300, "r" * 200)
    assert max(map(len, output.table([check]))) <= output.WIDTH
