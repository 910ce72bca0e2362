"""Which tests a run skips on this machine, and how it reports them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import needs, tools

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run tests that are given as text, in another process. ``lacks`` are the needs that are not met."""

    def run(tests: str, *options: str, **lacks: str) -> subprocess.CompletedProcess[str]:
        plugin = [
            "from tests import needs",
            *(f"needs.NEEDS[{need!r}] = lambda: needs.Lack('no {need} here', {remedy!r})"
              for need, remedy in lacks.items()),
        ]  # fmt: skip
        (tmp_path / "lacking.py").write_text("\n".join(plugin))
        (tmp_path / "test_it.py").write_text(f"import pytest\n{tests}")
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "lacking", "-p", "tests.needs", "-c", "/dev/null",
             *options,
             "--rootdir", tmp_path, "-p", "no:cacheprovider", tmp_path / "test_it.py"],
            cwd=Path(__file__).parents[2], env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, check=False, timeout=100,
        )  # fmt: skip

    return run


NEEDING = """
@pytest.mark.needs('devices', 'xfs')
@pytest.mark.parametrize("number", range(3))
def test_one(number): raise AssertionError("it ran")

@pytest.mark.needs("btrfs")
def test_two(): raise AssertionError("it ran")

def test_three(): pass
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["in one process", "on two workers"])
def test_skipped_tests_are_counted_with_the_reason_and_the_command_that_helps(
    run: Run, workers: tuple[str, ...]
) -> None:
    done = run(NEEDING, *workers, devices="sudo make test", xfs="make tools", btrfs="make tools")
    assert done.returncode == 0, done.stdout + done.stderr
    _, _, table = done.stdout.partition("left out")
    rows = [line.split("  ") for line in table.splitlines() if "here" in line]
    assert [[cell.strip() for cell in row if cell.strip()] for row in rows] == [
        ["1", "make tools", "no btrfs here"],
        ["3", "sudo make test", "no devices here"],
    ]
    assert "1 passed, 4 skipped" in done.stdout


def test_the_emulated_machine_is_suggested_only_for_its_tests(run: Run) -> None:
    tests = """
@pytest.mark.needs("xfs")
def test_one(): pass

@pytest.mark.emulated
@pytest.mark.needs("xfs")
def test_two(): pass
"""
    done = run(tests, xfs="make test-emulated")
    rows = [line.split() for line in done.stdout.splitlines() if "no xfs here" in line]
    assert [row[:2] for row in rows] == [["1", "-"], ["1", "make"]]


def test_a_run_with_everything_it_needs_has_no_table(run: Run) -> None:
    done = run("def test_it(): pass")
    assert done.returncode == 0
    assert "left out" not in done.stdout


@pytest.mark.parametrize(
    "tests",
    ["@pytest.mark.skip\ndef test_it(): pass", "def test_it(): pytest.skip()"],
    ids=["by its mark", "while it runs"],
)
def test_a_skip_without_a_reason_fails_the_run(run: Run, tests: str) -> None:
    done = run(tests)
    assert done.returncode == 1
    assert "FAILED: 1 tests were skipped without a reason" in done.stdout


def test_a_complete_run_fails_for_tests_that_make_tools_would_make_possible(run: Run) -> None:
    assert run(NEEDING, "--complete", devices="sudo make test", btrfs="a newer kernel").returncode == 0
    done = run(NEEDING, "--complete", devices="sudo make test", btrfs="make tools")
    assert done.returncode == 1
    assert "FAILED: 1 tests were left out, and `make tools` would bring them" in done.stdout


def test_an_unknown_need_is_refused_by_its_name(run: Run) -> None:
    done = run("@pytest.mark.needs('xsf')\ndef test_it(): pass")
    assert done.returncode != 0
    assert "no need is named 'xsf'" in done.stdout + done.stderr


def test_missing_commands_are_reported_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "located", lambda command: None if "xfs" in command else f"/usr/bin/{command}")
    assert needs.NEEDS["btrfs"]() in (
        None,
        needs.Lack("this machine's kernel has no btrfs", needs.BY_EMULATION),
    )
    assert needs.NEEDS["xfs"]() == needs.Lack(
        "not installed: xfsprogs (mkfs.xfs, xfs_db, xfs_growfs)", needs.BY_TOOLS
    )


def test_an_unknown_filesystem_is_not_in_the_kernel() -> None:
    assert not needs._kernel_has("no-such-filesystem")
