"""Locks of folders, and the removal of folders that killed simulators left."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from csi_powerflex.simulator.hosts import loop
from csi_powerflex.simulator.ownership import FolderLock, StillMounted, clear_orphans, remove
from csi_powerflex.simulator.simulator import CannotSimulate, Simulator, SystemPlan
from tests.commands import output_of
from tests.controller.eventually import eventually
from tests.simulator.client import Array
from tests.simulator.devices import mapped
from tests.simulator.process import mapped_volume, running, session


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the temporary folders of this process and of its children."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def orphan() -> Path:
    """A temporary folder whose owner ended without removing it."""
    lock = FolderLock.of_temporary()
    (lock.folder / "systems").mkdir()
    lock.release()
    return lock.folder


def mounts_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if f" {folder}/" in line]


def test_a_folder_whose_owner_has_ended_is_removed() -> None:
    folder = orphan()
    assert clear_orphans() == [folder]
    assert not folder.exists()


def test_the_folder_of_a_running_simulator_stays() -> None:
    with Simulator() as simulator:
        assert clear_orphans() == []
        assert simulator.folder.exists()
    assert not simulator.folder.exists()


def test_the_folder_of_a_simulator_in_another_process_stays(tmp_path: Path) -> None:
    with running(tmp_path) as (_, ready):
        assert clear_orphans() == []
        assert Path(ready["caFile"]).exists()


def test_a_permanent_folder_with_the_name_of_a_temporary_one_stays(temporary: Path) -> None:
    folder = temporary / "powerflex-sim-mine"
    folder.mkdir(mode=0o700)
    FolderLock.of(folder).release()
    assert clear_orphans() == []
    assert folder.exists()


def test_an_orphan_becomes_permanent_when_it_is_used_as_state_folder() -> None:
    folder = orphan()
    with Simulator(folder=folder):
        assert clear_orphans() == []
    assert clear_orphans() == []
    assert folder.exists()


def test_a_folder_that_may_belong_to_another_user_stays(temporary: Path) -> None:
    without_lock = temporary / "powerflex-sim-without-lock"
    without_lock.mkdir(mode=0o700)
    being_made = temporary / "powerflex-sim-being-made"
    being_made.mkdir(mode=0o700)
    (being_made / "lock").touch()
    open_to_others = orphan()
    open_to_others.chmod(0o770)
    linked = orphan().rename(temporary / "elsewhere")
    (temporary / "powerflex-sim-link").symlink_to(linked)
    assert clear_orphans() == []
    assert {without_lock, being_made, open_to_others, linked} <= set(temporary.iterdir())


def test_a_state_folder_serves_one_simulator_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with Simulator(folder=folder), pytest.raises(CannotSimulate, match="in use by another simulator"):
        Simulator(folder=folder)
    with Simulator(folder=folder):
        pass


def test_the_error_for_a_state_folder_in_use_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    command = [sys.executable, "-m", "csi_powerflex", "simulate", "--state", str(folder)]
    with Simulator(folder=folder):
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert done.stderr == f"Error: {folder} is in use by another simulator\n"


@pytest.mark.needs("devices")
def test_a_folder_with_a_foreign_mount_stays() -> None:
    folder = orphan()
    mountpoint = folder / "of another"
    mountpoint.mkdir()
    output_of(["mount", "-t", "tmpfs", "none", mountpoint])
    try:
        (mountpoint / "data").write_text("precious")
        assert clear_orphans() == []
        with pytest.raises(StillMounted, match="of another is still mounted"):
            remove(folder)
        assert (mountpoint / "data").read_text() == "precious"
    finally:
        output_of(["umount", mountpoint])
    assert clear_orphans() == [folder]


@pytest.mark.needs("devices")
def test_the_next_simulator_removes_devices_and_mounts_of_a_killed_one(
    tmp_path: Path, temporary: Path
) -> None:
    with running(tmp_path, "--host", "a") as (process, ready), session(ready) as client:
        mapped_volume(client, ready).write_bytes(b"written".ljust(4096))
        process.kill()
        process.wait(timeout=5)
    (left,) = temporary.iterdir()
    assert loop.under(left)
    with running(tmp_path, "--sdc", "a"):
        assert left not in set(temporary.iterdir())
        assert mounts_below(left) == []
        eventually(lambda: loop.under(left) == {})  # see nothing_is_left
    assert list(temporary.iterdir()) == []


@pytest.mark.needs("devices")
def test_devices_of_a_running_simulator_survive_the_start_of_another(tmp_path: Path) -> None:
    with Simulator(hosts=("a",)) as simulator:
        array = Array(simulator)
        device = mapped(array, array.create())
        device.write_bytes(b"written".ljust(4096))
        with running(tmp_path), device.open("rb") as opened:
            assert opened.read(7) == b"written"


def test_two_systems_with_the_same_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotSimulate, match="two systems have the same name"):
        Simulator([SystemPlan("4.5"), SystemPlan("5.0")], folder=tmp_path / "array")
    assert not (tmp_path / "array").exists()
