"""Which specs of Kubernetes' storage suites are run for the options of make e2e-external."""

from __future__ import annotations

import re

import pytest

from tests.e2e.external.definition import STORAGE_CLASSES, definition
from tests.e2e.external.results import Known
from tests.e2e.external.run import Run, parser, runs

PREFIX = "External Storage [Driver: csi.powerflex.dev]"
QUICK = f"{PREFIX} [Testpattern: Dynamic PV (default fs)] subPath should work"
BLOCK = f"{PREFIX} [Testpattern: Dynamic PV (block volmode)] volumeMode should work"
SLOW = f"{PREFIX} [Testpattern: Dynamic PV (default fs)] volumeIO [Slow] should write"
STRESS = f"{PREFIX} [Testpattern: Dynamic PV (default fs)] volume-modify-stress multiple pods [Slow]"
OTHER = "[sig-storage] EmptyDir volumes should work"


def selected(run: Run, name: str) -> bool:
    """Whether Ginkgo would run a spec with this name."""
    return bool(re.search(run.focus, name)) and not (run.skip and re.search(run.skip, name))


def names(run: Run) -> set[str]:
    return {name for name in (QUICK, BLOCK, SLOW, STRESS, OTHER) if selected(run, name)}


def runs_for(*options: str) -> dict[str, Run]:
    return {run.name: run for run in runs(parser().parse_args(options), {})}


def test_by_default_the_quick_specs_run_on_ext4() -> None:
    found = runs_for()
    assert {name: names(run) for name, run in found.items()} == {"ext4": {QUICK, BLOCK}}


def test_all_adds_slow_specs_and_what_uses_the_other_filesystems() -> None:
    found = runs_for("--all")
    assert {name: names(run) for name, run in found.items()} == {
        "ext4": {QUICK, BLOCK, SLOW},
        "xfs": {QUICK, SLOW},
        "btrfs": {QUICK, SLOW},
        "ext4, immediate": {STRESS},
    }
    assert [run.immediate for run in found.values()] == [False, False, False, True]


def test_focus_and_skip_choose_among_them() -> None:
    assert names(runs_for("--focus=subPath")["ext4"]) == {QUICK}
    assert names(runs_for("--skip=subPath")["ext4"]) == {BLOCK}
    assert names(runs_for("--filesystems=ext4,xfs", "--focus=subPath")["xfs"]) == {QUICK}


def test_what_this_machine_cannot_do_is_left_out_on_that_filesystem_only() -> None:
    options = parser().parse_args(["--filesystems=ext4,xfs"])
    found = {run.name: run for run in runs(options, {"ext4": [Known("subPath", "no reason")]})}
    assert {name: names(run) for name, run in found.items()} == {"ext4": {BLOCK}, "xfs": {QUICK}}


def test_a_name_that_is_no_filesystem_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--filesystems=ext4,ntfs"])
    assert "unknown: ntfs" in capsys.readouterr().err


@pytest.mark.parametrize("filesystem", STORAGE_CLASSES)
def test_each_filesystem_has_its_class(filesystem: str) -> None:
    assert definition(filesystem, ["key"])["StorageClass"] == {
        "FromExistingClassName": STORAGE_CLASSES[filesystem]
    }


def test_no_capability_is_both_claimed_and_denied() -> None:
    capabilities = definition("ext4", ["key"])["DriverInfo"]["Capabilities"]
    assert set(capabilities.values()) == {True, False}
    assert capabilities["seLinuxMount"] is False
    assert capabilities["block"] is True
