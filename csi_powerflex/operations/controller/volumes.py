"""Creating and reading volumes."""

from __future__ import annotations

from csi_powerflex import names
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Volume
from csi_powerflex.model.ports import Fleet, QosStore
from csi_powerflex.operations.controller.copies import Copies
from csi_powerflex.operations.controller.creation import Creation
from csi_powerflex.operations.controller.matching import CreatedVolume, VolumeRequest
from csi_powerflex.operations.controller.new_volumes import NewVolumes
from csi_powerflex.operations.controller.ownership import Ownership
from csi_powerflex.operations.controller.placement import Placement
from csi_powerflex.operations.controller.snapshot_policies import RequestedPolicy, SnapshotPolicies


class Volumes:
    """The volumes of one cluster on a fleet of systems."""

    def __init__(
        self,
        fleet: Fleet,
        placement: Placement,
        store: QosStore,
        ownership: Ownership,
        policies: SnapshotPolicies,
        new_volumes: NewVolumes,
    ) -> None:
        self._fleet = fleet
        self._ownership = ownership
        self._policies = policies
        self._new_volumes = new_volumes
        self._creation = Creation(fleet, placement, store)
        self._copies = Copies(fleet, placement, store, ownership.cluster_id)

    def create(self, request: VolumeRequest) -> CreatedVolume:
        """The volume of that name, created if it does not exist.

        Raises:
            InvalidArgument: the parameters or capabilities can never work.
            OutOfRange: no size is within the range.
            NotFound: the source does not exist.
            AlreadyExists: a volume of that name exists and does not fit the request.
            ResourceExhausted: no pool has space, or the source's tree is full.
            FailedPrecondition: the requested snapshot policy is paused.
        """
        for capability in request.capabilities:
            capability.check()
            if request.source is None:
                capability.check_format(request.parameters.mkfs_options)
        name = names.array_name(names.Kind.VOLUME, self._ownership.cluster_id, request.name)
        parameters = request.parameters
        wanted = RequestedPolicy(parameters.policy)
        if request.source is not None:
            created = self._copies.create(request, request.source, name, wanted)
        else:
            created = self._creation.create(request, name, wanted)
        self._ownership.created(created.handle, names.Kind.VOLUME)
        array = self._fleet.array(created.handle.system_id)
        self._policies.settle_new(array, created, wanted, deletes=parameters.delete_policy_snapshots)
        if created.new:
            self._new_volumes.add(created.handle, created.size)
        else:
            # Another controller may have used it, or this call may have grown it.
            self._new_volumes.forget(created.handle)
        return created

    def get(self, handle: VolumeHandle) -> Volume:
        """The volume.

        Raises:
            NotFound: it does not exist.
        """
        array = self._fleet.array(handle.system_id)
        volume = array.volume(handle.volume_id)
        self._ownership.seen(array, volume)
        return volume
