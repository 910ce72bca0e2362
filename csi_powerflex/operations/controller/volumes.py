"""Creating, copying, checking and deleting volumes.

The name on the array is derived from the CSI name, and the array keeps names unique: that is the whole
journal. Whatever cut a call short, the next one finds by name what exists and goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass

from csi_powerflex import call_context, names, units
from csi_powerflex.errors import (
    AlreadyExists,
    ConnectFailed,
    DeadlineExceeded,
    DriverError,
    InvalidArgument,
    NotFound,
    OutOfRange,
    ResourceExhausted,
    Unavailable,
)
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Copy, NameInUse, Pool, Provisioning, TreeFull, Volume, VolumeMapped
from csi_powerflex.model.capability import Capability
from csi_powerflex.model.parameters import SizePolicy, VolumeParameters
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.create_history import CreateHistory
from csi_powerflex.operations.controller.lookup import find_volume_by_name
from csi_powerflex.operations.controller.placement import (
    ANYWHERE,
    LOOK_SECONDS,
    Candidate,
    Placement,
    TopologyRequirement,
)

log = Log(__name__)

# What a request without a size gets.
_DEFAULT_SIZE = 8 * units.GIB


@dataclass(frozen=True, slots=True)
class VolumeRequest:
    """What CreateVolume asks for; ``required`` and ``limit`` are bytes, 0 where not given."""

    name: str
    required: int
    limit: int
    capabilities: tuple[Capability, ...]
    parameters: VolumeParameters
    source: VolumeHandle | None = None
    requirement: TopologyRequirement = ANYWHERE


@dataclass(frozen=True, slots=True)
class CreatedVolume:
    """A volume that exists as asked: new, or found."""

    handle: VolumeHandle
    size: int
    copied: bool
    zone: str | None


@dataclass(frozen=True, slots=True)
class _Search:
    """What a look at the systems found: the volume, or the places where it may be made."""

    found: CreatedVolume | None
    candidates: list[Candidate]


class Volumes:
    """The volumes of one cluster on a fleet of systems."""

    def __init__(self, fleet: Fleet, placement: Placement, cluster_id: str) -> None:
        self._fleet = fleet
        self._placement = placement
        self._cluster_id = cluster_id
        self._history = CreateHistory()

    def create(self, request: VolumeRequest) -> CreatedVolume:
        """The volume of that name, created if it does not exist.

        Raises:
            InvalidArgument: the parameters or capabilities can never work.
            OutOfRange: no size within the range.
            NotFound: the source does not exist.
            AlreadyExists: the name belongs to a volume that does not fit the request.
            ResourceExhausted: no pool has room, or the source's tree is full.
        """
        for capability in request.capabilities:
            capability.check()
        name = names.array_name(names.Kind.VOLUME, self._cluster_id, request.name)
        if request.source is not None:
            return self._copy(request, request.source, name)
        candidates = self._placement.candidates(request.parameters, request.requirement)
        search = self._search(request, candidates, name)
        if search.found is not None:
            return search.found
        refusals: list[DriverError] = []
        for candidate in search.candidates:
            try:
                return self._create_at(candidate, request, name, search.candidates)
            except (ResourceExhausted, ConnectFailed) as error:
                refusals.append(error)
        # A system that was not reached may have room.
        final = all(isinstance(error, ResourceExhausted) for error in refusals)
        raise (ResourceExhausted if final else Unavailable)("; ".join(str(error) for error in refusals))

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

    # --- new volumes -----------------------------------------------------------------------------

    def _search(self, request: VolumeRequest, candidates: list[Candidate], name: str) -> _Search:
        """Look for the volume on every system that may have it: names are unique on each, not across them.

        A system that does not answer is left out, unless an earlier call made the volume there or may have.

        Raises:
            AlreadyExists: the volume exists and does not fit.
            Unavailable: it may exist on a system that does not answer, or none answers.
        """
        allowed = {candidate.array.label for candidate in candidates}
        suspected = [array for array in self._fleet.arrays() if self._history.may_hold(array.label, name)]
        elsewhere = [array for array in suspected if array.label not in allowed]
        if len(allowed) == 1 and not elsewhere:
            # The attempt to create it tells, without a look before.
            return _Search(None, candidates)
        silent: dict[str, DriverError] = {}
        for array in [
            *{candidate.array.label: candidate.array for candidate in candidates}.values(),
            *elsewhere,
        ]:
            try:
                with call_context.within(LOOK_SECONDS):
                    volume = find_volume_by_name(array, name)
            except DriverError as error:
                if array in suspected:
                    raise _perhaps_there(request, array, error) from error
                log.warning("system left out of the choice", system=array.label, reason=error)
                silent[array.label] = error
                continue
            if volume is not None:
                at = [candidate for candidate in candidates if candidate.array is array]
                return _Search(_fitting(volume, request, at), [])
            self._history.absent(array.label, name)
        if allowed <= silent.keys():
            raise next(iter(silent.values()))
        return _Search(None, [candidate for candidate in candidates if candidate.array.label not in silent])

    def _create_at(
        self, candidate: Candidate, request: VolumeRequest, name: str, candidates: list[Candidate]
    ) -> CreatedVolume:
        """Make the volume there; one that exists on that system may lie in any of ``places``."""
        array, pool, parameters = candidate.array, candidate.pool, request.parameters
        here = [item for item in candidates if item.array is array]
        _check_pool(pool, parameters)
        size = _size(request, pool, least=0)
        known = self._made_lately(array, name)
        if known is not None:
            return _fitting(known, request, here)
        try:
            volume_id = array.create_volume(
                name=name, size=size, pool=pool, provisioning=parameters.provisioning
            )
        except (NameInUse, ResourceExhausted):
            # A pool that is full may be so with the volume that an earlier call made.
            there = find_volume_by_name(array, name)
            if there is None:
                raise
            return _fitting(there, request, here)
        except ConnectFailed:
            raise
        except (Unavailable, DeadlineExceeded):
            self._history.doubt(array.label, name)
            raise
        self._history.made(array.label, name, volume_id)
        handle = VolumeHandle(array.system_id(), volume_id)
        log.info("volume created", volume=handle, array_name=name, size=size, pool=pool)
        return CreatedVolume(handle=handle, size=size, copied=False, zone=candidate.zone)

    def _made_lately(self, array: Array, name: str) -> Volume | None:
        """The volume of that name if this process made it lately: a repeated creation then costs one look."""
        volume_id = self._history.volume_id(array.label, name)
        if volume_id is None:
            return None
        try:
            return array.volume(volume_id)
        except NotFound:
            self._history.absent(array.label, name)
            return None

    # --- copies ----------------------------------------------------------------------------------

    def _copy(self, request: VolumeRequest, source: VolumeHandle, name: str) -> CreatedVolume:
        """A writable copy of a volume or snapshot; it lies in the same pool and tree."""
        array = self._fleet.array(source.system_id)
        origin = array.volume(source.volume_id)
        pool = array.pool_by_id(origin.pool_id)
        candidate = self._placement.candidate_for_copy(array, pool, request.parameters, request.requirement)
        try:
            volume_id, size = self._copy_anew(array, request, origin, pool, name)
        except (NameInUse, OutOfRange, ResourceExhausted):
            # An earlier call may have made it; since then its source was grown, or tree or pool are full.
            made = find_volume_by_name(array, name)
            if made is None:
                raise
            _check_is_copy(made, request, origin)
            volume_id, size = made.handle.volume_id, self._grown(array, request, made, pool)
        handle = VolumeHandle(source.system_id, volume_id)
        log.info("volume copied", volume=handle, source=source, array_name=name, size=size)
        return CreatedVolume(handle=handle, size=size, copied=True, zone=candidate.zone)

    @staticmethod
    def _copy_anew(
        array: Array, request: VolumeRequest, origin: Volume, pool: Pool, name: str
    ) -> tuple[str, int]:
        """Make the copy and return its id and size."""
        size = _size(request, pool, least=origin.size)
        if request.parameters.max_tree_members:
            _check_tree(array, origin, request.parameters.max_tree_members)
        try:
            volume_id = array.clone(Copy(origin.handle.volume_id, name))
        except TreeFull as error:
            members = array.tree_members(origin.tree_id)
            raise TreeFull(
                f"volume {origin.handle} cannot be copied: its tree {origin.tree_id} has {members} members "
                "(volume, snapshots and clones), as many as the array allows; delete some of them"
            ) from error
        if origin.size < size:
            array.resize_volume(volume_id, size)
        return volume_id, size

    @staticmethod
    def _grown(array: Array, request: VolumeRequest, made: Volume, pool: Pool) -> int:
        """The size of the copy that an earlier call made, grown where that call was cut before it did."""
        if made.size >= request.required:
            return made.size
        size = _size(request, pool, least=made.size)
        array.resize_volume(made.handle.volume_id, size)
        return size


def _size(request: VolumeRequest, pool: Pool, *, least: int) -> int:
    """The size in bytes to ask for, at least ``least``, which is a source's size."""
    if request.limit and request.limit < least:
        raise OutOfRange(
            f"the source has {units.readable(least)}, more than the limit of {units.readable(request.limit)}"
        )
    required = max(request.required, least)
    size = units.size_within(
        required=required, limit=request.limit, granularity=pool.granularity, default=_DEFAULT_SIZE
    )
    if required and size != required and request.parameters.size_policy is SizePolicy.STRICT:
        raise OutOfRange(
            f"{units.readable(required)} is no multiple of {units.readable(pool.granularity)}, in which pool "
            f"{pool} allots volumes; ask for {units.readable(size)}, or drop sizePolicy=strict"
        )
    return size


