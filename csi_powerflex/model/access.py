"""What a volume is and what its mappings allow, in terms that the node and the classes use too.

The node does not load the objects of the array, which are in ``model.array``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Provisioning(enum.StrEnum):
    """How a volume takes space from its pool. Snapshots and copies are always thin."""

    THIN = "thin"
    THICK = "thick"
    COMPRESSED = "compressed"


class Access(enum.StrEnum):
    """What a mapping allows its host to do, or what a volume allows each mapping."""

    READ_WRITE = "ReadWrite"
    READ_ONLY = "ReadOnly"


@dataclass(frozen=True, slots=True)
class Limits:
    """The QoS limits of one mapping; 0 is unlimited."""

    iops: int = 0
    bandwidth_kbps: int = 0
