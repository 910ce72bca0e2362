"""The effects of making and removing a cached copy.

The import runs in the namespace of the VolumeImage, where its Secret and its source are. A snapshot of the
result gets a second VolumeSnapshot and VolumeSnapshotContent in the namespace of the operator. Then all that
was made in the user's namespace is removed. The order is strict: the first content keeps the snapshot on the
array (Retain) before it is deleted. The second one may delete it only after that.

With the policy Retain, a content stays when its VolumeSnapshot is deleted. So the operator deletes it then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from csi_powerflex.config.operator import MoverSettings
from csi_powerflex.errors import AlreadyExists, Busy, FailedPrecondition, NotFound
from csi_powerflex.kube.client import Client
from csi_powerflex.model.mover import Outcome
from csi_powerflex.operator.classes import SnapshotClasses
from csi_powerflex.operator.images import objects
from csi_powerflex.operator.images.definition import DEFINITION, CachedCopy, ImageClaim, VolumeImage
from csi_powerflex.operator.images.objects import IMAGE_LABEL
from csi_powerflex.operator.movers.job import jobs
from csi_powerflex.operator.movers.movers import Failed, Movers, Running
from csi_powerflex.operator.objects import claims, snapshots
from csi_powerflex.operator.owned import Owned, Whole, was_made_for
from csi_powerflex.operator.sources import CONTENTS, Sources, Taken

RETAIN = "Retain"
DELETE = "Delete"


@dataclass(frozen=True, slots=True)
class Making:
    """Makes the cached copies of one VolumeImage.

    Attributes:
        client: how to reach the cluster.
        settings: what all data movers have.
        driver_name: the driver's CSI name.
        namespace: the operator's namespace.
        found: the VolumeImage.
    """

    client: Client
    settings: MoverSettings
    driver_name: str
    namespace: str
    found: VolumeImage

    @property
    def _owned(self) -> Owned:
        return Owned(self.client, DEFINITION, self.found)

    @property
    def _sources(self) -> Sources:
        return Sources(self._owned, self.driver_name)

    @property
    def _movers(self) -> Movers:
        return Movers(self._owned, self.settings)

    # --- the steps -------------------------------------------------------------------------------

    def imported(self, item: CachedCopy) -> Running | Failed | Outcome:
        """Start the import, if it does not run, and look at it.

        Raises:
            NotFound: the source is not there, or not ready.
            FailedPrecondition: the source cannot be used, or an object of someone else is in the way.
            DriverError: the cluster does not answer, or refuses an object.
        """
        owned = self._owned
        if not self._is_started(item):
            SnapshotClasses(self.client, self.driver_name).require_removable(self.found.spec.snapshot_class)
        elif not self._has_target(item):
            # Another target would be empty, and the Job may have ended already.
            return Failed(f"claim {item.name} was deleted during the import")
        if self.found.spec.source.claim is not None:
            self._prepare_source(item, self.found.spec.source.claim)
        owned.ensure(claims(owned.namespace), objects.target_claim(self.found, item))
        owned.ensure(claims(owned.namespace), objects.scratch_claim(self.found, item))
        state = self._movers.lead(objects.import_job(self.found, item))
        if isinstance(state, Outcome) and self._is_read_from_a_snapshot:
            self._sources.require_made(objects.source_of(item.name))
        return state

    def cached(self, item: CachedCopy) -> Taken | None:
        """Take the snapshot, and give it to the operator's namespace. None: this is not done yet.

        Raises:
            NotFound: the snapshot is not ready; the message says why.
            FailedPrecondition: the claim with the image was deleted, or an object of someone else is there.
            DriverError: the cluster does not answer, or refuses an object.
        """
        if not self._movers.end(item.name):
            return None
        sources = self._sources
        first = objects.first_of(item.name)
        sources.snapshot(first, item.name, self.found.spec.snapshot_class)
        try:
            taken = sources.taken(first)
        except NotFound as error:
            if self._has_target(item):
                raise
            raise FailedPrecondition(
                f"claim {item.name} was deleted before its snapshot was taken"
            ) from error
        own = objects.content_of(self.found, item.name, self.namespace, self.driver_name, taken.handle)
        self._ensure(CONTENTS, own)
        twin = self._ensure(
            snapshots(self.namespace), objects.snapshot_of(self.found, item.name, self.namespace)
        )
        return taken if twin.status.get("readyToUse") else None

    def cleaned(self, item: CachedCopy) -> bool:
        """Remove what was temporary. Returns whether it is removed, and the copy alone has its snapshot.

        Raises:
            NotFound: the copy was removed by someone.
            DriverError: the cluster does not answer, or refuses a change.
        """
        self.client.get(snapshots(self.namespace), item.name, Whole)
        if not self._remove_first(item, RETAIN) or not self._remove_temporary(item):
            return False
        self._set_content_policy(item.name, DELETE)
        return True

    def removed(self, item: CachedCopy) -> bool:
        """Begin to remove the copy and all that was temporary. Returns whether all is removed.

        Raises DriverError: the cluster does not answer, or refuses a change.
        """
        ended = self._movers.end(item.name)
        self._set_content_policy(item.name, DELETE)
        ended = self._remove_twin(item.name) and ended
        ended = self._remove_first(item, DELETE) and ended
        return self._remove_temporary(item) and ended

    # --- parts of the steps ----------------------------------------------------------------------

    def _is_started(self, item: CachedCopy) -> bool:
        """Whether there is a Job. It is created after the claim that it writes."""
        found = self._owned.find(jobs(self._owned.namespace), item.name)
        return found is not None and self._owned.is_own(found)

    def _has_target(self, item: CachedCopy) -> bool:
        """Whether the claim that the image is written to exists, and is not being deleted."""
        found = self._owned.find(claims(self._owned.namespace), item.name)
        return found is not None and self._owned.is_own(found) and not found.deleting

    @property
    def _is_read_from_a_snapshot(self) -> bool:
        """Whether the source is a claim in block mode."""
        claim = self.found.spec.source.claim
        return claim is not None and not claim.file

    def _prepare_source(self, item: CachedCopy, source: ImageClaim) -> None:
        namespace = self.found.metadata.namespace
        claim = self.client.get(claims(namespace), source.name, Whole)
        is_block = claim.spec.get("volumeMode") == "Block"
        if source.file:
            if is_block:
                raise FailedPrecondition(
                    f"claim {source.name} has no filesystem (volumeMode Block); leave out source.claim.file"
                )
            return
        if not is_block:
            raise FailedPrecondition(
                f"claim {source.name} has a filesystem; give the path of the image in source.claim.file"
            )
        name = objects.source_of(item.name)
        self._sources.snapshot(name, source.name, self.found.spec.snapshot_class)
        taken = self._sources.taken(name)
        self._sources.claim(name, taken, str(claim.spec.get("storageClassName") or item.storage_class))

    def _remove_first(self, item: CachedCopy, policy: str) -> bool:
        """Begin to remove the snapshot in the user's namespace.

        Its content gets the policy first, which says whether the snapshot on the array goes with it.
        """
        if item.content:
            self._set_policy(item.content, policy)
        removed = self._removed_snapshot(objects.first_of(item.name), policy)
        if not removed or not item.content:
            return removed
        found = self._owned.find(CONTENTS, item.content)
        if found is not None:
            self._delete(CONTENTS, found)
        return found is None

    def _removed_snapshot(self, name: str, policy: str) -> bool:
        """Begin to remove a snapshot in the user's namespace. Its content gets the policy before."""
        owned = self._owned
        found = owned.find(snapshots(owned.namespace), name)
        if found is None or not owned.is_own(found):
            return True
        content = str(found.status.get("boundVolumeSnapshotContentName") or "")
        # A snapshot may also have a content that existed before.
        if was_made_for(content, found.metadata.uid):
            self._set_policy(content, policy)
        return owned.remove(snapshots(owned.namespace), name)

    def _remove_temporary(self, item: CachedCopy) -> bool:
        source = objects.source_of(item.name)
        names = (item.name, objects.scratch_of(item.name), source)
        left = [name for name in names if not self._sources.discard(name)]
        return self._removed_snapshot(source, DELETE) and not left

    def _set_content_policy(self, name: str, policy: str) -> None:
        found = self._find(CONTENTS, name)
        if found is not None:
            self._set_policy(name, policy)

    def _remove_twin(self, name: str) -> bool:
        """Begin to remove the copy. A content that got no VolumeSnapshot is removed itself."""
        snapshot = self._find(snapshots(self.namespace), name)
        if snapshot is not None:
            self._delete(snapshots(self.namespace), snapshot)
            return False
        content = self._find(CONTENTS, name)
        if content is not None:
            self._delete(CONTENTS, content)
        return content is None

    def _set_policy(self, name: str, policy: str) -> None:
        """Set the deletion policy of a content, if it is another one. One that does not exist needs none."""
        with contextlib.suppress(NotFound):
            found = self.client.get(CONTENTS, name, Whole)
            if found.spec.get("deletionPolicy") == policy:
                return
            version = {"resourceVersion": found.metadata.resource_version}
            try:
                self.client.patch(CONTENTS, name, {"metadata": version, "spec": {"deletionPolicy": policy}})
            except AlreadyExists as error:
                raise Busy(f"{CONTENTS}/{name} was changed at the same time") from error

    def _find(self, path: str, name: str) -> Whole | None:
        """An object of the operator's namespace, if it exists and was made for this VolumeImage."""
        try:
            found = self.client.get(path, name, Whole)
        except NotFound:
            return None
        return found if found.metadata.labels.get(IMAGE_LABEL) == self.found.metadata.uid else None

    def _ensure(self, path: str, content: Mapping[str, Any]) -> Whole:
        name = str(content["metadata"]["name"])
        with contextlib.suppress(AlreadyExists):
            self.client.create(path, content)
        found = self.client.get(path, name, Whole)
        if found.metadata.labels.get(IMAGE_LABEL) != self.found.metadata.uid:
            raise FailedPrecondition(
                f"{content['kind']} {name} exists, and was not made for this VolumeImage; delete it"
            )
        return found

    def _delete(self, path: str, item: Whole) -> None:
        if item.metadata.deletion_timestamp is None:
            with contextlib.suppress(NotFound, AlreadyExists):
                self.client.delete(path, item.metadata.name, uid=item.metadata.uid)
