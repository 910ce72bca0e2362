"""``model.ports.Fleet``: the configured systems, found by id or name, and replaced when the configuration is.

A call that is under way keeps the system that it looked up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence

from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.errors import DriverError, FailedPrecondition, InvalidArgument
from csi_powerflex.gateway.array import GatewayArray

# Calls that began before a system was replaced may go on with its session for this long.
_RETIRED_SECONDS = 300.0


class GatewayFleet:
    """Every system of the systems file."""

    def __init__(self, systems: Sequence[SystemSettings]) -> None:
        self._arrays = tuple(GatewayArray(settings) for settings in systems)
        self._lock = threading.Lock()
        self._retired: list[tuple[float, GatewayArray]] = []

    def array(self, system_id: str) -> GatewayArray:
        """See ``Fleet.array``. A system is asked for its id only if its configuration does not give it."""
        arrays = self._arrays
        for array in arrays:
            if array.cached_id == system_id:
                return array
        unknown: list[DriverError] = []
        # Systems that did not answer the last check come last: another one may have this id.
        for array in sorted(arrays, key=lambda item: not item.is_reachable):
            if array.cached_id is not None:
                continue
            try:
                if array.system_id() == system_id:
                    return array
            except DriverError as error:
                unknown.append(error)
        if unknown:
            # It may be one of the systems that did not answer.
            raise unknown[0]
        raise FailedPrecondition(
            f"PowerFlex system {system_id} is not in the systems file, so nothing can be done with its "
            "volumes; add it there"
        )

    def choose(self, system: str | None) -> GatewayArray:
        arrays = self._arrays
        if system is None:
            if len(arrays) == 1:
                return arrays[0]
            raise InvalidArgument(
                f"several PowerFlex systems are configured ({_names(arrays)}); name one in systemID"
            )
        for array in arrays:
            if system in (array.label, array.cached_id):
                return array
        for array in arrays:
            if array.cached_id is None and array.is_reachable and array.system_id() == system:
                return array
        raise InvalidArgument(f"no PowerFlex system {system!r} is configured; there are: {_names(arrays)}")

    def arrays(self) -> tuple[GatewayArray, ...]:
        return self._arrays

    def replace(self, systems: Sequence[SystemSettings], touched: Collection[str]) -> None:
        """Serve these systems from now on.

        A system with the same settings keeps its session and its caches, unless its label is in ``touched``:
        then its password or its CA file has changed.
        """
        with self._lock:
            kept = {array.label: array for array in self._arrays if array.label not in touched}
            before = self._arrays
            self._arrays = tuple(
                kept[settings.label]
                if settings.label in kept and kept[settings.label].settings == settings
                else GatewayArray(settings)
                for settings in systems
            )
            until = time.monotonic() + _RETIRED_SECONDS
            self._retired += [(until, array) for array in before if array not in self._arrays]

    def log_out_retired(self) -> None:
        """Log out of systems that were replaced long enough ago."""
        now = time.monotonic()
        with self._lock:
            over = [array for until, array in self._retired if until <= now]
            self._retired = [item for item in self._retired if item[1] not in over]
        for array in over:
            array.close()

    def close(self) -> None:
        """Log out of all systems."""
        with self._lock:
            retired, self._retired = self._retired, []
        for array in (*self._arrays, *(array for _, array in retired)):
            array.close()


def _names(arrays: Sequence[GatewayArray]) -> str:
    return ", ".join(array.label for array in arrays)
