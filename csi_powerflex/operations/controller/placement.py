"""Placement: the systems and pools where a new volume can be created, in order of preference."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from csi_powerflex import call_context
from csi_powerflex.errors import DriverError, InvalidArgument, ResourceExhausted
from csi_powerflex.model.array import Pool, Provisioning
from csi_powerflex.model.parameters import VolumeParameters
from csi_powerflex.model.ports import Array, Fleet, Zone
from csi_powerflex.model.topology import Segments, Topology
from csi_powerflex.model.transport import AUTO

SYSTEM_SECONDS = 5.0
"""How much of a call's time one of several systems gets. One that hangs must leave time for the others."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pool that fits, and its zone where the system has zones."""

    array: Array
    pool: Pool
    zone: str | None


@dataclass(frozen=True, slots=True)
class TopologyRequirement:
    """From where the volume must be reachable, the preferred topologies first; empty for anywhere."""

    topologies: tuple[Segments, ...] = ()

    def __str__(self) -> str:
        return "; ".join(map(_readable, self.topologies))


def _readable(segments: Segments) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(segments.items()))


ANYWHERE = TopologyRequirement()


class Placement:
    """Finds candidates on a fleet.

    Args:
        fleet: the systems.
        topology: the names of the topology.
        keeps_attributes: whether the class's ``deleteAfter`` will be known when the volume is deleted.
        system_seconds: as ``SYSTEM_SECONDS``.
    """

    def __init__(
        self,
        fleet: Fleet,
        topology: Topology,
        *,
        keeps_attributes: bool,
        system_seconds: float = SYSTEM_SECONDS,
    ) -> None:
        self._keeps_attributes = keeps_attributes
        self._fleet = fleet
        self._topology = topology
        self._system_seconds = system_seconds

    def candidates(self, parameters: VolumeParameters, requirement: TopologyRequirement) -> list[Candidate]:
        """Every pool that fits, the best first; at least one.

        Raises:
            InvalidArgument: the parameters name something that does not exist.
            ResourceExhausted: no pool fits the topology.
        """
        arrays = self._arrays(parameters, requirement)
        errors: list[DriverError] = []
        # Systems that did not answer the last check are asked only where no other system has a pool.
        for reachable in (True, False):
            asked = [array for array in arrays if array.is_reachable is reachable]
            found = self._candidates_on(asked, parameters, requirement, errors)
            if found:
                return found
        if errors:
            raise errors[0]
        raise ResourceExhausted(
            f"no storage pool is reachable from any of these topologies: {requirement}"
            f"{_pinned(parameters)}{self._zones_missed(arrays, requirement)}. The systems have: "
            f"{self._topologies_of(arrays)}"
        )

    def _topologies_of(self, arrays: Iterable[Array]) -> str:
        """The topologies of the systems, which all answered just now."""
        known: list[tuple[str, Segments]] = []
        for array in arrays:
            names: list[str | None] = [zone.name for zone in array.zones]
            topologies = [self._topology.segments([array.system_id()], name) for name in names or [None]]
            known += [(array.label, topology) for topology in topologies]
        return "; ".join(f"{_readable(segments)} (system {label})" for label, segments in known)

    def one_of_several(self, arrays: Iterable[Array]) -> contextlib.AbstractContextManager[None]:
        """Limits the block, which asks one of ``arrays``, so that the others still get their time."""
        if len({array.label for array in arrays}) > 1:
            return call_context.within(self._system_seconds)
        return contextlib.nullcontext()

    def _candidates_on(
        self,
        arrays: list[Array],
        parameters: VolumeParameters,
        requirement: TopologyRequirement,
        errors: list[DriverError],
    ) -> list[Candidate]:
        """The candidates on these systems. Why a system has none is added to ``errors``.

        A system that does not answer, or lacks the pool, is no error while another system has a candidate.
        """
        found: dict[tuple[str, str], Candidate] = {}
        failed: set[str] = set()
        for segments in requirement.topologies or ({},):
            for array in arrays:
                if array.label in failed:
                    continue
                try:
                    with self.one_of_several(arrays):
                        for candidate in self._within(array, parameters, segments):
                            found.setdefault((array.label, candidate.pool.id), candidate)
                except DriverError as error:
                    errors.append(error)
                    failed.add(array.label)
        return list(found.values())

    def candidate_for_copy(
        self,
        array: Array,
        pool: Pool,
        parameters: VolumeParameters,
        requirement: TopologyRequirement,
        *,
        moved: bool = False,
    ) -> Candidate:
        """The candidate for a copy. A copy is always in the ``pool`` of its source.

        Args:
            array: has the source.
            pool: of the source.
            parameters: may name a system, domain and pool.
            requirement: from where the copy must be reachable.
            moved: whether the copy exists and was moved, so that its domain and pool do not count.

        Raises:
            InvalidArgument: the parameters name another system, domain or pool.
            ResourceExhausted: the pool is not reachable from any of the topologies.
        """
        asked = (parameters.system, *((None, None) if moved else (parameters.domain, parameters.pool)))
        names = ((array.label, array.system_id()), (pool.domain_name, pool.domain_id), (pool.name, pool.id))
        for wanted, known in zip(asked, names, strict=True):
            if wanted is not None and wanted not in known:
                raise InvalidArgument(
                    f"a copy is created in the pool of its source, {pool} of system {array.label}, "
                    f"and the parameters ask for {wanted!r}; if the source was moved there, give the claim a "
                    "VolumeAttributesClass with that storagepool"
                )
        self._require_trash(array, parameters)
        found = self.candidate_in(array, pool, parameters, requirement)
        if found is not None:
            return found
        raise ResourceExhausted(
            f"a copy is created in the pool of its source, {pool} of system {array.label}, which is not "
            f"reachable from any of these topologies: {requirement}{_pinned(parameters)}"
            f"{self._zones_missed([array], requirement)}"
        )

    def candidate_in(
        self, array: Array, pool: Pool, parameters: VolumeParameters, requirement: TopologyRequirement
    ) -> Candidate | None:
        """The candidate for a volume that is in this pool; None if no requested topology reaches it.

        Of the parameters only the transport counts.
        """
        zones = zones_of(array, pool)
        for segments in requirement.topologies or ({},):
            if not self._topology.reaches(segments, array.system_id(), parameters.transport):
                continue
            for zone in zones:
                if self._topology.in_zone(segments, zone):
                    return Candidate(array, pool, zone)
        return None

    def _zones_missed(self, arrays: Iterable[Array], requirement: TopologyRequirement) -> str:
        """The zones of systems that are reached but not in a zone of theirs, as the end of a message.

        It is empty if zones are not the reason. No array is asked.
        """
        topologies = requirement.topologies
        missed = {
            array.label: array.zones
            for array in arrays
            if array.zones and any(self._topology.reaches(each, array.system_id()) for each in topologies)
        }
        named = {segments.get(self._topology.zone_key) for segments in topologies}
        if not missed or named & {zone.name for zones in missed.values() for zone in zones}:
            return ""
        known = "; ".join(
            f"system {label} has only the zones {', '.join(dict.fromkeys(zone.name for zone in zones))}"
            for label, zones in missed.items()
        )
        return f"; {known}; register the nodes with one of them, or add the nodes' zone to the systems file"

    def _arrays(self, parameters: VolumeParameters, requirement: TopologyRequirement) -> list[Array]:
        """The systems to ask: the one that is named, or all where the topology or zones decide."""
        arrays = list(self._fleet.arrays())
        topology_decides = bool(requirement.topologies) or any(array.zones for array in arrays)
        if parameters.system is not None or not topology_decides:
            return [self._fleet.choose(parameters.system)]
        return arrays

    def _within(self, array: Array, parameters: VolumeParameters, segments: Segments) -> Iterator[Candidate]:
        if not self._topology.reaches(segments, array.system_id(), parameters.transport):
            return
        self._require_trash(array, parameters)
        if not array.zones:
            yield Candidate(array, array.pool(parameters.domain, parameters.pool), None)
            return
        for zone in array.zones:
            if self._topology.in_zone(segments, zone.name):
                yield from _in_zone(array, zone, parameters)

    def _require_trash(self, array: Array, parameters: VolumeParameters) -> None:
        """Check that a deleted volume can be kept for as long as the class wants.

        Raises:
            InvalidArgument: it cannot.
        """
        wanted, rules = parameters.delete_after, array.trash
        if wanted and rules is None:
            raise InvalidArgument(
                f"the class asks for deleteAfter, and system {array.label} has no key trash in the systems "
                "file; add it there, or remove deleteAfter from the class"
            )
        if wanted is not None and not self._keeps_attributes and wanted != (rules.keep if rules else 0):
            raise InvalidArgument(
                "the class asks for deleteAfter, and this driver runs without --kubernetes, so it cannot "
                "read deleteAfter when the volume is deleted; remove it from the class. The key trash of "
                f"system {array.label} says for how long a volume is kept"
            )


