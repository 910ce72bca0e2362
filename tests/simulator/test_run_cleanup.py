"""A run of the end-to-end tests leaves no loop devices, also if its pods still had volumes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import output_of
from tests.e2e import loops
from tests.e2e.run import _NAMESPACES

pytestmark = pytest.mark.needs("devices")


def attach(path: Path) -> Path:
    return Path(output_of(["losetup", "--find", "--show", path]))


def is_attached(device: Path) -> bool:
    return Path(f"/sys/block/{device.name}/loop/backing_file").exists()


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Path]:
    """A file in the folder of a run."""
    file = tmp_path / "pool"
    with file.open("wb") as opened:
        opened.truncate(2**28)
    yield file
    loops.remove(tmp_path)


def test_the_kubelets_device_over_a_volume_is_found_by_the_device_below_it(
    tmp_path: Path, pool: Path
) -> None:
    volume = attach(pool)
    of_kubelet = attach(volume)
    assert [found.device for found in loops.of(tmp_path)] == [of_kubelet, volume]


def test_only_the_kubelets_devices_are_detached_before_the_array_stops(tmp_path: Path, pool: Path) -> None:
    volume = attach(pool)
    of_kubelet = attach(volume)
    loops.remove_above_devices(tmp_path)
    assert (is_attached(of_kubelet), is_attached(volume)) == (False, True)


def test_devices_of_another_folder_stay(tmp_path: Path, pool: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    device = attach(pool)
    assert loops.remove(other) == []
    assert is_attached(device)


def test_a_device_that_is_in_use_is_an_error(
    tmp_path: Path, pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "_SECONDS", 0.1)
    device = attach(pool)
    descriptor = os.open(device, os.O_RDONLY)
    try:
        with pytest.raises(loops.StillInUse, match=f"{device} {pool} is still in use"):
            loops.remove(tmp_path)
    finally:
        os.close(descriptor)


@pytest.mark.needs("btrfs")
@pytest.mark.parametrize("end", ["exit 0", "exit 3", "kill -9 $$"])
def test_the_first_process_of_a_run_detaches_what_the_run_left(tmp_path: Path, pool: Path, end: str) -> None:
    output_of(["mkfs.btrfs", "--quiet", "--nodiscard", pool])
    # As the array and the kubelet: a filesystem on a device, a volume in it, and a device over the volume.
    script = f"""
        cd {tmp_path} && mkdir mounted
        mount -o loop pool mounted && truncate --size 1M mounted/volume
        volume=$(losetup --find --show {tmp_path}/mounted/volume)
        losetup --find $volume
        sleep 1000000 < mounted/volume &
        {end}
    """
    command = [
        *(*_NAMESPACES, sys.executable, "-m", "tests.e2e.inside", str(tmp_path)),
        *("sh", "-c", script),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == {"exit 0": 1, "exit 3": 3, "kill -9 $$": 137}[end], done.stderr
    assert done.stderr.count("left behind, and taken away: /dev/loop") == 3
    assert loops.of(tmp_path) == []


def test_a_run_that_leaves_nothing_keeps_its_status(tmp_path: Path) -> None:
    command = [*_NAMESPACES, sys.executable, "-m", "tests.e2e.inside", str(tmp_path), "sh", "-c", "exit 0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
