"""What is wrong with volumes and with a node's storage, in CSI's terms (specification, VolumeHealth)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from csi_powerflex.ids import VolumeHandle


class HealthStatus(enum.Enum):
    """How bad an issue is, under the names of CSI's VolumeHealthErrorType."""

    DEGRADED = enum.auto()
    """Data is served, but something has failed."""
    INACCESSIBLE = enum.auto()
    """Some data cannot be read or written."""


@dataclass(frozen=True, slots=True)
class HealthIssue:
    """One thing that is wrong.

    Attributes:
        status: how bad it is.
        reason: one word in CamelCase, the same as long as the issue lasts.
        message: what was found, for people.
    """

    status: HealthStatus
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class VolumeHealth:
    """A volume and its issues; a healthy volume has none."""

    handle: VolumeHandle
    issues: tuple[HealthIssue, ...]
