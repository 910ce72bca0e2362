"""What root may not do on this machine, so that tests cannot check it."""

from __future__ import annotations

from pathlib import Path

_CAP_SYS_RESOURCE = 24


def may_grow_ext4() -> bool:
    """Whether a mounted ext4 can grow. The kernel requires CAP_SYS_RESOURCE for it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff")), 16)
    return bool(effective >> _CAP_SYS_RESOURCE & 1)
