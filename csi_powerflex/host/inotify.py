"""Waiting for a change in a directory, by inotify(7).

The kernel's interface is two calls and a file descriptor, so no library is needed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from csi_powerflex.host.syscalls import LIBC, last_error

_IN_CREATE, _IN_MOVED_TO, _IN_DELETE, _IN_ATTRIB, _IN_DELETE_SELF = 0x100, 0x80, 0x200, 0x4, 0x400
_MASK = _IN_CREATE | _IN_MOVED_TO | _IN_DELETE | _IN_ATTRIB | _IN_DELETE_SELF


class DirectoryWatch:
    """Waits for an entry of ``directory`` to appear, change or disappear.

    While the directory does not exist, its nearest parent that exists is watched. Events are kept from the
    creation of the watch on. So create the watch first, then look at the directory, then wait.

    The kernel limits the watches of a user (fs.inotify.max_user_instances, often 128). Above the limit,
    ``wait`` waits the whole time. So give it a short time, and look at the directory again.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._watched: Path | None = None
        self._fd: int = LIBC.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0 and ctypes.get_errno() not in (errno.EMFILE, errno.ENFILE):
            raise last_error("inotify_init1")
        if self._fd >= 0:
            self._watch_nearest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        if self._fd < 0:
            return
        # The kernel takes 10 to 20 ms to end a watch. The caller does not have to wait for that.
        threading.Thread(target=os.close, args=(self._fd,), name="inotify-close", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait for a change, at most ``seconds``. Returns whether something changed."""
        if self._fd < 0:
            time.sleep(max(seconds, 0.0))
            return False
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        ready = poll.poll(max(seconds, 0.0) * 1000)
        if ready:
            self._drain()
        if self._watched != self._directory:
            self._watch_nearest()
        return bool(ready)

    def _drain(self) -> None:
        try:
            while os.read(self._fd, 65536):
                pass
        except BlockingIOError:
            return

    def _watch_nearest(self) -> None:
        for path in (self._directory, *self._directory.parents):
            if LIBC.inotify_add_watch(self._fd, os.fsencode(path), _MASK) >= 0:
                self._watched = path
                return
            if ctypes.get_errno() not in (errno.ENOENT, errno.ENOTDIR):
                raise last_error(f"inotify_add_watch of {path}")
