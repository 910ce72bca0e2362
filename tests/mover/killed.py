"""Runs a copy that kills itself at one of its steps: ``killed.py SOURCE TARGET STEP``.

A step is a write to a disk or a flush. SIGKILL comes before the step is done, or after half of a write.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from csi_powerflex.mover import copying
from csi_powerflex.mover.copying import CHUNK, Verify
from csi_powerflex.mover.disk import BLOCK, Buffer, Disk
from csi_powerflex.mover.mark import Job
from csi_powerflex.mover.outcome import Work

_left = int(sys.argv[3])
_write, _flush = Disk.write, Disk.flush


def _is_last() -> bool:
    global _left  # noqa: PLW0603 - the program counts its steps
    _left -= 1
    return _left == 0


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _written(self: Disk, buffer: Buffer, begin: int, end: int, offset: int) -> None:
    if _is_last():
        half = begin + (end - begin) // 2 // BLOCK * BLOCK
        if half > begin:
            _write(self, buffer, begin, half, offset)
        _end()
    _write(self, buffer, begin, end, offset)


def _flushed(self: Disk) -> None:
    if _is_last():
        _end()
    _flush(self)


def main() -> None:
    """Run the copy."""
    Disk.write, Disk.flush = _written, _flushed  # type: ignore[method-assign] # the steps
    copying.CHECKPOINT = CHUNK
    with Disk.source(Path(sys.argv[1])) as source, Disk.target(Path(sys.argv[2])) as target:
        copying.copy(source, target, Job("job-1", "the source"), verify=Verify.FULL, work=Work())


if __name__ == "__main__":
    main()
