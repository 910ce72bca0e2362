"""``model.ports.Fleet``: the configured systems, found by id or name.

A system whose configuration names its id is never asked for it, so one that is down does not delay another.
"""

from __future__ import annotations

from collections.abc import Sequence

from csi_powerflex.config.systems import SystemSettings
from csi_powerflex.errors import DriverError, FailedPrecondition, InvalidArgument
from csi_powerflex.gateway.array import GatewayArray


class GatewayFleet:
    """Every system of the systems file."""

    def __init__(self, systems: Sequence[SystemSettings]) -> None:
        self._arrays = tuple(GatewayArray(settings) for settings in systems)
        self._by_id = {
            settings.id: array
            for settings, array in zip(systems, self._arrays, strict=True)
            if settings.id is not None
        }

    def array(self, system_id: str) -> GatewayArray:
        """See ``Fleet.array``."""
        if system_id in self._by_id:
            return self._by_id[system_id]
        unknown: list[DriverError] = []
        for array in self._unidentified():
            try:
                self._by_id[array.system_id()] = array
            except DriverError as error:
                unknown.append(error)
                continue
            if array.system_id() == system_id:
                return array
        if unknown:
            # It may be one of those that did not tell who they are.
            raise unknown[0]
        raise FailedPrecondition(
            f"PowerFlex system {system_id} is not in the systems file, so nothing can be done with its "
            "volumes; add it there"
        )

    def choose(self, system: str | None) -> GatewayArray:
        """See ``Fleet.choose``."""
        if system is None:
            if len(self._arrays) == 1:
                return self._arrays[0]
            raise InvalidArgument(
                f"several PowerFlex systems are configured ({self._names()}); name one in systemID"
            )
        for array in self._arrays:
            if array.label == system:
                return array
        for array in self._arrays:
            if array.answers_to(system):
                return array
        raise InvalidArgument(f"no PowerFlex system {system!r} is configured; there are: {self._names()}")

    def arrays(self) -> tuple[GatewayArray, ...]:
        """See ``Fleet.arrays``."""
        return self._arrays

    def close(self) -> None:
        """Give the sessions of all systems back."""
        for array in self._arrays:
            array.close()

    def _unidentified(self) -> list[GatewayArray]:
        known = set(self._by_id.values())
        return [array for array in self._arrays if array not in known]

    def _names(self) -> str:
        return ", ".join(array.label for array in self._arrays)
