"""Processes of the driver that tests break: forked from a server that has everything imported.

So they start in milliseconds, and have nothing of the test process's threads.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.forkserver import ensure_running

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.controller.breaking", "tests.node.breakable"])


def start_server() -> None:
    """Start the server that children are forked from, outside of any test's mount namespace."""
    ensure_running()
