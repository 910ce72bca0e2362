"""A memory cgroup for a process of a test, with the limit of a container of the chart."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import yaml

_GROUPS = Path("/sys/fs/cgroup")
_VALUES = Path(__file__).parents[1] / "charts" / "csi-powerflex" / "values.yaml"


def of_chart(part: str) -> int:
    """The limit of the driver's container of ``part``, "controller" or "node", in bytes."""
    limit = yaml.safe_load(_VALUES.read_text(encoding="utf-8"))[part]["resources"]["limits"]["memory"]
    assert isinstance(limit, str)
    assert limit.endswith("Mi"), limit
    return int(limit.removesuffix("Mi")) * 2**20


@contextlib.contextmanager
def limited(limit: int) -> Iterator[Path]:
    """A memory cgroup of version 1 or 2 with ``limit`` bytes. A process is moved to it by ``cgroup.procs``.

    Raises:
        OSError: this machine does not allow it.
    """
    parent = _GROUPS / "memory" if (_GROUPS / "memory").is_dir() else _GROUPS
    group = parent / f"csi-powerflex-tests-{os.getpid()}"
    group.mkdir()
    try:
        name = "memory.limit_in_bytes" if (group / "memory.limit_in_bytes").exists() else "memory.max"
        (group / name).write_text(str(limit))
        yield group
    finally:
        group.rmdir()
