"""What the kernel says about a device while a command works on it.

mount(8) says "wrong fs type, bad option" for many reasons, and that dmesg(1) may have more. The owner of a
pod cannot read the kernel's log. So the lines that name the device become part of the error.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

KMSG = Path("/dev/kmsg")
"""The kernel's log. Each read returns a record: ``priority,number,time,flags;text`` and lines of details."""

_RECORD_BYTES = 8192
# The most that is read and kept. A broken disk can fill the log with thousands of lines.
_MOST_RECORDS = 1000
_MOST_LINES = 5
_MOST_CHARACTERS = 500


@contextlib.contextmanager
def lines_about(device: Path) -> Iterator[Callable[[], str]]:
    """During the block, the yielded function returns what the kernel has said of ``device`` since its begin.

    This is at most the last 5 different lines, joined by semicolons. It is empty if there are none, or if
    this process may not read the kernel's log. Lines of other devices are left out.
    """
    try:
        descriptor = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        yield lambda: ""
        return
    try:
        with contextlib.suppress(OSError):
            os.lseek(descriptor, 0, os.SEEK_END)
        yield lambda: _about(device.name, descriptor)
    finally:
        os.close(descriptor)


def _about(name: str, descriptor: int) -> str:
    names_device = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")
    found: dict[str, None] = {}
    for text in _texts(descriptor):
        if names_device.search(text):
            found[text] = None
    return "; ".join(list(found)[-_MOST_LINES:])[:_MOST_CHARACTERS]


def _texts(descriptor: int) -> Iterator[str]:
    """The text of each record that can be read now."""
    for _ in range(_MOST_RECORDS):
        try:
            record = os.read(descriptor, _RECORD_BYTES)
        except BrokenPipeError:
            continue  # the kernel has overwritten the record; the next one can be read
        except OSError:
            return  # there are no more
        if not record:
            return
        for line in record.decode(errors="replace").splitlines():
            head, separator, text = line.partition(";")
            if separator and head[:1].isdigit():
                yield text.strip()
