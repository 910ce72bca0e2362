"""Waiting for a change in a directory, by inotify(7).

The kernel's interface is two calls and a file descriptor, so it is used directly instead of through a
library.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_LIBC = ctypes.CDLL(None, use_errno=True)
_IN_CREATE, _IN_MOVED_TO, _IN_DELETE, _IN_ATTRIB, _IN_DELETE_SELF = 0x100, 0x80, 0x200, 0x4, 0x400
_MASK = _IN_CREATE | _IN_MOVED_TO | _IN_DELETE | _IN_ATTRIB | _IN_DELETE_SELF


class DirectoryWatch:
    """Tells that something appeared in, changed in or left ``directory``, or the nearest parent that exists.

    Events from the moment of creation on are kept, so: watch first, look then, wait last.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._watched: Path | None = None
        self._fd: int = _LIBC.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise _error("inotify_init1")
        self._watch_nearest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        # The kernel takes ten to twenty milliseconds to end a watch, and nobody has to wait for that.
        threading.Thread(target=os.close, args=(self._fd,), name="end-of-watch", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait until something changed, at most ``seconds``; whether it did."""
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
            if _LIBC.inotify_add_watch(self._fd, os.fsencode(path), _MASK) >= 0:
                self._watched = path
                return
            if ctypes.get_errno() not in (errno.ENOENT, errno.ENOTDIR):
                raise _error(f"inotify_add_watch of {path}")


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
