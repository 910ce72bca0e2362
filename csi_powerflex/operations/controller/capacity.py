"""How much more can be provisioned, for a StorageClass and a topology."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from csi_powerflex import units
from csi_powerflex.errors import InvalidArgument, ResourceExhausted
from csi_powerflex.model.array import Pool, PoolCapacity, Provisioning
from csi_powerflex.model.parameters import VolumeParameters
from csi_powerflex.model.topology import Segments
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.placement import (
    ANYWHERE,
    Placement,
    TopologyRequirement,
    require_possible,
)

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class Available:
    """Bytes: of all further volumes together, and of the largest and the smallest single volume."""

    total: int
    largest: int
    smallest: int


NOTHING = Available(0, 0, 0)


class Capacity:
    """Answers GetCapacity, for the scheduler.

    ``over_commit`` is how many times the real size of a pool may be promised to thin volumes, from 1 to 10.
    """

    def __init__(self, placement: Placement, over_commit: float) -> None:
        self._placement = placement
        self._over_commit = over_commit

    def available(self, parameters: Mapping[str, str], segments: Segments | None) -> Available:
        """What is available for volumes with these parameters, reachable from that topology.

        Parameters that no pool satisfies leave nothing, which is no error (specification, GetCapacity).
        """
        requirement = TopologyRequirement((segments,)) if segments else ANYWHERE
        try:
            wanted = VolumeParameters.parse(parameters)
            candidates = self._placement.candidates(wanted, requirement)
        except (InvalidArgument, ResourceExhausted) as error:
            log.debug("no capacity for these parameters", reason=error)
            return NOTHING
        # If none is possible, they count all the same, and CreateVolume says what is wrong with the class.
        # Without capacity the scheduler would say only that there is not enough space.
        possible = [candidate for candidate in candidates if _is_possible(candidate.pool, wanted)]
        pools = {
            (candidate.array.label, candidate.pool.id): candidate for candidate in possible or candidates
        }.values()
        sizes = [
            self._available_in(item.pool, item.array.pool_capacity(item.pool), wanted.provisioning)
            for item in pools
        ]
        return Available(
            total=min(sum(sizes), units.INT64_MAX),
            largest=min(max(sizes), max(item.array.largest_volume() for item in pools)),
            smallest=min(item.pool.granularity for item in pools),
        )

    def _available_in(self, pool: Pool, capacity: PoolCapacity, provisioning: Provisioning) -> int:
        """What the pool can still hold, a multiple of its granularity; never more than the array allows."""
        if provisioning is Provisioning.THICK:
            left = min(capacity.largest_thick, capacity.unused)
        else:
            promised = int(capacity.total * self._over_commit) - capacity.provisioned
            left = min(capacity.largest_thin, promised)
        return max(left, 0) // pool.granularity * pool.granularity


def _is_possible(pool: Pool, parameters: VolumeParameters) -> bool:
    """Whether CreateVolume would put such a volume into the pool."""
    try:
        require_possible(pool, parameters)
    except InvalidArgument as error:
        log.debug("no capacity for these parameters", reason=error)
        return False
    return True