def _check_pool(pool: Pool, parameters: VolumeParameters) -> None:
    """Whether the pool can make such a volume.

    Raises:
        InvalidArgument: it cannot, or must not without being asked expressly.
    """
    if not pool.zero_padded and not parameters.allow_unpadded_pool:
        raise InvalidArgument(
            f"pool {pool} has no zero padding, so a new volume may show what was deleted before; enable it "
            "on the pool, or set allowUnpaddedPool=true"
        )
    provisioning = parameters.provisioning
    if provisioning is Provisioning.COMPRESSED and not pool.compressible:
        raise InvalidArgument(f"pool {pool} cannot compress single volumes; use provisioning=thin")
    if provisioning is Provisioning.THICK and (pool.compressible or pool.erasure_coded):
        raise InvalidArgument(f"pool {pool} has thin volumes only; use provisioning=thin")


def _check_tree(array: Array, origin: Volume, max_entries: int) -> None:
    members = array.tree_members(origin.tree_id)
    if members >= max_entries:
        raise TreeFull(
            f"volume {origin.handle} is not copied: its tree {origin.tree_id} has {members} members, and "
            f"maxVtreeMembers is {max_entries}; delete some of its snapshots or clones, or raise it"
        )


def _fitting(volume: Volume, request: VolumeRequest, candidates: list[Candidate]) -> CreatedVolume:
    """An existing volume of the name, if it is what the request asks for (specification, CreateVolume).

    Raises:
        AlreadyExists: it is not; the message says what differs.
    """
    candidate = next((candidate for candidate in candidates if candidate.pool.id == volume.pool_id), None)
    wrong = None
    if volume.copied:
        wrong = "was made as a copy of another volume"
    elif volume.size < request.required or (request.limit and volume.size > request.limit):
        wrong = f"has {units.readable(volume.size)}"
    elif candidate is None:
        wrong = f"lies in pool {volume.pool_id}, which the request's parameters or topology leave out"
    elif volume.provisioning is not request.parameters.provisioning:
        wrong = f"is {volume.provisioning} provisioned, not {request.parameters.provisioning}"
    if wrong or candidate is None:
        raise _name_taken(volume, request, wrong)
    return CreatedVolume(handle=volume.handle, size=volume.size, copied=False, zone=candidate.zone)


