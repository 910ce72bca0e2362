"""The reason that the kernel gives for a mount that fails is part of the error."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from csi_powerflex.host import kernel_log, mounts, run
from csi_powerflex.host.run import CommandFailed, Tools

DEVICE = Path("/dev/loop7")


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of the kernel's log, with a line about the device from before."""
    path = tmp_path / "kmsg"
    path.write_text("6,1,1,-;XFS (loop7): Ending clean mount\n")
    monkeypatch.setattr(kernel_log, "KMSG", path)
    return path


def say(log: Path, *texts: str) -> None:
    with log.open("a") as file:
        file.writelines(f"4,2,2,-;{text}\n SUBSYSTEM=block\n DEVICE=b7:7\n" for text in texts)


def test_lines_about_the_device_since_the_begin_are_returned(log: Path) -> None:
    with kernel_log.lines_about(DEVICE) as lines:
        say(log, "XFS (loop7): Deprecated V4 format (crc=0) not supported by kernel.", "EXT4-fs (loop1): x")
        assert lines() == "XFS (loop7): Deprecated V4 format (crc=0) not supported by kernel."


@pytest.mark.parametrize(
    "text", ["I/O error, dev loop71, sector 8", "loop7-part: x", "dm-loop7: x", "xloop7: y", "loop"]
)
def test_lines_about_other_devices_are_left_out(log: Path, text: str) -> None:
    with kernel_log.lines_about(DEVICE) as lines:
        say(log, text)
        assert lines() == ""


@pytest.mark.parametrize(
    "text",
    ["EXT4-fs (loop7): bad geometry", "BTRFS error (device loop7): x", "I/O error, dev loop7, sector 8 op"],
)
def test_each_way_to_name_the_device_is_known(log: Path, text: str) -> None:
    with kernel_log.lines_about(DEVICE) as lines:
        say(log, text)
        assert lines() == text


def test_the_last_few_different_lines_are_kept_and_their_length_is_limited(log: Path) -> None:
    with kernel_log.lines_about(DEVICE) as lines:
        say(log, *(f"I/O error, dev loop7, sector {number // 2}" for number in range(200)))
        assert lines() == "; ".join(f"I/O error, dev loop7, sector {number}" for number in range(95, 100))
    with kernel_log.lines_about(DEVICE) as lines:
        say(log, "XFS (loop7): " + "x" * 5000)
        assert len(lines()) == 500


def test_a_log_that_may_not_be_read_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_log, "KMSG", tmp_path / "absent")
    with kernel_log.lines_about(DEVICE) as lines:
        assert lines() == ""


@pytest.mark.parametrize(
    ("errors", "expected"),
    [([errno.EPIPE], "XFS (loop7): a"), ([errno.EAGAIN], ""), ([errno.EINVAL], "")],
    ids=["overwritten", "no more", "unreadable"],
)
def test_errors_of_the_log_are_no_errors_of_the_mount(
    log: Path, monkeypatch: pytest.MonkeyPatch, errors: list[int], expected: str
) -> None:
    read = os.read

    def failing(descriptor: int, length: int) -> bytes:
        if errors:
            raise OSError(errors.pop(), "of the log")
        return read(descriptor, length)

    with kernel_log.lines_about(DEVICE) as lines:
        say(log, "XFS (loop7): a")
        monkeypatch.setattr("csi_powerflex.host.kernel_log.os.read", failing)
        found = lines()
        monkeypatch.undo()
    assert found == expected


def test_a_failed_mount_has_the_reason_of_the_kernel(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "mount"
    tool.write_text(
        f"#!/bin/sh\necho '3,9,9,-;XFS (loop7): Invalid superblock magic number' >> {log}\n"
        "echo 'mount: wrong fs type, bad option' >&2\nexit 32\n"
    )
    tool.chmod(0o755)
    monkeypatch.setattr(run, "tools", Tools(f"{tmp_path}:/usr/bin:/bin"))
    for call in (
        lambda: mounts.mount(DEVICE, tmp_path, filesystem="xfs", options=["ro"]),
        lambda: mounts.remount(DEVICE, tmp_path, options=["rw"]),
    ):
        with pytest.raises(CommandFailed) as failed:
            call()
        assert failed.value.code == 32
        assert failed.value.stderr == "mount: wrong fs type, bad option"
        assert str(failed.value).endswith(
            "bad option. The kernel says: XFS (loop7): Invalid superblock magic number"
        )
