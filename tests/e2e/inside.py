"""The first process of the namespaces of a run: ``python -m tests.e2e.inside FOLDER COMMAND...``.

It runs the command. After the end of it, however it ended, it kills what still runs here, and detaches the
loop devices of the run: only here, the files below them still have their paths. A device that was left makes
the run fail.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.e2e import loops


def main(folder: Path, command: Sequence[str]) -> int:
    """Run the command, then clean up; returns the exit status."""
    # The command gets the same signals from the terminal, and decides. A handler is not inherited.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)
    process = subprocess.Popen(command)
    status = _ended(process.pid)
    _kill_all()
    left = loops.remove(folder)
    for each in left:
        print(f"left behind, and taken away: {each}", file=sys.stderr)
    return status or bool(left)


def _ended(pid: int) -> int:
    """Wait for a process, and for all that lose their parents meanwhile; returns its exit status."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _kill_all() -> None:
    """Kill all processes of this process namespace but this one, and wait for their end."""
    if os.getpid() != 1:
        raise RuntimeError("this would kill the processes of the machine")
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
