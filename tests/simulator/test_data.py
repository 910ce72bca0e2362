"""The data of volumes: snapshots, clones, restores and errors of writers."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.controller.eventually import eventually
from tests.simulator.client import Array
from tests.simulator.devices import mapped, simulated

pytestmark = pytest.mark.needs("devices")

BLOCK = 4096
SLOTS = 64


class Writer:
    """Writes record n to every device in turn, before it writes record n + 1 to any of them."""

    def __init__(self, *devices: Path) -> None:
        self.written = 0
        self.error: OSError | None = None
        self._files = [os.open(device, os.O_RDWR | os.O_DIRECT) for device in devices]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Writer:
        self._thread.start()
        eventually(lambda: self.written > SLOTS)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        for file in self._files:
            os.close(file)

    def _run(self) -> None:
        block = mmap.mmap(-1, BLOCK)  # direct I/O needs memory that is aligned to a page
        number = 0
        while not self._stopped.is_set():
            number += 1
            block[:8] = number.to_bytes(8)
            try:
                for file in self._files:
                    os.pwrite(file, block, number % SLOTS * BLOCK)
            except OSError as error:
                self.error = error
                return
            self.written = number


def last_record(device: Path) -> int:
    """The newest record on a device. The device must also have the records before it."""
    with device.open("rb") as opened:
        content = opened.read(SLOTS * BLOCK)
    records = sorted(int.from_bytes(content[at : at + 8]) for at in range(0, len(content), BLOCK))
    assert records == list(range(records[0], records[0] + SLOTS))
    return records[-1]


@contextmanager
def mapped_read_only(array: Array, volume_id: str) -> Iterator[Path]:
    device = mapped(array, volume_id, "b", accessMode="ReadOnly")
    yield device
    array.unmap(volume_id, "b")


@pytest.mark.needs("btrfs")  # copies of several files are not consistent
@pytest.mark.parametrize(("version", "action"), [("4.5", "snapshotVolumes"), ("5.0", "createThinClone")])
def test_a_group_snapshot_is_consistent(tmp_path: Path, version: str, action: str) -> None:
    with simulated(tmp_path, version) as array:
        first, second = array.create(), array.create()
        with Writer(mapped(array, first), mapped(array, second)) as writer:
            for _ in range(50):
                before = writer.written
                snapshots = array.snapshot(first, second, action=action)
                after = writer.written
                with (
                    mapped_read_only(array, snapshots[0]) as one,
                    mapped_read_only(array, snapshots[1]) as two,
                ):
                    ahead, behind = last_record(one), last_record(two)
                assert behind <= ahead <= behind + 1
                assert before <= ahead <= after + 1
                for snapshot in snapshots:
                    array.volume_action(snapshot, "removeVolume", removeMode="ONLY_ME")
            assert writer.error is None


def test_a_snapshot_keeps_its_data_when_the_volume_changes(tmp_path: Path) -> None:
    with simulated(tmp_path) as array:
        volume_id = array.create()
        device = mapped(array, volume_id)
        original = fill(device)
        (snapshot,) = array.snapshot(volume_id, accessModeLimit="ReadOnly")
        changed = fill(device)
        with mapped_read_only(array, snapshot) as frozen:
            assert digest(frozen) == original
        assert digest(device) == changed != original


def test_writes_to_a_clone_do_not_change_its_source(tmp_path: Path) -> None:
    with simulated(tmp_path) as array:
        volume_id = array.create()
        device = mapped(array, volume_id)
        original = fill(device)
        (clone,) = array.snapshot(volume_id, accessModeLimit="ReadWrite")
        copy = mapped(array, clone, "b")
        assert digest(copy) == original
        changed = fill(copy)
        assert (digest(device), digest(copy)) == (original, changed)


def test_a_restore_changes_the_data_of_the_mapped_device(tmp_path: Path) -> None:
    with simulated(tmp_path) as array:
        volume_id = array.create()
        device = mapped(array, volume_id)
        original = fill(device)
        (snapshot,) = array.snapshot(volume_id, accessModeLimit="ReadOnly")
        assert fill(device) != original
        array.volume_action(volume_id, "overwriteVolumeContent", srcVolumeId=snapshot)
        eventually(lambda: digest(device) == original)


def test_a_restore_from_a_volume_that_was_never_written_leaves_zeros(tmp_path: Path) -> None:
    with simulated(tmp_path) as array:
        volume_id = array.create()
        (snapshot,) = array.snapshot(volume_id, accessModeLimit="ReadOnly")
        device = mapped(array, volume_id)
        blank = digest(device)
        assert fill(device) != blank
        array.volume_action(volume_id, "overwriteVolumeContent", srcVolumeId=snapshot)
        eventually(lambda: digest(device) == blank)


def test_unmapping_during_writes_is_an_error_for_the_writer(tmp_path: Path) -> None:
    with simulated(tmp_path) as array:
        volume_id = array.create()
        with Writer(mapped(array, volume_id)) as writer:
            array.unmap(volume_id)
            eventually(lambda: writer.error is not None)
        assert writer.error is not None
        assert writer.error.errno in (errno.EIO, errno.ENOSPC)


def test_acknowledged_writes_survive_unmapping(tmp_path: Path) -> None:
    with simulated(tmp_path) as array:
        volume_id = array.create()
        with Writer(mapped(array, volume_id)) as writer:
            array.unmap(volume_id)
            eventually(lambda: writer.error is not None)
            acknowledged = writer.written
        with mapped_read_only(array, volume_id) as device:
            assert last_record(device) in (acknowledged, acknowledged + 1)


def test_written_bytes_count_as_used_capacity(tmp_path: Path) -> None:
    with simulated(tmp_path) as array:
        path = f"/api/instances/StoragePool::{array.pool_id}/relationships/Statistics"
        before = array.get(path)
        fill(mapped(array, array.create()))
        time.sleep(1.1)  # the figures are at most one second old
        after = array.get(path)
        assert after["netCapacityInUseInKb"] - before["netCapacityInUseInKb"] == 4096
        assert before["netUnusedCapacityInKb"] - after["netUnusedCapacityInKb"] == 4096


def fill(device: Path) -> str:
    """Write 4 MiB of random data. Returns the digest of the device's first 8 MiB."""
    file = os.open(device, os.O_WRONLY)
    try:
        os.pwrite(file, os.urandom(4 << 20), 1 << 20)
        os.fsync(file)
    finally:
        os.close(file)
    return digest(device)


def digest(device: Path) -> str:
    file = os.open(device, os.O_RDONLY)
    try:
        return hashlib.sha256(os.pread(file, 8 << 20, 0)).hexdigest()
    finally:
        os.close(file)
