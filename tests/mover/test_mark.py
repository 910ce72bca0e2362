"""The mark of a job on its target."""

from __future__ import annotations

import pytest

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.mover.disk import BLOCK, SECTOR
from csi_powerflex.mover.mark import Job, Mark

MARK = Mark.of(Job("job-1", "handle and snapshot"), 8 * 2**30).at(2**30)


def test_a_mark_is_read_as_it_was_written() -> None:
    block = MARK.block()
    assert len(block) == BLOCK
    assert Mark.read(block) == MARK


def test_the_longest_mark_fits_into_a_sector() -> None:
    block = Mark.of(Job.parse("j" * 63, "s" * 10_000), 2**62).at(2**62).block()
    assert block[SECTOR:] == bytes(BLOCK - SECTOR)
    assert Mark.read(block) is not None


@pytest.mark.parametrize("position", [0, 10, 30, 70, 150])
def test_a_damaged_mark_is_no_mark(position: int) -> None:
    block = bytearray(MARK.block())
    block[position] ^= 1
    assert Mark.read(bytes(block)) is None


@pytest.mark.parametrize("block", [bytes(BLOCK), b"\xeb\x63" + bytes(BLOCK - 2), b""])
def test_other_content_is_no_mark(block: bytes) -> None:
    assert Mark.read(block) is None


def test_a_mark_with_fields_of_another_version_is_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("msgspec.json.encode", lambda _mark: b'{"job":"job-1"}')
    block = MARK.block()
    monkeypatch.undo()
    assert Mark.read(block) is None


def test_marks_of_one_job_differ_only_in_how_far_it_is() -> None:
    assert MARK.is_of(MARK.at(0))
    assert not MARK.is_of(Mark.of(Job("job-1", "another snapshot"), MARK.size))
    assert not MARK.is_of(Mark.of(Job("job-2", "handle and snapshot"), MARK.size))
    assert not MARK.is_of(Mark.of(Job("job-1", "handle and snapshot"), MARK.size + SECTOR))


@pytest.mark.parametrize("name", ["", "-job", "job-", "a b", "j" * 64, "jöb", "job\n"])
def test_an_unusable_job_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="is not usable; give at most 63 letters"):
        Job.parse(name, "source")
