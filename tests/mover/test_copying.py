"""Copies of disks between real block devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_powerflex.errors import InvalidArgument, Unavailable
from csi_powerflex.model.mover import Phase
from csi_powerflex.mover import copying
from csi_powerflex.mover.copying import CHUNK, Copied, TargetState, Verify
from csi_powerflex.mover.disk import BLOCK, Buffer, Disk
from csi_powerflex.mover.mark import Job, Mark
from csi_powerflex.mover.outcome import Different, Refused, Stopped, TargetRefused, Work
from csi_powerflex.units import KIB, MIB
from tests.mover.conftest import MakeLoop
from tests.mover.devices import SOME_DATA, Loop, disk, sparse

pytestmark = pytest.mark.needs("devices")

SIZE = 12 * MIB
JOB = Job("job-1", "the source")


def copy(
    source: Path,
    target: Path,
    job: Job = JOB,
    *,
    state: TargetState = TargetState.UNKNOWN,
    verify: Verify = Verify.SAMPLE,
    work: Work | None = None,
) -> Copied:
    with Disk.source(source) as read, Disk.target(target) as written:
        return copying.copy(read, written, job, state=state, verify=verify, work=work or Work())


@pytest.fixture
def source(make_loop: MakeLoop) -> Loop:
    made = make_loop(SIZE)
    made.put(disk(SIZE, SOME_DATA), 0)
    return made


@pytest.mark.parametrize("state", TargetState)
@pytest.mark.parametrize("verify", Verify)
def test_a_copy_is_equal_and_writes_only_data(
    source: Loop, make_loop: MakeLoop, state: TargetState, verify: Verify
) -> None:
    target = make_loop(SIZE)
    copied = copy(source.path, target.path, state=state, verify=verify)
    assert target.content() == source.content()
    assert copied.size == SIZE
    assert copied.written <= sum(SOME_DATA.values()) + 5 * copying.GRAIN
    assert target.file.stat().st_blocks * 512 < SIZE // 4


def test_the_rest_of_a_larger_target_stays_zero(source: Loop, make_loop: MakeLoop) -> None:
    target = make_loop(SIZE + 3 * MIB)
    copy(source.path, target.path)
    assert target.content() == source.content() + bytes(3 * MIB)


def test_a_sparse_file_is_copied_without_its_holes(tmp_path: Path, make_loop: MakeLoop) -> None:
    content = disk(SIZE, {MIB + 5: 10, 7 * MIB: MIB})
    file = tmp_path / "disk.raw"
    with file.open("wb") as made:
        for offset in range(0, SIZE, 4 * KIB):
            if any(part := content[offset : offset + 4 * KIB]):
                made.seek(offset)
                made.write(part)
        made.truncate(SIZE)
    target = make_loop(SIZE)
    copy(file, target.path, verify=Verify.FULL)
    assert target.content() == content


def test_a_source_of_odd_sectors_is_copied(tmp_path: Path, make_loop: MakeLoop) -> None:
    content = sparse(9 * 512, {0: 9 * 512})
    file = tmp_path / "small.raw"
    file.write_bytes(content)
    target = make_loop(MIB)
    copy(file, target.path, verify=Verify.FULL)
    assert target.content() == content + bytes(MIB - len(content))


def test_a_source_of_one_sector_is_copied(tmp_path: Path, make_loop: MakeLoop) -> None:
    file = tmp_path / "sector.raw"
    file.write_bytes(b"x" * 512)
    target = make_loop(MIB)
    copy(file, target.path)
    assert target.content() == b"x" * 512 + bytes(MIB - 512)


@pytest.mark.parametrize("state", TargetState)
@pytest.mark.parametrize("offset", [0, 4095, 64 * KIB, SIZE - 1])
def test_a_target_with_content_is_refused_and_not_touched(
    source: Loop, make_loop: MakeLoop, offset: int, state: TargetState
) -> None:
    target = make_loop(SIZE)
    target.put(b"\x01", offset)
    before = target.content()
    with pytest.raises(
        TargetRefused, match=rf"has content at byte {offset // BLOCK * BLOCK}, .* nothing was written"
    ):
        copy(source.path, target.path, state=state)
    assert target.content() == before


def test_content_after_the_end_of_the_source_is_refused(source: Loop, make_loop: MakeLoop) -> None:
    target = make_loop(SIZE + MIB)
    target.put(source.content(), 0)
    target.put(b"\x01", SIZE + MIB // 2)
    with pytest.raises(TargetRefused, match="has content at byte 0"):
        copy(source.path, target.path)


@pytest.mark.parametrize("first_block", [True, False])
def test_a_job_that_is_repeated_after_its_end_finds_that_it_is_done(
    make_loop: MakeLoop, first_block: bool
) -> None:
    source, target = make_loop(SIZE), make_loop(SIZE + MIB)
    source.put(sparse(SIZE, {0 if first_block else 100 * KIB: 300 * KIB}), 0)
    copy(source.path, target.path)
    assert copy(source.path, target.path) == Copied(SIZE, 0, 0)
    assert target.content() == source.content() + bytes(MIB)


def test_a_target_that_is_too_small_is_refused(source: Loop, make_loop: MakeLoop) -> None:
    target = make_loop(SIZE - MIB)
    with pytest.raises(
        TargetRefused, match=r"the source has 12 MiB, and the target .* only 11 MiB; give a volume"
    ):
        copy(source.path, target.path)


def test_a_target_without_space_for_a_mark_is_refused(tmp_path: Path, make_loop: MakeLoop) -> None:
    file = tmp_path / "sector.raw"
    file.write_bytes(b"x" * 512)
    target = make_loop(2048)
    with pytest.raises(TargetRefused, match="give a volume of at least 4 KiB"):
        copy(file, target.path)
    with Disk.target(target.path) as opened:
        assert copying.mark_of(opened) is None


def test_source_and_target_must_differ(source: Loop) -> None:
    with pytest.raises(Refused, match="are the same device"):
        copy(source.path, source.path)


def test_a_target_of_another_job_is_refused(source: Loop, make_loop: MakeLoop) -> None:
    target = make_loop(SIZE)
    target.put(Mark.of(Job("job-0", "the source"), SIZE).block(), 0)
    with pytest.raises(TargetRefused, match="was begun by the job job-0, and this is the job job-1"):
        copy(source.path, target.path)


def test_a_target_of_this_job_with_another_source_is_refused(source: Loop, make_loop: MakeLoop) -> None:
    target = make_loop(SIZE)
    target.put(Mark.of(Job("job-1", "an older snapshot"), SIZE).block(), 0)
    with pytest.raises(TargetRefused, match="was begun by this job with another source"):
        copy(source.path, target.path)


def test_a_stopped_copy_continues_at_its_last_mark(
    source: Loop, make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "CHECKPOINT", CHUNK)
    target, work = make_loop(SIZE), Work()
    original = Work.at

    def at(self: Work, position: int) -> None:
        if self._phase is Phase.WRITING and position > CHUNK:
            self.stop.set()
        original(self, position)

    monkeypatch.setattr(Work, "at", at)
    with pytest.raises(Stopped, match="start the same job again"):
        copy(source.path, target.path, work=work)
    monkeypatch.setattr(Work, "at", original)
    assert Mark.read(target.content()[:BLOCK]) is not None
    assert copy(source.path, target.path).resumed == 2 * CHUNK
    assert target.content() == source.content()


def test_a_target_that_lost_a_write_is_found(
    source: Loop, make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, write = make_loop(SIZE), Disk.write

    def losing(self: Disk, buffer: Buffer, begin: int, end: int, offset: int) -> None:
        if offset < MIB or self.path != target.path:
            write(self, buffer, begin, end, offset)

    monkeypatch.setattr(Disk, "write", losing)
    with pytest.raises(Different, match=r"differs from the source between the bytes 4194304 and 8388608"):
        copy(source.path, target.path)


def test_a_first_block_that_is_lost_is_found(
    source: Loop, make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, write, seen = make_loop(SIZE), Disk.write, list[int]()

    def losing(self: Disk, buffer: Buffer, begin: int, end: int, offset: int) -> None:
        seen.append(offset)
        if seen.count(0) < 2 or offset:
            write(self, buffer, begin, end, offset)

    monkeypatch.setattr(Disk, "write", losing)
    with pytest.raises(Different, match=r"the first block of .* is not what was written"):
        copy(source.path, target.path)


@pytest.mark.parametrize("phase", [Phase.WRITING, Phase.VERIFYING])
def test_a_second_writer_is_noticed(
    source: Loop, make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch, phase: Phase
) -> None:
    monkeypatch.setattr(copying, "CHECKPOINT", CHUNK)
    target, begin = make_loop(SIZE), Work.begin

    def begun(self: Work, now: Phase, total: int | None, *, at: int = 0) -> None:
        begin(self, now, total, at=at)
        if now is phase:
            target.put(source.content()[:BLOCK], 0)  # the same job on another node has ended

    monkeypatch.setattr(Work, "begin", begun)
    with pytest.raises(TargetRefused, match="was changed by another process meanwhile"):
        copy(source.path, target.path)
    assert target.content()[:BLOCK] == source.content()[:BLOCK]


def test_a_target_in_use_is_refused(source: Loop, make_loop: MakeLoop) -> None:
    target = make_loop(SIZE)
    with Disk.target(target.path), pytest.raises(TargetRefused, match="is in use on this host"):
        copy(source.path, target.path)


def test_a_target_that_is_a_file_is_refused(source: Loop, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(SIZE))
    with pytest.raises(InvalidArgument, match="is not a block device"):
        copy(source.path, file)


def test_a_source_that_is_a_folder_or_missing_is_refused(tmp_path: Path, make_loop: MakeLoop) -> None:
    target = make_loop(SIZE)
    with pytest.raises(InvalidArgument, match="neither a block device nor a regular file"):
        copy(tmp_path, target.path)
    with pytest.raises(Unavailable, match="cannot be opened: No such file"):
        copy(tmp_path / "missing", target.path)
    with pytest.raises(Unavailable, match="cannot be opened: No such file"):
        copy(target.path, tmp_path / "missing")


@pytest.mark.parametrize("length", [0, 1000])
def test_a_source_without_whole_sectors_is_refused(tmp_path: Path, make_loop: MakeLoop, length: int) -> None:
    file = tmp_path / "odd.raw"
    file.write_bytes(b"x" * length)
    with pytest.raises(Refused, match=f"has {length} bytes, and a disk has one or more whole sectors"):
        copy(file, make_loop(SIZE).path)


def test_a_source_that_becomes_shorter_is_noticed(tmp_path: Path, make_loop: MakeLoop) -> None:
    file, target = tmp_path / "disk.raw", make_loop(SIZE)
    file.write_bytes(disk(SIZE, SOME_DATA))
    with Disk.source(file) as read, Disk.target(target.path) as written:
        with file.open("r+b") as opened:
            opened.truncate(6 * MIB)
        with pytest.raises(Unavailable, match="ended at 6291456, before its 12582912 bytes were read"):
            copying.copy(read, written, JOB, work=Work(), verify=Verify.FULL)


def test_a_file_is_made_of_a_disk(source: Loop, tmp_path: Path) -> None:
    with Disk.source(source.path) as read, Disk.new_file(tmp_path / "out.raw", SIZE) as made:
        copied = copying.copy_to_file(read, made, verify=Verify.FULL, work=Work())
    assert (tmp_path / "out.raw").read_bytes() == source.content()
    assert copied.written < SIZE // 4


def test_a_sample_keeps_at_most_64_parts_and_the_ends() -> None:
    sample = copying._Sample()
    parts = list(copying._chunks(0, 1000 * CHUNK))
    for part in parts:
        sample.add(part)
    kept = sample.parts(BLOCK, 1000 * CHUNK)
    assert 32 <= len(kept) <= 66
    assert kept[0].begin == BLOCK
    assert kept[-1].end == 1000 * CHUNK
    assert kept[-2].begin > 900 * CHUNK
