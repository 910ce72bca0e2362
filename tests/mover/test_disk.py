"""Disks whose kernel calls fail, and disks that allow no direct I/O."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csi_powerflex.errors import Unavailable
from csi_powerflex.mover.disk import BLOCK, Buffer, Disk, Extent
from csi_powerflex.units import MIB

Failing = Callable[..., Any]


def failing(number: int) -> Failing:
    """A kernel call that ends in this error."""

    def fail(*_arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(b"x" * MIB)
    return path


def new_file(file: Path) -> Disk:
    """A new file in place of one."""
    file.unlink()
    return Disk.new_file(file, MIB)


def test_a_file_that_exists_is_not_opened_as_a_new_one(file: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be created: File exists"):
        Disk.new_file(file, MIB)
    assert file.read_bytes() == b"x" * MIB


def test_errors_of_the_kernel_are_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = Buffer(BLOCK)
    with new_file(file) as disk:
        monkeypatch.setattr(os, "preadv", failing(errno.EIO))
        with pytest.raises(Unavailable, match="reading 4096 bytes at 0 ended in Input/output error"):
            disk.read(buffer, 0, BLOCK)
        monkeypatch.setattr(os, "pwritev", failing(errno.ENOSPC))
        with pytest.raises(Unavailable, match="writing 4096 bytes at 8192 ended in No space left"):
            disk.write(buffer, 0, BLOCK, 8192)
        monkeypatch.setattr(os, "fsync", failing(errno.EIO))
        with pytest.raises(Unavailable, match="flushing it ended in Input/output error"):
            disk.flush()
        monkeypatch.setattr(os, "lseek", failing(errno.EIO))
        with pytest.raises(Unavailable, match="looking for data after 0 ended in Input/output error"):
            disk.next_data(0)


def test_a_file_that_cannot_be_made_long_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "ftruncate", failing(errno.EFBIG))
    with pytest.raises(Unavailable, match="cannot be made 1 MiB long: File too large"):
        new_file(file)


def test_a_folder_without_direct_io_is_used_without_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.open

    def opened(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return original(path, flags, mode)

    monkeypatch.setattr(os, "open", opened)
    buffer = Buffer(BLOCK)
    with Disk.source(file) as disk:
        disk.read(buffer, 100, 1000)
    assert bytes(buffer.view[:1000]) == b"x" * 1000


def test_a_new_file_without_direct_io_is_written_without_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = fcntl.fcntl

    def changed(descriptor: int, command: int, value: int = 0) -> int:
        if value & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return original(descriptor, command, value)

    monkeypatch.setattr(fcntl, "fcntl", changed)
    with new_file(file) as disk:
        assert not original(disk._descriptor, fcntl.F_GETFL) & os.O_DIRECT
        disk.write(Buffer(BLOCK), 0, BLOCK, 0)


def test_a_new_file_is_written_with_direct_io(file: Path) -> None:
    with new_file(file) as disk:
        assert fcntl.fcntl(disk._descriptor, fcntl.F_GETFL) & os.O_DIRECT


def test_a_part_that_direct_io_cannot_read_or_write_is_done_without_it(file: Path) -> None:
    buffer = Buffer(BLOCK)
    with Disk.source(file) as disk:
        disk.read(buffer, 10, 100)
        disk.read(buffer, 20, 100)
    assert bytes(buffer.view[:100]) == b"x" * 100
    with new_file(file) as disk:
        disk.write(buffer, 0, 100, 10)
    assert file.read_bytes()[:200] == bytes(10) + b"x" * 100 + bytes(90)


def test_an_error_without_direct_io_ends(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = Buffer(BLOCK)
    monkeypatch.setattr(os, "preadv", failing(errno.EINVAL))
    monkeypatch.setattr(os, "pwritev", failing(errno.EINVAL))
    with new_file(file) as disk:
        with pytest.raises(Unavailable, match="Invalid argument"):
            disk.read(buffer, 0, BLOCK)
        assert not fcntl.fcntl(disk._descriptor, fcntl.F_GETFL) & os.O_DIRECT
        with pytest.raises(Unavailable, match="Invalid argument"):
            disk.write(buffer, 0, BLOCK, 0)


def test_short_reads_and_writes_are_continued(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write, buffer = os.preadv, os.pwritev, Buffer(2 * BLOCK)
    monkeypatch.setattr(os, "preadv", lambda number, views, at: read(number, [views[0][:BLOCK]], at))
    monkeypatch.setattr(os, "pwritev", lambda number, views, at: write(number, [views[0][:BLOCK]], at))
    with Disk.source(file) as disk:
        disk.read(buffer, 0, 2 * BLOCK)
    assert bytes(buffer.view) == b"x" * 2 * BLOCK
    with new_file(file) as disk:
        disk.write(buffer, 0, 2 * BLOCK, BLOCK)
    assert file.read_bytes()[: 4 * BLOCK] == bytes(BLOCK) + b"x" * 2 * BLOCK + bytes(BLOCK)


def test_a_sparse_file_tells_its_data(file: Path) -> None:
    with new_file(file) as disk:
        assert disk.next_data(0) == Extent(MIB, MIB)
        buffer = Buffer(BLOCK)
        buffer.view[:1] = b"x"
        disk.write(buffer, 0, BLOCK, 64 * BLOCK)
        disk.flush()
        found = disk.next_data(0)
        assert found.begin <= 64 * BLOCK < found.end


def test_buffers_are_compared_without_a_copy() -> None:
    one, other = Buffer(BLOCK), Buffer(BLOCK)
    assert one.is_zero(0, BLOCK)
    assert one.is_zero(5, 6)
    other.view[BLOCK - 1 :] = b"x"
    assert not other.is_zero(0, BLOCK)
    assert other.is_zero(0, BLOCK - 1)
    assert not one.equals(other, 0, BLOCK)
    assert one.equals(other, 0, BLOCK - 1)
    other.clear(BLOCK - 1, BLOCK)
    assert other.is_zero(0, BLOCK)
