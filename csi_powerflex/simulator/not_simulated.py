"""What public clients call and the simulator does not answer, with the reason. Such a call is a 404."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Missing:
    """Calls that are not simulated. ``path`` is a pattern with ``*``; ``why`` is a phrase."""

    path: str
    why: str


_MANAGER = "PowerFlex Manager's own resources (deployments, servers, firmware)"
_INSTALLER = "the installer of systems before 4.0"
_REPLICATION = "replication; its lists are empty"
_CLUSTER = "changes of the MDM cluster itself"
_ACCELERATION = "acceleration pools; their list is empty"
_HARDWARE = "work on real disks and servers"
_SECURITY = "certificates, licenses and the log of the cluster"

TABLE = (
    Missing("/Api/V1/*", _MANAGER),
    Missing("/api/V1/*", _MANAGER),
    Missing("/api/v1/*", _MANAGER),
    Missing("/im/*", _INSTALLER),
    Missing("/api/gatewayInstaller/*", _INSTALLER),
    Missing("/rest/v1/*", "file services except their lists, and changes of users"),
    Missing("/api/types/PeerMdm/instances", _REPLICATION),
    Missing("/api/types/ReplicationConsistencyGroup/instances", _REPLICATION),
    Missing("/api/types/ReplicationPair/instances", _REPLICATION),
    Missing("/api/types/ReplicationPair/instances/action/*", _REPLICATION),
    Missing("/api/instances/PeerMdm::{id}/action/*", _REPLICATION),
    Missing("/api/instances/ReplicationConsistencyGroup::{id}/action/*", _REPLICATION),
    Missing("/api/instances/ReplicationConsistencyGroup::{id}/relationships/ReplicationPair", _REPLICATION),
    Missing("/api/instances/ReplicationPair::{id}/action/*", _REPLICATION),
    Missing("/api/instances/Volume::{id}/action/markForReplication", _REPLICATION),
    Missing("/api/instances/Volume::{id}/action/unmarkForReplication", _REPLICATION),
    Missing("/api/types/AccelerationPool/instances", _ACCELERATION),
    Missing("/api/instances/AccelerationPool::{id}/action/*", _ACCELERATION),
    Missing("/api/instances/System/action/addStandbyMdm", _CLUSTER),
    Missing("/api/instances/System/action/removeStandbyMdm", _CLUSTER),
    Missing("/api/instances/System/action/switchClusterMode", _CLUSTER),
    Missing("/api/instances/System/action/modifyVirtualIpInterfaces", _CLUSTER),
    Missing("/api/types/StorageNode/instances", _HARDWARE),
    Missing("/api/types/Node/instances", _HARDWARE),
    Missing("/api/instances/StorageNode::{id}/action/*", _HARDWARE),
    Missing("/api/instances/Node::{id}/action/*", _HARDWARE),
    Missing("/api/types/DeviceGroup/instances", _HARDWARE),
    Missing("/api/instances/DeviceGroup::{id}/action/*", _HARDWARE),
)
"""A type that has a list, and cannot be created, stands here with the path of its list."""


def reason(path: str) -> str | None:
    """Why a call with this path is not simulated; None if no row has it."""
    return next((row.why for row in TABLE if fnmatchcase(path, row.path)), None)
