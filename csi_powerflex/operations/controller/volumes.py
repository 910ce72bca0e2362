"""Creating, reading and deleting volumes."""

from __future__ import annotations

from csi_powerflex import names
from csi_powerflex.errors import NotFound
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Volume, VolumeMapped
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.cluster_nodes import STALE_MAPPING, ClusterNodes
from csi_powerflex.operations.controller.copies import Copies
from csi_powerflex.operations.controller.creation import Creation
from csi_powerflex.operations.controller.matching import CreatedVolume, VolumeRequest
from csi_powerflex.operations.controller.ownership import Ownership
from csi_powerflex.operations.controller.placement import Placement
from csi_powerflex.operations.controller.trash import Trash

log = Log(__name__)


class Volumes:
    """The volumes of one cluster on a fleet of systems."""

    def __init__(
        self,
        fleet: Fleet,
        placement: Placement,
        ownership: Ownership,
        cluster_nodes: ClusterNodes,
        trash: Trash,
        cluster_id: str,
    ) -> None:
        self._fleet = fleet
        self._cluster_nodes = cluster_nodes
        self._trash = trash
        self._ownership = ownership
        self._cluster_id = cluster_id
        self._creation = Creation(fleet, placement)
        self._copies = Copies(fleet, placement, cluster_id)

    def create(self, request: VolumeRequest) -> CreatedVolume:
        """The volume of that name, created if it does not exist.

        Raises:
            InvalidArgument: the parameters or capabilities can never work.
            OutOfRange: no size is within the range.
            NotFound: the source does not exist.
            AlreadyExists: a volume of that name exists and does not fit the request.
            ResourceExhausted: no pool has space, or the source's tree is full.
        """
        for capability in request.capabilities:
            capability.check()
            if request.source is None:
                capability.check_format(request.parameters.mkfs_options)
        name = names.array_name(names.Kind.VOLUME, self._cluster_id, request.name)
        if request.source is not None:
            created = self._copies.create(request, request.source, name)
        else:
            created = self._creation.create(request, name)
        self._ownership.created(created.handle, names.Kind.VOLUME)
        return created

    def delete(self, handle: VolumeHandle) -> None:
        """Remove the volume, or put it into the trash. Returns without error if it does not exist.

        Raises:
            VolumeMapped: it is mapped to a host, which is named.
            InvalidArgument: it is a snapshot.
            FailedPrecondition: this cluster did not make it.
        """
        array = self._fleet.array(handle.system_id)
        try:
            self._ownership.require_volume(array, handle)
            self._remove(array, handle)
        except NotFound:
            log.info("volume did not exist", volume=handle)
        self._ownership.deleted(handle)

    def _remove(self, array: Array, handle: VolumeHandle) -> None:
        """Remove the volume, after mappings to hosts that are no nodes any more, if the operator allows that.

        Raises:
            VolumeMapped: a mapping is left.
        """
        try:
            self._trash.remove(array, handle)
        except VolumeMapped as error:
            volume = array.volume(handle.volume_id)
            kept = self._cluster_nodes.remove_stale(array, volume, None)
            if kept is not None:
                hosts = self._cluster_nodes.described(array, volume.mappings)
                hosts = hosts or "a host that was unmapped just now"
                raise VolumeMapped(
                    f"volume {volume} is mapped to {hosts} and was not removed; wait until its "
                    f"VolumeAttachment is deleted. {STALE_MAPPING}{kept}"
                ) from error
            self._trash.remove(array, handle)

    def get(self, handle: VolumeHandle) -> Volume:
        """The volume.

        Raises:
            NotFound: it does not exist.
        """
        array = self._fleet.array(handle.system_id)
        volume = array.volume(handle.volume_id)
        self._ownership.seen(array, volume)
        return volume
