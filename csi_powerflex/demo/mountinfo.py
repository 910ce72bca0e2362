"""The mounts that this process sees, from /proc/self/mountinfo (proc(5)).

The driver has its own reader. The demo must not use it, as it checks what the driver did.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount: its mount point, the type of its filesystem, and its source, such as a device."""

    point: str
    filesystem: str
    source: str


def read() -> list[Mount]:
    """All mounts, in the order in which they were made."""
    return parse(os.fsdecode(Path("/proc/self/mountinfo").read_bytes()))


def parse(table: str) -> list[Mount]:
    """The mounts in the text of a mountinfo file."""
    # Only a newline ends a line. Other characters that splitlines() takes for an end can be part of a path.
    return [_parse_line(line) for line in table.split("\n") if line]


def _parse_line(line: str) -> Mount:
    left, _, right = line.partition(" - ")
    filesystem, source, _ = right.split(" ", 2)
    return Mount(_unescaped(left.split(" ")[4]), filesystem, _unescaped(source))


def _unescaped(text: str) -> str:
    """``text`` without the octal escapes that the kernel writes for space, tab, newline and backslash."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)
