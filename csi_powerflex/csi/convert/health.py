"""Health, as both the controller and the node answer it."""

from __future__ import annotations

from csi_powerflex.model.health import HealthIssue, HealthStatus, VolumeHealth
from csi_powerflex.pb import csi_pb2

_STORAGE_STATUS = {
    HealthStatus.DEGRADED: csi_pb2.STORAGE_DEGRADED,
    HealthStatus.INACCESSIBLE: csi_pb2.STORAGE_UNREACHABLE,
}


def volume_health(health: VolumeHealth) -> csi_pb2.VolumeHealth:
    """A volume and its issues."""
    return csi_pb2.VolumeHealth(
        volume_id=str(health.handle),
        health_statuses=[
            csi_pb2.VolumeHealth.VolumeHealthEntry(
                status=csi_pb2.VolumeHealthErrorType.Value(issue.status.name),
                reason=issue.reason,
                message=issue.message,
            )
            for issue in health.issues
        ],
    )


def storage_health(issue: HealthIssue) -> csi_pb2.NodeGetStorageHealthResponse.StorageBackendHealth:
    """One issue of a node's storage."""
    return csi_pb2.NodeGetStorageHealthResponse.StorageBackendHealth(
        status=_STORAGE_STATUS[issue.status], reason=issue.reason, message=issue.message
    )
