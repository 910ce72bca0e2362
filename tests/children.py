"""Processes of the driver that tests interrupt. They are forked from a server with all imports done.

So they start in milliseconds, and have no threads of the test process.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.forkserver import ensure_running
from pathlib import Path

_START_SECONDS = 60.0

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.controller.interruption", "tests.node.interruption"])


def start_server() -> None:
    """Start the server that children are forked from, outside of any test's mount namespace."""
    ensure_running()


def wait_for_socket(socket: Path, running: Callable[[], bool]) -> None:
    """Wait until a process has created its socket. Then it can be called.

    A gRPC channel that connects too early tries again only a tenth of a second later.
    """
    until = time.monotonic() + _START_SECONDS
    while not socket.exists():
        assert running(), f"the process ended before it served on {socket}"
        assert time.monotonic() < until, f"the process does not serve on {socket}"
        time.sleep(0.001)
