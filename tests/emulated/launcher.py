"""Starts processes of the driver without importing it each time, which takes long in the emulated machine.

A child of this process, made before there are threads, waits for command lines. For each one, it makes a
child that runs the driver's own command line.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import csi_powerflex.app.node
import csi_powerflex.cli.node  # noqa: F401 - imported once, for all of its processes
from csi_powerflex.cli.main import main

_LINE_BYTES = 65536


class Launcher:
    """Starts ``csi-powerflex``. It must be made while the process has one thread."""

    def __init__(self) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            self._socket.close()
            _serve(other)
        other.close()

    def start(self, arguments: Sequence[str], log: Path) -> int:
        """Start the driver. Returns the process id."""
        self._socket.send(json.dumps([str(log), *arguments]).encode())
        return int(self._socket.recv(_LINE_BYTES))

    def close(self) -> None:
        """End the child that starts processes."""
        self._socket.close()


def _serve(requests: socket.socket) -> None:
    """Serve requests until the other side closes. It does not return."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel forgets processes that have ended
    while line := requests.recv(_LINE_BYTES):
        log, *arguments = json.loads(line)
        process = os.fork()
        if process == 0:
            requests.close()
            _become_driver(arguments, log)
        requests.send(str(process).encode())
    os._exit(0)


def _become_driver(arguments: Sequence[str], log: str) -> None:
    """Run the driver in this process. It does not return."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(descriptor, number)
    status = 1
    try:
        main(arguments, prog_name="csi-powerflex", standalone_mode=False)
        status = 0
    except BaseException:  # noqa: BLE001 - its text belongs into the log
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(status)
