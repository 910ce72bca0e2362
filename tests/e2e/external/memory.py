"""The memory of the driver's processes in the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_ROLES = ("controller", "node")


def memory_table() -> str:
    """A table of Markdown: the resident memory of each process now, and the most that it has had, in MiB."""
    rows = [f"| {role} | {now / 1024:.0f} | {most / 1024:.0f} |" for role, now, most in sorted(_processes())]
    if not rows:
        return ""
    return "\n".join(["| driver's process | MiB resident | at most |", "| --- | --- | --- |", *rows])


def _processes() -> Iterator[tuple[str, int, int]]:
    """The role of each process of the driver, its resident memory, and the most that it has had, in KiB."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            status = (folder / "status").read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        programs = [word.rpartition("/")[2] for word in words]
        # Another program may have started it, and have its name among the arguments.
        if not programs[0].startswith("python") or "csi-powerflex" not in programs:
            continue
        role = programs[programs.index("csi-powerflex") + 1]
        if role in _ROLES:
            sizes = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("Vm"))
            yield role, int(sizes["VmRSS"].split()[0]), int(sizes["VmHWM"].split()[0])
