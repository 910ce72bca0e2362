"""A simulator with many objects, in a process of its own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_START_SECONDS = 300.0


@contextlib.contextmanager
def running(module: str, folder: Path, *numbers: int, ready: Path) -> Iterator[int]:
    """Run a module that serves an array with files in ``folder``, during the block. Yields its process id.

    The module gets the folder and the numbers as arguments. It serves when it has written the file ``ready``.
    """
    command = [sys.executable, "-m", module, str(folder), *map(str, numbers)]
    with subprocess.Popen(command) as process:
        try:
            until = time.monotonic() + _START_SECONDS
            while not ready.exists():
                assert process.poll() is None, f"the simulator ended with status {process.returncode}"
                assert time.monotonic() < until, f"the simulator was not ready in {_START_SECONDS} s"
                time.sleep(0.05)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
