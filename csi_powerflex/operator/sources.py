"""A source that a data mover can read while the claim is used: a block-mode claim of a snapshot.

The volume of the claim itself is never given to a mover. So a mover cannot change it, needs no second
PersistentVolume of it, and passes every hold. A snapshot of a filesystem claim is opened in block mode with
the annotation that Kubernetes has for it ("Volume mode conversion", external-snapshotter).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from csi_powerflex.errors import FailedPrecondition, NotFound
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.operator.objects import SNAPSHOT_GROUP, Snapshot, claims, snapshots
from csi_powerflex.operator.owned import Owned, Whole, was_made_for
from csi_powerflex.operator.quantities import whole_bytes
from csi_powerflex.operator.windows.closing import DELETE, Volumes, filesystem_of

FILESYSTEM = "Filesystem"
"""The volume mode of a claim that gives none."""

CONTENTS = f"/apis/{SNAPSHOT_GROUP}/volumesnapshotcontents"
MODE_CHANGE = "snapshot.storage.kubernetes.io/allow-volume-mode-change"
"""On a VolumeSnapshotContent: a claim of it may have another mode than its source."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be read.

    Attributes:
        storage_class: the StorageClass of the temporary volume that is read.
        mode: Filesystem or Block; empty if it is not known.
        filesystem: the filesystem on the volume; empty if it is not known, or for none.
        size: in bytes; 0 if it is not known.
    """

    storage_class: str
    mode: str
    filesystem: str
    size: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot that is ready.

    Attributes:
        name: the VolumeSnapshot.
        content: its VolumeSnapshotContent.
        handle: what identifies the data.
        size: the least size of a volume with its data, in bytes.
        mode: Filesystem or Block, as its source; empty if it is not known.
    """

    name: str
    content: str
    handle: str
    size: int
    mode: str = ""


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of one object.

    Attributes:
        owned: makes their objects.
        driver_name: the driver's CSI name.
    """

    owned: Owned
    driver_name: str

    def look(self, claim: str, snapshot: str, *, storage_class: str, field: str) -> Source:
        """Whether a claim, or else a snapshot, can be read, and what it is.

        Args:
            claim: the claim; empty for a snapshot.
            snapshot: the VolumeSnapshot.
            storage_class: the StorageClass that the user has given; empty for that of the claim.
            field: the field of the specification that gives a StorageClass, for messages.

        Raises:
            NotFound, FailedPrecondition: it is missing, is not ready, or has another driver; or a class is
                missing.
            DriverError: the cluster does not answer.
        """
        mode, size = "", 0
        if not claim:
            taken = self.taken(snapshot)
            mode, size = taken.mode, taken.size
            claim = self.owned.client.get(snapshots(self.owned.namespace), snapshot, Snapshot).claim
        found = self.owned.find(claims(self.owned.namespace), claim) if claim else None
        volume = self._volume(found) if found is not None else None
        if size == 0:
            if found is None or volume is None:
                raise _missing(claim, found)
            self._require_driver(found, volume)
            mode = str(volume.spec.get("volumeMode") or FILESYSTEM)
            size = size_of(volume.spec.get("capacity"))
        return Source(
            storage_class or _class_of(claim, found, field),
            mode,
            filesystem_of(volume) if volume is not None and mode == FILESYSTEM else "",
            size,
        )

    def _volume(self, claim: Whole) -> Whole | None:
        """The PersistentVolume of a claim; None if it is not bound."""
        name = str(claim.spec.get("volumeName") or "") if claim.phase == "Bound" else ""
        return self.owned.find(VOLUMES, name) if name else None

    def _require_driver(self, claim: Whole, volume: Whole) -> None:
        driver = (volume.spec.get("csi") or {}).get("driver")
        if driver != self.driver_name:
            raise FailedPrecondition(
                f"claim {claim.metadata.name} has a volume of driver {driver or 'none'}, and not of "
                f"{self.driver_name}"
            )

    def snapshot(self, name: str, claim: str, snapshot_class: str) -> None:
        """Create the snapshot of a claim, if it does not exist.

        Raises:
            FailedPrecondition: a snapshot of someone else has the name.
            DriverError: the cluster does not answer, or refuses it.
        """
        spec: dict[str, Any] = {"source": {"persistentVolumeClaimName": claim}}
        if snapshot_class:
            spec["volumeSnapshotClassName"] = snapshot_class
        self.owned.ensure(
            snapshots(self.owned.namespace),
            {
                "apiVersion": SNAPSHOT_GROUP,
                "kind": "VolumeSnapshot",
                "metadata": {"name": name},
                "spec": spec,
            },
        )

    def taken(self, name: str) -> Taken:
        """A snapshot that is ready.

        Raises:
            NotFound: it does not exist, or is not ready yet; the message says why.
            FailedPrecondition: it is not of this driver.
            DriverError: the cluster does not answer.
        """
        found = self.owned.client.get(snapshots(self.owned.namespace), name, Snapshot)
        content_name = found.status.bound_volume_snapshot_content_name
        if not found.ready or not content_name:
            why = f": {found.problem}" if found.problem else ""
            raise NotFound(f"VolumeSnapshot {name} is not ready to use{why}")
        content = self.owned.client.get(CONTENTS, content_name, Whole)
        if content.spec.get("volumeSnapshotRef", {}).get("uid") != found.metadata.uid:
            raise NotFound(f"VolumeSnapshotContent {content_name} is not bound to VolumeSnapshot {name}")
        if content.spec.get("driver") != self.driver_name:
            raise FailedPrecondition(
                f"VolumeSnapshot {name} belongs to driver {content.spec.get('driver')}, and not to "
                f"{self.driver_name}"
            )
        handle, size = content.status.get("snapshotHandle"), content.status.get("restoreSize")
        if not handle or not size:
            raise NotFound(f"VolumeSnapshotContent {content_name} has no handle or size yet")
        mode = str(content.spec.get("sourceVolumeMode") or "")
        return Taken(name, content_name, str(handle), int(size), mode)

    def opened(self, taken: Taken, *, recorded: str) -> bool:
        """Open a snapshot of a filesystem claim in block mode, if it is not, and if this is recorded.

        Args:
            taken: the snapshot.
            recorded: the VolumeSnapshotContent that the status of the owner names; empty for none.

        Returns:
            Whether it is open. If not, the content must be recorded first, so that it is shut in any case.

        Raises:
            NotFound: the content does not exist any more.
            DriverError: the cluster does not answer, or refuses the change.
        """
        content = self.owned.client.get(CONTENTS, taken.content, Whole)
        if taken.mode != FILESYSTEM or content.metadata.annotations.get(MODE_CHANGE) == "true":
            return True
        if recorded != taken.content:
            return False
        self._annotate(taken.content, "true")
        return True

    def shut(self, content: str) -> None:
        """Undo ``opened``. Returns without error if the content does not exist any more.

        Raises DriverError: the cluster does not answer, or refuses the change.
        """
        try:
            self._annotate(content, None)
        except NotFound:
            return

    def _annotate(self, content: str, value: str | None) -> None:
        self.owned.client.patch(CONTENTS, content, {"metadata": {"annotations": {MODE_CHANGE: value}}})

    def claim(self, name: str, taken: Taken, storage_class: str) -> Whole:
        """A claim in block mode with the data of a snapshot, which is created if it does not exist.

        It may be Pending until a pod uses it.

        Raises:
            FailedPrecondition: a claim of someone else has the name.
            DriverError: the cluster does not answer, or refuses it.
        """
        return self.owned.ensure(
            claims(self.owned.namespace),
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name},
                "spec": {
                    "storageClassName": storage_class,
                    "volumeMode": "Block",
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": str(taken.size)}},
                    "dataSource": {
                        "apiGroup": SNAPSHOT_GROUP.partition("/")[0],
                        "kind": "VolumeSnapshot",
                        "name": taken.name,
                    },
                },
            },
        )

    def require_made(self, name: str) -> None:
        """Look that the claim of ``claim`` has a volume that was made of the snapshot, after it was read.

        Raises:
            FailedPrecondition: it was deleted, or has a PersistentVolume that existed before.
            DriverError: the cluster does not answer.
        """
        found = self.owned.find(claims(self.owned.namespace), name)
        volume = self._volume(found) if found is not None and self.owned.is_own(found) else None
        if found is None or volume is None:
            raise FailedPrecondition(f"claim {name} was deleted, so it is not known what was read")
        if not was_made_for(volume.metadata.name, found.metadata.uid):
            raise FailedPrecondition(
                f"claim {name} has got PersistentVolume {volume.metadata.name}, which existed before, so "
                "other data were read; reserve it for another claim"
            )

    def discard(self, name: str) -> bool:
        """Begin to remove a claim of ``claim`` with its volume, also if its class keeps volumes.

        Returns whether the claim does not exist any more. One of someone else is left alone. A volume that
        existed before is kept.

        Raises:
            Busy: someone has changed its PersistentVolume at the same time.
            DriverError: the cluster does not answer.
        """
        path = claims(self.owned.namespace)
        found = self.owned.find(path, name)
        own = found if found is not None and self.owned.is_own(found) else None
        named = str(own.spec.get("volumeName") or "") if own is not None else ""
        volume = self.owned.find(VOLUMES, named) if named else None
        if own is not None and volume is not None:
            with contextlib.suppress(NotFound):
                Volumes(self.owned.client).let_go(volume, own.metadata.uid)
        return self.owned.remove(path, name)

    def discard_snapshot(self, name: str) -> bool:
        """Begin to remove a snapshot of ``snapshot``, on the array too, also if its class keeps snapshots.

        Returns whether it does not exist any more. One of someone else is left alone. Raises DriverError: the
        cluster does not answer.
        """
        path = snapshots(self.owned.namespace)
        found = self.owned.find(path, name)
        if found is not None and self.owned.is_own(found):
            content = str(found.status.get("boundVolumeSnapshotContentName") or "")
            # A snapshot may also have a content that existed before.
            if was_made_for(content, found.metadata.uid):
                with contextlib.suppress(NotFound):
                    self.owned.client.patch(CONTENTS, content, {"spec": {"deletionPolicy": DELETE}})
        return self.owned.remove(path, name)


def size_of(amounts: Mapping[str, Any] | None) -> int:
    """The storage of a capacity or of requests, in bytes; 0 if it is not known."""
    try:
        return whole_bytes(str((amounts or {}).get("storage", "")))
    except ValueError:
        return 0


def _class_of(name: str, claim: Whole | None, field: str) -> str:
    """The StorageClass of a claim. Raises NotFound, FailedPrecondition: it is not known."""
    if claim is None:
        raise NotFound(f"claim {name or 'of the snapshot'} does not exist; create it, or give {field}")
    found = str(claim.spec.get("storageClassName") or "")
    if not found:
        raise FailedPrecondition(f"claim {name} has no StorageClass; give {field}")
    return found


def _missing(name: str, claim: Whole | None) -> NotFound | FailedPrecondition:
    if claim is None:
        return NotFound(f"claim {name} does not exist; create it")
    return FailedPrecondition(f"claim {name} is not bound to a PersistentVolume")
