"""Health issues of volumes and of a node's storage, in CSI's terms (specification, VolumeHealth)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from csi_powerflex.ids import VolumeHandle


class HealthStatus(enum.Enum):
    """How serious an issue is, with the names of CSI's VolumeHealthErrorType."""

    DEGRADED = enum.auto()
    """Data is served, but something has failed."""
    INACCESSIBLE = enum.auto()
    """Some data cannot be read or written."""


@dataclass(frozen=True, slots=True)
class HealthIssue:
    """One problem.

    Attributes:
        status: how serious it is.
        reason: one word in CamelCase. It does not change while the issue lasts.
        message: what was found, for a human reader.
    """

    status: HealthStatus
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class VolumeHealth:
    """A volume and its issues; a healthy volume has none."""

    handle: VolumeHandle
    issues: tuple[HealthIssue, ...]
