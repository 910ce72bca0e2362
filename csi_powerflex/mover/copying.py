"""Copies of whole disks. Zeros are not written, an incomplete copy has a mark, and a copy can continue.

The target must be empty, which means that it reads as zeros, or have the mark of this very job
(``mover.mark``). Anything else is compared with the source, and refused unless it is equal. So nothing is
overwritten on a guess, and a job that is repeated after its end finds that it is done.

Parts of the source that are zero are not written, because the target is zero there already.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from csi_powerflex.model.mover import Phase
from csi_powerflex.mover.disk import BLOCK, Buffer, Disk, Extent
from csi_powerflex.mover.mark import Job, Mark
from csi_powerflex.mover.outcome import Different, Refused, TargetRefused, Work
from csi_powerflex.units import GIB, KIB, MIB, readable

CHUNK = 4 * MIB
"""What is read and compared at a time."""
GRAIN = 64 * KIB
"""The smallest part that is left out of a write because it is zero."""
CHECKPOINT = GIB
"""A job that is interrupted repeats at most this much."""
_SAMPLES = 64
_PROBES = 64


class Verify(enum.StrEnum):
    """How much of the result is read again and compared with the source."""

    SAMPLE = "sample"
    """The begin, the end, and 64 chunks spread over what was written."""
    FULL = "full"


class TargetState(enum.StrEnum):
    """What is known of the target."""

    UNKNOWN = "unknown"
    """All of it is read before the first write, and must be zero."""
    NEW = "new"
    """It was just created in a pool with zero padding. Only samples of it are read, and must be zero."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did. All values are bytes.

    Attributes:
        size: the size of the source.
        written: what this process wrote.
        resumed: where this process continued; 0 if it began.
    """

    size: int
    written: int
    resumed: int


def copy(
    source: Disk,
    target: Disk,
    job: Job,
    *,
    state: TargetState = TargetState.UNKNOWN,
    verify: Verify = Verify.SAMPLE,
    work: Work,
) -> Copied:
    """Copy a disk to a block device of the same size or larger.

    The part of the target after the end of the source stays zero. If this is interrupted anywhere, the same
    call continues.

    Raises:
        Refused: source and target are the same.
        TargetRefused: the target is too small, or has content that this job did not write.
        Different: what was written is not what was read.
        Stopped: the process has to end.
        Unavailable: one of them does not answer.
    """
    _check_sizes(source, target)
    copier = _Copier(source, target, work)
    mark = Mark.of(job, source.size)
    done = _begun(copier, mark, state)
    if done is None:
        return Copied(source.size, 0, 0)
    marked = _Marked(target, mark.at(done))
    copier.transfer(max(done, BLOCK), marked.move)
    target.flush()
    copier.verify(verify, begin=BLOCK)
    marked.require_own()
    copier.finish()
    return Copied(source.size, copier.written, done)


def copy_to_file(source: Disk, target: Disk, *, verify: Verify, work: Work) -> Copied:
    """Copy a disk to a new sparse file.

    Raises:
        Different: what was written is not what was read.
        Stopped: the process has to end.
        Unavailable: one of them does not answer.
    """
    copier = _Copier(source, target, work)
    copier.transfer(0, lambda _position: None)
    target.flush()
    copier.verify(verify, begin=0)
    return Copied(source.size, copier.written, 0)


def mark_of(target: Disk) -> Mark | None:
    """The mark on a target; None if it has none.

    Raises:
        Unavailable: the target does not answer.
    """
    if target.size < BLOCK:
        return None
    block = Buffer(BLOCK)
    target.read(block, 0, BLOCK)
    return Mark.read(bytes(block.view))


def begun_by_another(target: Disk, mark: Mark, job: str) -> str:
    """The message for a target that another job began."""
    return (
        f"the target {target.path} was begun by the job {mark.job}, and this is the job {job}; continue "
        "that job, or give an empty volume"
    )


def _check_sizes(source: Disk, target: Disk) -> None:
    if source.is_same_as(target):
        raise Refused(f"{source.path} and {target.path} are the same device; give two volumes")
    if target.size < max(source.size, BLOCK):
        raise TargetRefused(
            f"the source has {readable(source.size)}, and the target {target.path} only "
            f"{readable(target.size)}; give a volume of at least {readable(max(source.size, BLOCK))}"
        )


def _begun(copier: _Copier, mark: Mark, state: TargetState) -> int | None:
    """Where to continue; None if the target is complete. Marks the target if it is empty."""
    target = copier.target
    found = mark_of(target)
    if found is not None:
        if found.is_of(mark):
            return found.done
        if found.job != mark.job:
            raise TargetRefused(begun_by_another(target, found, mark.job))
        raise TargetRefused(
            f"the target {target.path} was begun by this job with another source: one of "
            f"{readable(found.size)} (checksum {found.source[:12]}), and now it has {readable(mark.size)} "
            f"(checksum {mark.source[:12]}); give an empty volume"
        )
    content = copier.first_content(state)
    if content is None:
        _save(target, mark)
        return 0
    if copier.is_complete():
        return None
    raise TargetRefused(
        f"the target {target.path} has content at byte {content}, and neither the mark of this job nor "
        "the data of the source; nothing was written to it; give an empty volume"
    )


def _save(target: Disk, mark: Mark) -> None:
    """Make durable what was written, and then the mark that says so."""
    target.flush()
    block = Buffer(BLOCK)
    block.view[:] = mark.block()
    target.write(block, 0, BLOCK, 0)
    target.flush()


class _Sample:
    """Keeps at most 64 parts of all that it is given, evenly spread."""

    def __init__(self) -> None:
        self._kept: list[Extent] = []
        self._every = 1
        self._seen = 0

    def add(self, part: Extent) -> None:
        if self._seen % self._every == 0:
            if len(self._kept) == _SAMPLES:
                self._kept = self._kept[::2]
                self._every *= 2
            self._kept.append(part)
        self._seen += 1

    def parts(self, begin: int, end: int) -> list[Extent]:
        """What was kept, and the first and the last block between ``begin`` and ``end``."""
        first = list(_chunks(begin, min(end, begin + BLOCK)))
        last = list(_chunks(max(begin, (end - 1) // BLOCK * BLOCK), end))
        return [*first, *self._kept, *last]


class _Marked:
    """A target with the mark of this process.

    The kernel and the array's mapping keep other writers away. If one comes all the same, such as the same
    job on another node, its mark is noticed here.
    """

    def __init__(self, target: Disk, mark: Mark) -> None:
        self._target = target
        self._mark = mark

    def move(self, position: int) -> None:
        """Make durable what was written before ``position``, and mark it.

        Raises:
            TargetRefused: another process has written to the target.
        """
        self.require_own()
        self._mark = self._mark.at(position)
        _save(self._target, self._mark)

    def require_own(self) -> None:
        """Make sure that the mark is the last one of this process.

        Raises:
            TargetRefused: it is not.
        """
        if mark_of(self._target) != self._mark:
            raise TargetRefused(
                f"the first block of the target {self._target.path} was changed by another process "
                "meanwhile; make sure that only one job has the volume, then start it again"
            )


@dataclass
class _Copier:
    """Source and target with a buffer for each."""

    source: Disk
    target: Disk
    work: Work
    written: int = 0
    _from: Buffer = field(default_factory=lambda: Buffer(CHUNK))
    _to: Buffer = field(default_factory=lambda: Buffer(CHUNK))
    _sample: _Sample = field(default_factory=_Sample)

    def first_block_of(self, disk: Disk) -> bytes:
        """The first block, filled with zeros if the disk is shorter."""
        length = min(BLOCK, disk.size)
        self._to.clear(0, BLOCK)
        disk.read(self._to, 0, length)
        return bytes(self._to.view[:BLOCK])

    def first_content(self, state: TargetState) -> int | None:
        """Where the target has the first content that was looked at; None if there is none."""
        size = self.target.size
        parts = _chunks(0, size) if state is TargetState.UNKNOWN else _probes(size)
        self.work.begin(Phase.CHECKING, size)
        for part in parts:
            length = part.end - part.begin
            self.target.read(self._to, part.begin, length)
            if not self._to.is_zero(0, length):
                return part.begin + _first_nonzero(self._to, length)
            self.work.at(part.end)
        return None

    def is_complete(self) -> bool:
        """Whether the target has all data of the source, and zeros after it."""
        size = self.source.size
        self.work.begin(Phase.VERIFYING, self.target.size)
        for part in _chunks(0, size):
            if not self._is_equal(part):
                return False
        for part in _chunks(size, self.target.size):
            length = part.end - part.begin
            self.target.read(self._to, part.begin, length)
            if not self._to.is_zero(0, length):
                return False
            self.work.at(part.end)
        return True

    def transfer(self, begin: int, save: Callable[[int], None]) -> None:
        """Write all data of the source from ``begin`` on, and save the position now and then."""
        self.work.begin(Phase.WRITING, self.source.size, at=begin)
        saved, position = begin, begin
        while (data := self.source.next_data(position)).begin < self.source.size:
            for part in _chunks(data.begin, min(data.end, self.source.size)):
                self._write(part)
                if part.end - saved >= CHECKPOINT:
                    save(part.end)
                    saved = part.end
                self.work.at(part.end)
            position = data.end
        self.work.end(self.source.size)

    def verify(self, how: Verify, *, begin: int) -> None:
        """Read the target again, and compare it with the source.

        Raises:
            Different: they differ.
        """
        size = self.source.size
        parts = list(_chunks(begin, size)) if how is Verify.FULL else self._sample.parts(begin, size)
        self.work.begin(Phase.VERIFYING, size)
        for part in parts:
            if not self._is_equal(part):
                raise Different(
                    f"the target {self.target.path} differs from the source between the bytes "
                    f"{part.begin} and {part.end} after it was written; do not use it, and check the devices"
                )
        self.work.end(size)

    def finish(self) -> None:
        """Write the first block of the source over the mark. Only now the target looks like the source.

        Raises:
            Different: the first block is not what was written.
        """
        block = Buffer(BLOCK)
        block.view[:] = self.first_block_of(self.source)
        self.target.write(block, 0, BLOCK, 0)
        self.target.flush()
        self.written += BLOCK
        if self.first_block_of(self.target) != bytes(block.view):
            raise Different(
                f"the first block of {self.target.path} is not what was written to it; do not use it, and "
                "check the device"
            )

    def _is_equal(self, part: Extent) -> bool:
        length = part.end - part.begin
        self.source.read(self._from, part.begin, length)
        self.target.read(self._to, part.begin, length)
        self.work.at(part.end)
        return self._from.equals(self._to, 0, length)

    def _write(self, part: Extent) -> None:
        length = part.end - part.begin
        self.source.read(self._from, part.begin, length)
        if self._from.is_zero(0, length):
            return
        self._sample.add(part)
        for run in _runs(self._from, length):
            self.target.write(self._from, run.begin, run.end, part.begin + run.begin)
            self.written += run.end - run.begin


def _chunks(begin: int, end: int) -> Iterator[Extent]:
    """The parts between two offsets, each within one aligned chunk."""
    while begin < end:
        stop = min(end, (begin // CHUNK + 1) * CHUNK)
        yield Extent(begin, stop)
        begin = stop


def _probes(size: int) -> Iterator[Extent]:
    """The first and the last MiB of a disk, and the first blocks of 64 parts of it."""
    yield Extent(0, min(MIB, size))
    for number in range(1, _PROBES):
        begin = size * number // _PROBES // BLOCK * BLOCK
        yield Extent(begin, min(begin + BLOCK, size))
    yield Extent(max(0, (size - MIB) // BLOCK * BLOCK), size)


def _runs(buffer: Buffer, length: int) -> Iterator[Extent]:
    """The parts of a buffer that are not zero, in whole grains."""
    begin = None
    for at in range(0, length, GRAIN):
        if buffer.is_zero(at, min(at + GRAIN, length)):
            if begin is not None:
                yield Extent(begin, at)
            begin = None
        elif begin is None:
            begin = at
    if begin is not None:
        yield Extent(begin, length)


def _first_nonzero(buffer: Buffer, length: int) -> int:
    """The block with the first byte that is not zero; there is one."""
    return next(at for at in range(0, length, BLOCK) if not buffer.is_zero(at, min(at + BLOCK, length)))
