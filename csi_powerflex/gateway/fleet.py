"""``model.ports.Fleet``: the configured systems, found by id or name, and replaced when the configuration is.

Whoever asks for a system gets the one of that moment: a call under way keeps what it has.
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
        """See ``Fleet.array``. A system is asked for its id only where its configuration does not tell."""
        arrays = self._arrays
        for array in arrays:
            if array.cached_id == system_id:
                return array
        unknown: list[DriverError] = []
        # Those that did not answer lately come last: another one may be the one that is looked for.
        for array in sorted(arrays, key=lambda item: item.last_error is not None):
            if array.cached_id is not None:
                continue
            try:
                if array.system_id() == system_id:
                    return array
            except DriverError as error:
                unknown.append(error)
        if unknown:
            # It may be one of those that did not tell who they are.
            raise unknown[0]
        raise FailedPrecondition(
            f"PowerFlex system {system_id} is not in the systems file, so nothing can be done with its "
            "volumes; add it there"
        )

    def choose(self, system: str | None) -> GatewayArray:
        """See ``Fleet.choose``."""
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
            if array.cached_id is None and array.last_error is None and array.system_id() == system:
                return array
        raise InvalidArgument(f"no PowerFlex system {system!r} is configured; there are: {_names(arrays)}")

    def arrays(self) -> tuple[GatewayArray, ...]:
        """See ``Fleet.arrays``."""
        return self._arrays

    def replace(self, systems: Sequence[SystemSettings], touched: Collection[str]) -> None:
        """Serve these systems from now on.

        A system whose settings are the same keeps its session and what it remembers, unless its label is in
        ``touched``, which says that its password or authority changed.
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
        """Give back the sessions of systems that were replaced long enough ago."""
        now = time.monotonic()
        with self._lock:
            over = [array for until, array in self._retired if until <= now]
            self._retired = [item for item in self._retired if item[1] not in over]
        for array in over:
            array.close()

    def close(self) -> None:
        """Give the sessions of all systems back."""
        with self._lock:
            retired, self._retired = self._retired, []
        for array in (*self._arrays, *(array for _, array in retired)):
            array.close()


def _names(arrays: Sequence[GatewayArray]) -> str:
    return ", ".join(array.label for array in arrays)
