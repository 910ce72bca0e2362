"""Where a new volume may go: the systems and pools that its parameters and its topology leave, best first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from csi_powerflex import call_context
from csi_powerflex.errors import DriverError, InvalidArgument, ResourceExhausted
from csi_powerflex.model.array import Pool
from csi_powerflex.model.parameters import VolumeParameters
from csi_powerflex.model.ports import Array, Fleet, Zone

LOOK_SECONDS = 5.0
"""How much of a call's time goes to one system of several: one that hangs must leave time for the others."""

Segments = Mapping[str, str]
"""One topology, as a node says it: {"<driver>/<system id>": "true", "<driver>/zone": "a"}."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pool that fits, and the zone it lies in where the system has zones."""

    array: Array
    pool: Pool
    zone: str | None


@dataclass(frozen=True, slots=True)
class TopologyRequirement:
    """Where the volume has to be reachable from, the preferred topologies first; empty for anywhere."""

    topologies: tuple[Segments, ...] = ()


ANYWHERE = TopologyRequirement()


class Placement:
    """Finds places on a fleet for one driver name, which is the prefix of its topology keys."""

    def __init__(self, fleet: Fleet, driver_name: str) -> None:
        self._fleet = fleet
        self._prefix = f"{driver_name}/"

    @property
    def zone_key(self) -> str:
        """The topology key for zones."""
        return f"{self._prefix}zone"

    def system_key(self, system_id: str) -> str:
        """The topology key for reaching a system."""
        return f"{self._prefix}{system_id}"

    def segments(self, system_id: str, zone: str | None) -> dict[str, str]:
        """The topology of a volume that lies there."""
        segments = {self.system_key(system_id): "true"}
        if zone is not None:
            segments[self.zone_key] = zone
        return segments

    def candidates(self, parameters: VolumeParameters, requirement: TopologyRequirement) -> list[Candidate]:
        """Every place that fits, best first, at least one.

        Raises:
            InvalidArgument: the parameters name something that does not exist.
            ResourceExhausted: no system and pool fits the topology.
        """
        arrays = self._arrays(parameters, requirement)
        errors: list[DriverError] = []
        # Systems that did not answer lately are asked only where no other will do.
        for reachable in (True, False):
            asked = [array for array in arrays if array.is_reachable is reachable]
            candidates = self._candidates_on(asked, parameters, requirement, errors)
            if candidates:
                return candidates
        if errors:
            raise errors[0]
        topologies = "; ".join(_readable(segments) for segments in requirement.topologies)
        raise ResourceExhausted(f"no storage pool is reachable from any of these topologies: {topologies}")

    def _candidates_on(
        self,
        arrays: list[Array],
        parameters: VolumeParameters,
        requirement: TopologyRequirement,
        errors: list[DriverError],
    ) -> list[Candidate]:
        """The places on these systems. Why a system has none is added to ``errors``.

        Another system may do: one that is down, or lacks the pool, decides nothing alone.
        """
        found: dict[tuple[str, str], Candidate] = {}
        failed: set[str] = set()
        for segments in requirement.topologies or ({},):
            for array in arrays:
                if array.label in failed:
                    continue
                try:
                    with call_context.within(LOOK_SECONDS) if len(arrays) > 1 else contextlib.nullcontext():
                        for candidate in self._within(array, parameters, segments):
                            found.setdefault((candidate.array.label, candidate.pool.id), candidate)
                except DriverError as error:
                    errors.append(error)
                    failed.add(array.label)
        return list(found.values())

    def candidate_for_copy(
        self, array: Array, pool: Pool, parameters: VolumeParameters, requirement: TopologyRequirement
    ) -> Candidate:
        """The place of a copy, which has to lie in the ``pool`` of its source.

        Raises:
            InvalidArgument: the parameters name another place.
            ResourceExhausted: the pool is not reachable from any of the topologies.
        """
        asked = (parameters.system, parameters.domain, parameters.pool)
        names = ((array.label, array.system_id()), (pool.domain_name, pool.domain_id), (pool.name, pool.id))
        for wanted, known in zip(asked, names, strict=True):
            if wanted is not None and wanted not in known:
                raise InvalidArgument(
                    f"a copy lies where its source does, in pool {pool} of system {array.label}, "
                    f"and the parameters ask for {wanted!r}"
                )
        zones = [zone.name for zone in array.zones if {pool.name, pool.id} & set(zone.storage_pools)]
        zone = zones[0] if zones else None
        for segments in requirement.topologies or ({},):
            if self._reaches(array, segments) and segments.get(self.zone_key, zone) == zone:
                return Candidate(array, pool, zone)
        topologies = "; ".join(_readable(segments) for segments in requirement.topologies)
        raise ResourceExhausted(
            f"a copy lies where its source does, in pool {pool} of system {array.label}, which is not "
            f"reachable from any of these topologies: {topologies}"
        )

    def _arrays(self, parameters: VolumeParameters, requirement: TopologyRequirement) -> list[Array]:
        """The systems to look at: the one that is named, or all where the topology or zones choose."""
        arrays = list(self._fleet.arrays())
        chosen_by_topology = bool(requirement.topologies) or any(array.zones for array in arrays)
        if parameters.system is not None or not chosen_by_topology:
            return [self._fleet.choose(parameters.system)]
        return arrays

    def _within(self, array: Array, parameters: VolumeParameters, segments: Segments) -> Iterator[Candidate]:
        if not self._reaches(array, segments):
            return
        if not array.zones:
            yield Candidate(array, array.pool(parameters.domain, parameters.pool), None)
            return
        wanted = segments.get(self.zone_key)
        for zone in array.zones:
            if wanted in (None, zone.name):
                yield from self._in_zone(array, zone, parameters)

    @staticmethod
    def _in_zone(array: Array, zone: Zone, parameters: VolumeParameters) -> Iterator[Candidate]:
        for name in zone.storage_pools:
            pool = array.pool(zone.protection_domain, name)
            fits_pool = parameters.pool in (None, pool.id, pool.name)
            fits_domain = parameters.domain in (None, pool.domain_id, pool.domain_name)
            if fits_pool and fits_domain:
                yield Candidate(array, pool, zone.name)

    def _reaches(self, array: Array, segments: Segments) -> bool:
        """Whether a node with these segments reaches the system; one that names no system reaches all."""
        systems = [key for key in segments if key.startswith(self._prefix) and key != self.zone_key]
        return not systems or self.system_key(array.system_id()) in systems


def _readable(segments: Segments) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(segments.items()))