def require_possible(pool: Pool, parameters: VolumeParameters) -> None:
    """Check that the pool can hold such a volume.

    Raises:
        InvalidArgument: it cannot, or must not unless the parameters allow it.
    """
    if not pool.zero_padded and not parameters.allow_unpadded_pool:
        raise InvalidArgument(
            f"pool {pool} has no zero padding, so a new volume may show data that was deleted before; "
            "enable it on the pool, or set allowUnpaddedPool=true"
        )
    provisioning = parameters.provisioning
    if provisioning is Provisioning.COMPRESSED and not pool.compressible:
        raise InvalidArgument(f"pool {pool} cannot compress single volumes; use provisioning=thin")
    if provisioning is Provisioning.THICK and (pool.compressible or pool.erasure_coded):
        raise InvalidArgument(f"pool {pool} has thin volumes only; use provisioning=thin")


def _pinned(parameters: VolumeParameters) -> str:
    """That the class pins a transport, as a part of a message; empty if it does not."""
    if parameters.transport == AUTO:
        return ""
    return f" over transport {parameters.transport}, which the class asks for"


def zone_of(array: Array, pool: Pool) -> str | None:
    """The first zone that the pool is in; None if it is in none."""
    return zones_of(array, pool)[0]


def zones_of(array: Array, pool: Pool) -> list[str | None]:
    """The zones that the pool is in; only None if it is in none."""
    found: list[str | None] = []
    for zone in array.zones:
        for name in zone.storage_pools:
            # Pools of other protection domains may have the same name.
            # A name that is ambiguous, or a domain that does not exist, is no place of any volume.
            with contextlib.suppress(InvalidArgument):
                if name in (pool.name, pool.id) and array.pool(zone.protection_domain, name).id == pool.id:
                    found.append(zone.name)
    return found or [None]


def _in_zone(array: Array, zone: Zone, parameters: VolumeParameters) -> Iterator[Candidate]:
    for name in zone.storage_pools:
        pool = array.pool(zone.protection_domain, name)
        fits_pool = parameters.pool in (None, pool.id, pool.name)
        fits_domain = parameters.domain in (None, pool.domain_id, pool.domain_name)
        if fits_pool and fits_domain:
            yield Candidate(array, pool, zone.name)
