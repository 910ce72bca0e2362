"""Whether a volume that exists is the one that a request asks for."""

from __future__ import annotations

from dataclasses import dataclass

from csi_powerflex import units
from csi_powerflex.errors import AlreadyExists, OutOfRange
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Pool, Volume
from csi_powerflex.model.capability import Capability
from csi_powerflex.model.claim import NO_CLAIM, ClaimNames
from csi_powerflex.model.parameters import SizePolicy, VolumeParameters
from csi_powerflex.operations.controller.placement import ANYWHERE, Candidate, TopologyRequirement

# The size for a request that gives none.
_DEFAULT_SIZE = 8 * units.GIB


@dataclass(frozen=True, slots=True)
class VolumeRequest:
    """What CreateVolume asks for.

    Attributes:
        required: bytes, 0 where not given; so is ``limit``.
        of_snapshot: whether the source is named as a snapshot.
        claim: what it is for, in Kubernetes.
    """

    name: str
    required: int
    limit: int
    capabilities: tuple[Capability, ...]
    parameters: VolumeParameters
    source: VolumeHandle | None = None
    of_snapshot: bool = False
    requirement: TopologyRequirement = ANYWHERE
    claim: ClaimNames = NO_CLAIM


@dataclass(frozen=True, slots=True)
class CreatedVolume:
    """A volume that exists as requested: newly created, or by an earlier call.

    Attributes:
        policy_id: the snapshot policy that it was in when an earlier call was found to have created it.
        new: whether this call has created it. No other call can have used it then.
    """

    handle: VolumeHandle
    size: int
    copied: bool
    zone: str | None
    policy_id: str | None = None
    new: bool = False


def size_for(request: VolumeRequest, pool: Pool, *, at_least: int = 0) -> int:
    """The size in bytes for a new volume in the pool.

    Args:
        request: gives the range.
        pool: gives the granularity.
        at_least: the size of the source of a copy.

    Raises:
        OutOfRange: no size is within the range, or sizePolicy=strict refuses to round it.
    """
    if request.limit and request.limit < at_least:
        raise OutOfRange(
            f"the source has {units.readable(at_least)}, more than the limit of "
            f"{units.readable(request.limit)}"
        )
    required = max(request.required, at_least)
    size = units.size_within(
        required=required, limit=request.limit, granularity=pool.granularity, default=_DEFAULT_SIZE
    )
    if required and size != required and request.parameters.size_policy is SizePolicy.STRICT:
        raise OutOfRange(
            f"{units.readable(required)} is no multiple of {units.readable(pool.granularity)}, the "
            f"granularity of pool {pool}; ask for {units.readable(size)}, or remove sizePolicy=strict"
        )
    return size


def require_match(
    volume: Volume, request: VolumeRequest, candidate: Candidate | None, *, moved: bool = False
) -> CreatedVolume:
    """An existing volume of the requested name, if it fits the request (specification, CreateVolume).

    Args:
        volume: the volume.
        request: gives its name.
        candidate: the one that the volume is in; None if it is in none.
        moved: whether the volume may have been moved and converted since its creation.

    Raises:
        AlreadyExists: it does not fit; the message says what differs.
    """
    difference = _difference(volume, request, candidate, moved=moved)
    if difference or candidate is None:
        raise _name_taken(volume, request, difference)
    return CreatedVolume(
        handle=volume.handle,
        size=volume.size,
        copied=False,
        zone=candidate.zone,
        policy_id=volume.policy_id,
    )


def _difference(volume: Volume, request: VolumeRequest, candidate: Candidate | None, *, moved: bool) -> str:
    if volume.copied:
        return "was created as a copy of another volume"
    if volume.size < request.required or (request.limit and volume.size > request.limit):
        return f"has {units.readable(volume.size)}"
    if candidate is None:
        return f"is in pool {volume.pool_id}, which the request's parameters or topology leave out"
    if volume.provisioning is not request.parameters.provisioning and not moved:
        return f"is {volume.provisioning} provisioned, not {request.parameters.provisioning}"
    return ""


def require_copy(copy: Volume, request: VolumeRequest, source: Volume | None) -> None:
    """Check that an existing volume of the requested name is the requested copy, perhaps not yet grown.

    ``source`` is None if it does not exist any more.

    Raises:
        AlreadyExists: it is not; the message says what differs.
    """
    difference = ""
    if source is not None and copy.ancestor_id != source.handle.volume_id:
        difference = f"was not created from {source}"
    elif request.limit and copy.size > request.limit:
        difference = f"has {units.readable(copy.size)}"
    elif source is not None and source.size < copy.size < request.required:
        # It was grown already, to less than this request asks for. So another request created it. One that
        # is smaller than its source was created before the source was grown.
        difference = f"has {units.readable(copy.size)}"
    if difference:
        raise _name_taken(copy, request, difference)


def _name_taken(volume: Volume, request: VolumeRequest, difference: str) -> AlreadyExists:
    return AlreadyExists(
        f"volume {request.name} exists already as {volume} and {difference}; "
        "use another name, or ask for what exists"
    )
