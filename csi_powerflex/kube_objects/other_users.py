"""Which PersistentVolumes and VolumeSnapshotContents name a handle that shall be deleted.

It needs the permission to list both kinds. A list begins after the call that asks. Calls that come at the
same time share it, and there is one list of a kind at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from csi_powerflex.errors import DeadlineExceeded, DriverError, NotFound, Unavailable
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.kube.client import Client, KubeObject, ObjectMeta
from csi_powerflex.kube_objects.reader import CONTENTS, VOLUMES
from csi_powerflex.shared_read import SharedRead

_LIST_SECONDS = 60.0
# Callers that come within this share of the time of the last list join the next one.
_PAUSE = 0.25

_DELETE = "Delete"
_RELEASED = "Released"


class _CsiSource(msgspec.Struct, frozen=True, rename="camel"):
    volume_handle: str = ""


class _VolumeSpec(msgspec.Struct, frozen=True, rename="camel"):
    csi: _CsiSource | None = None
    persistent_volume_reclaim_policy: str = ""


class _VolumeStatus(msgspec.Struct, frozen=True):
    phase: str = ""


class _Volume(KubeObject, frozen=True):
    spec: _VolumeSpec = _VolumeSpec()
    status: _VolumeStatus = _VolumeStatus()


class _SnapshotHandle(msgspec.Struct, frozen=True, rename="camel"):
    snapshot_handle: str | None = None


class _ContentMeta(ObjectMeta, frozen=True, rename="camel"):
    deletion_timestamp: str = ""


class _ContentSpec(msgspec.Struct, frozen=True, rename="camel"):
    deletion_policy: str = ""
    source: _SnapshotHandle = _SnapshotHandle()


class _Content(KubeObject, frozen=True):
    metadata: _ContentMeta = _ContentMeta()
    spec: _ContentSpec = _ContentSpec()
    status: _SnapshotHandle | None = None


# msgspec crashes if two threads are the first to decode a type. Here only one thread runs.
for _type in (_Volume, _Content):
    msgspec.json.Decoder(_type)

_Users = Mapping[str, Sequence[str]]


class _Found(NamedTuple):
    """An object. ``kept`` is whether it wants to keep what has the handle."""

    handle: str
    described: str
    kept: bool


class ListedUsers:
    """An OtherUsers that lists the objects of a cluster.

    Args:
        client: how to reach the cluster.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._volumes = SharedRead(self._list_volumes, seconds=_LIST_SECONDS, pause=_PAUSE)
        self._contents = SharedRead(self._list_contents, seconds=_LIST_SECONDS, pause=_PAUSE)

    def of_volume(self, handle: VolumeHandle) -> Sequence[str]:
        """See ``OtherUsers.of_volume``. PersistentVolumes of other drivers count too."""
        return _asked(self._volumes.get, handle, "PersistentVolumes")

    def of_snapshot(self, handle: VolumeHandle) -> Sequence[str]:
        """See ``OtherUsers.of_snapshot``. VolumeSnapshotContents of other drivers count too."""
        return _asked(self._contents.get, handle, "VolumeSnapshotContents")

    def _list_volumes(self) -> _Users:
        return _kept(
            _Found(item.spec.csi.volume_handle, _described_volume(item), kept=not _is_released(item))
            for item in self._client.list(VOLUMES, _Volume).items
            if item.spec.csi is not None
        )

    def _list_contents(self) -> _Users:
        try:
            found = self._client.list(CONTENTS, _Content).items
        except NotFound:
            return {}  # a cluster without this resource has no such objects
        return _kept(
            _Found(_content_handle(item), _described_content(item), kept=not _is_being_deleted(item))
            for item in found
        )


def _asked(read: Callable[[], _Users], handle: VolumeHandle, kind: str) -> Sequence[str]:
    try:
        return read().get(str(handle), ())
    except DeadlineExceeded:
        raise
    except DriverError as error:
        raise Unavailable(
            f"{handle} was not deleted, because the {kind} that may have it cannot be listed: {error}"
        ) from error


def _kept(found: Iterable[_Found]) -> _Users:
    """By handle, all objects of those handles that at least one object keeps."""
    users: dict[str, list[str]] = {}
    kept: set[str] = set()
    for item in found:
        users.setdefault(item.handle, []).append(item.described)
        if item.kept:
            kept.add(item.handle)
    return {handle: users[handle] for handle in kept}


def _is_released(volume: _Volume) -> bool:
    """Whether the volume shall be deleted, as far as this PersistentVolume is concerned."""
    return (volume.status.phase, volume.spec.persistent_volume_reclaim_policy) == (_RELEASED, _DELETE)


def _described_volume(volume: _Volume) -> str:
    phase = volume.status.phase or "without a phase"
    policy = volume.spec.persistent_volume_reclaim_policy or "not set"
    return f"PersistentVolume {volume.metadata.name} ({phase}, reclaim policy {policy})"


def _described_content(content: _Content) -> str:
    state = "being deleted" if content.metadata.deletion_timestamp else "not being deleted"
    policy = content.spec.deletion_policy or "not set"
    return f"VolumeSnapshotContent {content.metadata.name} ({state}, deletion policy {policy})"


def _content_handle(content: _Content) -> str:
    taken = content.status.snapshot_handle if content.status else None
    return taken or content.spec.source.snapshot_handle or ""


def _is_being_deleted(content: _Content) -> bool:
    """Whether the snapshot shall be deleted, as far as this VolumeSnapshotContent is concerned."""
    return bool(content.metadata.deletion_timestamp) and content.spec.deletion_policy == _DELETE
