"""Creating empty volumes.

The name on the array follows from the CSI name, and the array keeps names unique. So a call that was
interrupted leaves no state behind: the next one finds by name what exists.
"""

from __future__ import annotations

from collections.abc import Sequence

from csi_powerflex import units
from csi_powerflex.errors import (
    ConnectFailed,
    DeadlineExceeded,
    DriverError,
    InvalidArgument,
    NotFound,
    OutOfRange,
    ResourceExhausted,
    Unavailable,
    is_final,
)
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import NameInUse, Volume
from csi_powerflex.model.ports import Array, Fleet, QosStore
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.create_history import CreateHistory
from csi_powerflex.operations.controller.lookup import find_volume_by_name
from csi_powerflex.operations.controller.matching import (
    CreatedVolume,
    VolumeRequest,
    require_match,
    size_for,
)
from csi_powerflex.operations.controller.placement import Candidate, Placement, require_possible
from csi_powerflex.operations.controller.size_errors import explained
from csi_powerflex.operations.controller.snapshot_policies import RequestedPolicy

log = Log(__name__)


class Creation:
    """Creates empty volumes on a fleet of systems."""

    def __init__(self, fleet: Fleet, placement: Placement, store: QosStore) -> None:
        self._fleet = fleet
        self._store = store
        self._placement = placement
        self._history = CreateHistory()

    def create(self, request: VolumeRequest, name: str, wanted: RequestedPolicy) -> CreatedVolume:
        """The volume with that name on the array, created if it does not exist.

        Raises as ``Volumes.create``.
        """
        candidates = self._placement.candidates(request.parameters, request.requirement)
        suspects = [array for array in self._fleet.arrays() if self._history.may_exist(array.label, name)]
        systems = {candidate.array.label for candidate in candidates}
        if len(systems) > 1 or any(array.label not in systems for array in suspects):
            existing, candidates = self._search(request, name, candidates, suspects)
            if existing is not None:
                return existing
        candidates = self._with_policy(candidates, name, wanted)
        # On a single system the attempt to create the volume shows whether it exists, without a look-up.
        return self._create_on_first(candidates, request, name)

    def _search(
        self, request: VolumeRequest, name: str, candidates: list[Candidate], suspects: list[Array]
    ) -> tuple[CreatedVolume | None, list[Candidate]]:
        """The volume, if a system has it, and the candidates on systems that answered.

        A system that does not answer is left out, unless the volume may exist there.

        Raises:
            AlreadyExists: the volume exists and does not fit.
            Unavailable: it may exist on a system that does not answer, or no system answers.
        """
        arrays = {item.array.label: item.array for item in candidates}
        errors: dict[str, DriverError] = {}
        for array in (arrays | {suspect.label: suspect for suspect in suspects}).values():
            try:
                with self._placement.one_of_several(self._fleet.arrays()):
                    volume = find_volume_by_name(array, name)
            except DriverError as error:
                if array in suspects:
                    raise _may_exist(request, name, array, error) from error
                log.warning("system left out of the choice", system=array.label, reason=error)
                errors[array.label] = error
                continue
            if volume is not None:
                return self._matching(array, volume, request, _on(array, candidates)), []
            self._history.record_absent(array.label, name)
        if arrays.keys() <= errors.keys():
            raise next(iter(errors.values()))
        return None, [candidate for candidate in candidates if candidate.array.label not in errors]

    def _with_policy(
        self, candidates: list[Candidate], name: str, wanted: RequestedPolicy
    ) -> list[Candidate]:
        """The candidates on systems with the requested snapshot policy; all if none is requested.

        Raises:
            DriverError: no system has it. It is final only if each system says so.
        """
        errors: dict[str, DriverError] = {}
        for array in {item.array.label: item.array for item in candidates}.values():
            try:
                with self._placement.one_of_several(self._fleet.arrays()):
                    wanted.require(array, name)
            except DriverError as error:
                errors[array.label] = error
        usable = [item for item in candidates if item.array.label not in errors]
        if not usable:
            raise min(errors.values(), key=is_final)
        return usable

    def _create_on_first(
        self, candidates: list[Candidate], request: VolumeRequest, name: str
    ) -> CreatedVolume:
        """Create the volume on the first candidate that can hold it, has space and can be reached."""
        errors: list[DriverError] = []
        for candidate in candidates:
            try:
                require_possible(candidate.pool, request.parameters)
                size = size_for(request, candidate.pool)
            except (InvalidArgument, OutOfRange) as error:
                errors.append(error)
                continue
            try:
                return self._create_on(candidate, size, request, name, _on(candidate.array, candidates))
            except (ResourceExhausted, ConnectFailed) as error:
                errors.append(error)
        raise _none_left(errors)

    def _create_on(
        self,
        candidate: Candidate,
        size: int,
        request: VolumeRequest,
        name: str,
        same_system: list[Candidate],
    ) -> CreatedVolume:
        """Create the volume there. If the system has it already, it may be in any of ``same_system``."""
        array, pool = candidate.array, candidate.pool
        known = self._created_recently(array, name)
        if known is not None:
            return self._matching(array, known, request, same_system)
        provisioning = request.parameters.provisioning
        what = f"volume {request.name} ({provisioning}, {units.readable(size)}, on the array {name})"
        with explained(array, lambda: pool, what):
            try:
                volume_id = array.create_volume(
                    name=name, size=size, pool=pool, provisioning=provisioning, claim=request.claim
                )
            except (NameInUse, ResourceExhausted):
                # The volume of an earlier call may be what filled the pool.
                existing = find_volume_by_name(array, name)
                if existing is None:
                    raise
                return self._matching(array, existing, request, same_system)
            except ConnectFailed:
                raise
            except (Unavailable, DeadlineExceeded):
                self._history.record_unknown(array.label, name)
                raise
        self._history.record_created(array.label, name, volume_id)
        handle = VolumeHandle(array.system_id(), volume_id)
        log.info("volume created", volume=handle, array_name=name, size=size, pool=pool)
        return CreatedVolume(handle=handle, size=size, copied=False, zone=candidate.zone, new=True)

    def _matching(
        self, array: Array, volume: Volume, request: VolumeRequest, same_system: list[Candidate]
    ) -> CreatedVolume:
        """A volume that exists on ``array``, if it fits the request.

        If it was moved to another pool since it was created, that pool only has to be reachable.

        Raises:
            AlreadyExists: it does not fit.
        """
        candidate = next((item for item in same_system if item.pool.id == volume.pool_id), None)
        fits = candidate is not None and volume.provisioning is request.parameters.provisioning
        if fits or not same_system or not self._store.may_have_moved(volume.handle):
            return require_match(volume, request, candidate)
        pool = array.pool_by_id(volume.pool_id)
        candidate = self._placement.candidate_in(array, pool, request.parameters, request.requirement)
        return require_match(volume, request, candidate, moved=True)

    def _created_recently(self, array: Array, name: str) -> Volume | None:
        """The volume, if this process created it recently. A repeated call then costs one request."""
        volume_id = self._history.created_id(array.label, name)
        if volume_id is None:
            return None
        try:
            return array.volume(volume_id)
        except NotFound:
            self._history.record_absent(array.label, name)
            return None


def _on(array: Array, candidates: list[Candidate]) -> list[Candidate]:
    return [candidate for candidate in candidates if candidate.array is array]


def _none_left(errors: Sequence[DriverError]) -> DriverError:
    """The error when no candidate was of use, with what each one said.

    A system that was not reached may have space, and a full pool may get some. So these count more than a
    pool that cannot hold the volume at all.
    """
    text = "; ".join(dict.fromkeys(map(str, errors)))
    for kind in (Unavailable, ResourceExhausted):
        if any(isinstance(error, kind) for error in errors):
            return kind(text)
    return type(errors[0])(text)


def _may_exist(request: VolumeRequest, name: str, array: Array, error: DriverError) -> Unavailable:
    return Unavailable(
        f"volume {request.name} may exist on system {array.label} as {name}, where an earlier call created "
        "it or ended without an answer; it is not created on another system until that system answers: "
        f"{error}"
    )
