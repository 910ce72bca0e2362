"""Volumes and snapshots as documents for programs, with keys that stay the same."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from typing import Any

import click
import yaml

from csi_powerflex.model.cluster import ObjectName
from csi_powerflex.operations.controller.inventory.importing import Manifest, obstacles
from csi_powerflex.operations.controller.inventory.records import Inventory, MappedHost, Record
from csi_powerflex.operations.controller.inventory.undeleting import Deleted

Document = dict[str, Any]


def of_inventory(found: Inventory, key: str, now: datetime.datetime) -> Document:
    """A list under ``key``, and what could not be read."""
    return {
        key: [of_record(record, now) for record in found.records],
        "problems": list(found.problems),
        "unknown": list(found.cluster.unknown),
    }


def of_one(record: Record, unknown: Sequence[str], now: datetime.datetime) -> Document:
    """One object, with what stands in the way of its import."""
    return {**of_record(record, now), "importObstacles": list(obstacles(record)), "unknown": list(unknown)}


def of_deleted(item: Deleted) -> Document:
    """One volume in the trash."""
    record = item.record
    return {
        "handle": str(record.handle),
        "name": str(item.name),
        "system": record.system,
        "pool": record.pool,
        "sizeBytes": record.volume.size,
        "due": _time(item.due),
        "treeMembers": record.tree_members,
    }


def of_record(record: Record, now: datetime.datetime) -> Document:
    """One volume or snapshot. Sizes are bytes, times are in UTC. null: it does not apply, or is not known."""
    volume = record.volume
    common: Document = {
        "handle": str(record.handle),
        "name": volume.name,
        "system": record.system,
        "systemId": record.handle.system_id,
        "pool": record.pool,
        "owner": record.owner.value,
        "cluster": record.cluster,
        "uid": record.uid,
        "sizeBytes": volume.size,
        "provisioning": volume.provisioning.value if volume.provisioning else None,
        "access": volume.access_limit.value,
        "created": _time(volume.created),
        "ageSeconds": int(record.age(now).total_seconds()),
        "treeMembers": record.tree_members,
        "source": record.source,
        "sourceClaim": _name(record.source_claim),
        "hosts": [_host(host) for host in record.hosts],
    }
    if record.snapshot:
        return {"kind": "snapshot", **common, **_of_snapshot(record)}
    return {"kind": "volume", **common, **_of_volume(record)}


def _of_volume(record: Record) -> Document:
    found = record.persistent_volume
    limits = record.requested
    return {
        "claim": _name(record.claim),
        "requestedLimits": {"iopsLimit": limits.iops, "bandwidthLimitInKbps": limits.bandwidth_kbps}
        if limits
        else None,
        "persistentVolume": {
            "name": found.name,
            "driver": found.driver,
            "phase": found.phase,
            "reclaimPolicy": found.reclaim_policy,
            "storageClass": found.storage_class,
            "hold": found.hold or None,
        }
        if found
        else None,
        "snapshotPolicy": _policy(record),
    }


def _of_snapshot(record: Record) -> Document:
    found = record.content
    locked = record.volume.locked_until
    return {
        "snapshot": _name(found.snapshot) if found else None,
        "snapshotContent": {
            "name": found.name,
            "driver": found.driver,
            "deletionPolicy": found.deletion_policy,
        }
        if found
        else None,
        "group": record.volume.group_id,
        "lockedUntil": _time(locked) if locked else None,
        "snapshotPolicy": _policy(record),
        "lockedByPolicy": record.volume.policy_locked if record.volume.taken_by else None,
    }


def _policy(record: Record) -> Document | None:
    return {"id": record.policy.id, "name": record.policy.name} if record.policy else None


def _host(host: MappedHost) -> Document:
    return {
        "node": host.node,
        "name": host.name,
        "id": host.id,
        "initiator": str(host.initiator) if host.initiator else None,
        "access": host.access.value,
        "iopsLimit": host.limits.iops,
        "bandwidthLimitInKbps": host.limits.bandwidth_kbps,
    }


def _name(name: ObjectName | None) -> Document | None:
    return {"namespace": name.namespace, "name": name.name} if name else None


def _time(time: datetime.datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def echo(document: object, form: str) -> None:
    """Print a document as ``json`` or ``yaml``."""
    if form == "json":
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(yaml.safe_dump(document, sort_keys=False), nl=False)


def echo_manifests(manifests: Sequence[Manifest], comment: str, form: str) -> None:
    """Print objects of Kubernetes: in YAML one after another below a comment, in JSON as a List."""
    if form == "json":
        echo({"apiVersion": "v1", "kind": "List", "items": list(manifests)}, form)
        return
    click.echo(f"# {comment}")
    click.echo(yaml.safe_dump_all(manifests, sort_keys=False), nl=False)
