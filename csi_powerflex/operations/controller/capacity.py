"""How much more can be provisioned, for a class and a topology."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from csi_powerflex import units
from csi_powerflex.errors import InvalidArgument, ResourceExhausted
from csi_powerflex.model.array import Pool, PoolCapacity, Provisioning
from csi_powerflex.model.parameters import VolumeParameters
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.placement import ANYWHERE, Placement, Segments, TopologyRequirement

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class Available:
    """Bytes: in all, and of the largest and smallest single volume."""

    total: int
    largest: int
    smallest: int


NOTHING = Available(0, 0, 0)


class Capacity:
    """Answers for the scheduler.

    ``over_commit`` is how many times a pool's real space may be promised to thin volumes, from 1 to 10.
    """

    def __init__(self, placement: Placement, over_commit: float) -> None:
        self._placement = placement
        self._over_commit = over_commit

    def available(self, parameters: Mapping[str, str], segments: Segments | None) -> Available:
        """What is left for volumes with these parameters, reachable from that topology.

        Parameters that nothing can satisfy leave nothing, which is no error (specification, GetCapacity).
        """
        requirement = TopologyRequirement((segments,)) if segments else ANYWHERE
        try:
            wanted = VolumeParameters.parse(parameters)
            candidates = self._placement.candidates(wanted, requirement)
        except (InvalidArgument, ResourceExhausted) as error:
            log.info("no capacity for these parameters", reason=error)
            return NOTHING
        pools = {(candidate.array.label, candidate.pool.id): candidate for candidate in candidates}
        rooms = [
            self._room(candidate.pool, candidate.array.room(candidate.pool), wanted.provisioning)
            for candidate in pools.values()
        ]
        max_entries = max(candidate.array.largest_volume() for candidate in pools.values())
        return Available(
            total=min(sum(rooms), units.INT64_MAX),
            largest=min(max(rooms), max_entries),
            smallest=min(candidate.pool.granularity for candidate in pools.values()),
        )

    def _room(self, pool: Pool, room: PoolCapacity, provisioning: Provisioning) -> int:
        """What the pool still takes: no more than the array itself allows, in whole steps."""
        if provisioning is Provisioning.THICK:
            left = min(room.thick, room.unused)
        else:
            left = min(room.thin, int(room.total * self._over_commit) - room.provisioned)
        return max(left, 0) // pool.granularity * pool.granularity
