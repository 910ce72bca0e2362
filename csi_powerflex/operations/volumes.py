"""Creating, checking and deleting volumes.

The name on the array is derived from the CSI name, and the array keeps names unique: that is the whole
journal. Whatever cut a call short, the next one finds by name what exists and goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass

from csi_powerflex import names, units
from csi_powerflex.errors import AlreadyExists, NotFound
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import NameInUse, Pool, Volume, VolumeMapped
from csi_powerflex.model.capability import Capability
from csi_powerflex.model.parameters import VolumeParameters
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.observability.log import Log

log = Log(__name__)

# What a request without a size gets, like a request for less than the array's smallest volume.
_DEFAULT_SIZE = 8 * units.GIB


@dataclass(frozen=True, slots=True)
class VolumeRequest:
    """What CreateVolume asks for; ``required`` and ``limit`` are bytes, 0 where not given."""

    name: str
    required: int
    limit: int
    capabilities: tuple[Capability, ...]
    parameters: VolumeParameters


class Volumes:
    """The volumes of one cluster on a fleet of systems."""

    def __init__(self, fleet: Fleet, cluster_id: str) -> None:
        self._fleet = fleet
        self._cluster_id = cluster_id

    def create(self, request: VolumeRequest) -> Volume:
        """The volume of that name, created if it does not exist.

        Raises:
            InvalidArgument: the parameters or capabilities can never work.
            OutOfRange: no size within the range.
            AlreadyExists: the name belongs to a volume that does not fit the request.
            ResourceExhausted: the pool has no room.
        """
        for capability in request.capabilities:
            capability.check()
        parameters = request.parameters
        array = self._fleet.choose(parameters.system)
        pool = array.pool(parameters.domain, parameters.pool)
        size = units.size_within(
            required=request.required,
            limit=request.limit,
            granularity=pool.granularity,
            default=_DEFAULT_SIZE,
        )
        name = names.array_name(names.Kind.VOLUME, self._cluster_id, request.name)
        try:
            volume_id = array.create_volume(
                name=name, size=size, pool=pool, provisioning=parameters.provisioning
            )
        except NameInUse:
            volume = array.volume(array.volume_id_by_name(name))
            _check_fits(volume, request, pool)
            return volume
        log.info("volume created", volume=f"{array.system_id()}-{volume_id}", array_name=name, size=size)
        return array.volume(volume_id)

    def delete(self, handle: VolumeHandle) -> None:
        """Remove the volume; one that does not exist is removed.

        Raises:
            VolumeMapped: it is mapped to a host, which is named.
        """
        array = self._fleet.array(handle.system_id)
        try:
            array.remove_volume(handle.volume_id)
        except NotFound:
            log.info("volume did not exist", volume=handle)
        except VolumeMapped as error:
            raise VolumeMapped(_who_uses(array, handle)) from error
        else:
            log.info("volume removed", volume=handle)

    def get(self, handle: VolumeHandle) -> Volume:
        """The volume.

        Raises:
            NotFound: it does not exist.
        """
        return self._fleet.array(handle.system_id).volume(handle.volume_id)


def _check_fits(volume: Volume, request: VolumeRequest, pool: Pool) -> None:
    """Whether an existing volume of the name is what the request asks for (specification, CreateVolume)."""
    wrong = None
    if volume.size < request.required or (request.limit and volume.size > request.limit):
        wrong = f"has {units.readable(volume.size)}"
    elif volume.pool_id != pool.id:
        wrong = f"lies in pool {volume.pool_id}, not in {pool.id} ({pool.name})"
    elif volume.provisioning is not request.parameters.provisioning:
        wrong = f"is {volume.provisioning} provisioned, not {request.parameters.provisioning}"
    elif volume.ancestor_id is not None:
        wrong = f"was made from volume {volume.ancestor_id}"
    if wrong:
        raise AlreadyExists(
            f"volume {request.name} exists already as {volume.handle} and {wrong}; "
            "use another name, or ask for what exists"
        )


def _who_uses(array: Array, handle: VolumeHandle) -> str:
    mappings = array.volume(handle.volume_id).mappings
    hosts = ", ".join(str(mapping) for mapping in mappings) or "a host that has just let go of it"
    return (
        f"volume {handle} is mapped to {hosts} and was not removed; unmap it there, or wait for its "
        "VolumeAttachment to go"
    )
