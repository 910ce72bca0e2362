"""What the chart renders, whole: a change shows in the review as what changes in the cluster."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.chart import helm as chart
from tests.chart.helm import CASES, CHART, GOLDEN, ROOT, VALUES, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_chart_renders_what_was_reviewed(helm: str, case: Case) -> None:
    done = chart.template(helm, case)
    assert done.returncode == 0, done.stderr
    golden = GOLDEN / f"{case.name}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(done.stdout, encoding="utf-8")
    expected = golden.read_text(encoding="utf-8")
    assert _lines(done.stdout) == _lines(expected), (
        f"if this is meant: UPDATE_GOLDEN=1 make test ARGS=tests/chart, then review {golden}"
    )


def _lines(text: str) -> list[str]:
    """Without blank ones, which Helm 3 and 4 leave in different places."""
    return [line for line in text.splitlines() if line.strip()]


def test_every_golden_file_belongs_to_a_case() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {case.name for case in CASES}


@pytest.mark.parametrize("values", sorted(path.stem for path in VALUES.iterdir()))
def test_helm_lint_has_nothing_to_say(helm: str, values: str) -> None:
    command = [helm, "lint", "--strict", "--quiet", str(CHART), "--values", str(VALUES / f"{values}.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr


def test_the_plain_manifests_are_those_of_the_chart(helm: str) -> None:
    command = [sys.executable, "deploy/render.py", helm, "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