def _check_is_copy(copy: Volume, request: VolumeRequest, origin: Volume) -> None:
    """Whether an existing volume of the name is the copy that the request asks for, perhaps not yet grown.

    Raises:
        AlreadyExists: it is not.
    """
    wrong = None
    if copy.ancestor_id != origin.handle.volume_id:
        wrong = f"was not made from {origin.handle}"
    elif request.limit and copy.size > request.limit:
        wrong = f"has {units.readable(copy.size)}"
    elif copy.size not in (origin.size, max(copy.size, request.required)):
        # Grown already, and to less than is asked now: that was another request.
        wrong = f"has {units.readable(copy.size)}"
    if wrong:
        raise _name_taken(copy, request, wrong)


def _name_taken(volume: Volume, request: VolumeRequest, wrong: str | None) -> AlreadyExists:
    return AlreadyExists(
        f"volume {request.name} exists already as {volume.handle} and {wrong}; "
        "use another name, or ask for what exists"
    )


def _perhaps_there(request: VolumeRequest, array: Array, error: DriverError) -> Unavailable:
    return Unavailable(
        f"volume {request.name} may exist on system {array.label}, where an earlier call made it or ended "
        f"without an answer, and is not made elsewhere until that system tells: {error}"
    )


def _who_uses(array: Array, handle: VolumeHandle) -> str:
    mappings = array.volume(handle.volume_id).mappings
    hosts = ", ".join(str(mapping) for mapping in mappings) or "a host that has just let go of it"
    return (
        f"volume {handle} is mapped to {hosts} and was not removed; unmap it there, or wait for its "
        "VolumeAttachment to go"
    )
