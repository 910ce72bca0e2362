"""The operator's custom resources. The chart's CustomResourceDefinitions are made from this list."""

from __future__ import annotations

from csi_powerflex.operator.api import Definition
from csi_powerflex.operator.copies.definition import DEFINITION as VOLUME_COPY
from csi_powerflex.operator.exports.definition import DEFINITION as VOLUME_EXPORT
from csi_powerflex.operator.images.definition import DEFINITION as VOLUME_IMAGE
from csi_powerflex.operator.moves.definition import DEFINITION as VOLUME_MOVE
from csi_powerflex.operator.reverts.definition import DEFINITION as VOLUME_REVERT
from csi_powerflex.operator.schedules.definition import DEFINITION as SNAPSHOT_SCHEDULE

DEFINITIONS: tuple[Definition, ...] = (
    SNAPSHOT_SCHEDULE,
    VOLUME_COPY,
    VOLUME_EXPORT,
    VOLUME_IMAGE,
    VOLUME_MOVE,
    VOLUME_REVERT,
)
