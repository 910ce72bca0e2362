"""The errors that a mounted filesystem has counted, from sysfs."""

from __future__ import annotations

import contextlib
from pathlib import Path

_SYSFS = Path("/sys/fs")


def recorded(device: Path, filesystem_type: str) -> str:
    """What the filesystem on ``device`` has counted, in words; empty for none, or where the type
    does not count."""
    with contextlib.suppress(FileNotFoundError):
        if filesystem_type == "ext4":
            count = int((_SYSFS / "ext4" / device.name / "errors_count").read_text())
            return f"{count} since the last check" if count else ""
        if filesystem_type == "btrfs":
            return "; ".join(
                ", ".join(line for line in stats.read_text().splitlines() if not line.endswith(" 0"))
                for stats in _btrfs_counters(device)
            )
    return ""


def _btrfs_counters(device: Path) -> list[Path]:
    return [
        link.parent.parent / "devinfo" / "1" / "error_stats"
        for link in (_SYSFS / "btrfs").glob(f"*/devices/{device.name}")
    ]
