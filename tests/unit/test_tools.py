"""The tools that ``make tools`` installs or names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from csi_powerflex.host import run
from tests import tools


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without the commands. Returns the folder of its PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(tools, "_SYSTEM_FOLDERS", ())
    return folder


def put(folder: Path, command: str, script: str = "exit 0") -> None:
    (folder / command).write_text(f"#!/bin/sh\n{script}\n")
    (folder / command).chmod(0o755)


def test_it_prints_what_to_install_if_it_cannot_install(
    bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in tools.PACKAGES["test"]:
        if command != "xfs_db":
            put(bare, command)
    assert tools.bring(["test"]) == 0
    printed = capsys.readouterr().out
    assert "Missing: xfsprogs (xfs_db)." in printed
    assert "as root: apt-get update && apt-get install --yes --no-install-recommends xfsprogs" in printed


def test_as_root_on_debian_each_missing_package_is_installed_once(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    put(bare, "apt-get", f'echo "$DEBIAN_FRONTEND $*" >> {tmp_path}/calls; echo noise')
    assert tools.bring(["test", "bare"]) == 0
    update, install = (tmp_path / "calls").read_text().splitlines()
    assert update == "noninteractive update"
    packages = sorted({*tools.PACKAGES["test"].values(), *tools.PACKAGES["bare"].values()})
    assert install == f"noninteractive install --yes --no-install-recommends {' '.join(packages)}"
    assert "noise" not in capsys.readouterr().out


def test_a_failed_installation_shows_its_output(
    bare: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    put(bare, "apt-get", "echo 'E: no network'; exit 100")
    assert tools.bring(["test"]) == 100
    assert "E: no network\n`apt-get update` failed with status 100." in capsys.readouterr().err


def test_nothing_is_installed_if_nothing_is_missing(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in tools.PACKAGES["test"]:
        put(bare, command)
    assert tools.bring(["test"]) == 0
    assert capsys.readouterr().out == "Debian's packages: all installed.\n"


def test_the_packages_are_those_in_the_messages_of_the_driver() -> None:
    tested = tools.PACKAGES["test"]
    assert {tool: tested[tool] for tool in tested if tool in run.PACKAGES} == {
        tool: package for tool, package in run.PACKAGES.items() if tool in tested
    }
