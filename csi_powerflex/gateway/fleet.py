"""``model.ports.Fleet``: the configured systems, found by id or name.

The systems are replaced when the configuration changes. A call under way continues with the system that it
has.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from functools import partial

from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.errors import DriverError, FailedPrecondition, InvalidArgument, is_final
from csi_powerflex.gateway.array import GatewayArray
from csi_powerflex.gateway.client import RETRY_SECONDS
from csi_powerflex.ids import is_object_id

# Calls that began before a system was replaced may use its session for this long.
_RETIRED_SECONDS = 300.0


class GatewayFleet:
    """Every system of the systems file.

    Args:
        systems: the settings of each system.
        retry_seconds: as for ``Client``.
    """

    def __init__(self, systems: Sequence[SystemSettings], *, retry_seconds: float = RETRY_SECONDS) -> None:
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        # By system id, the label of the entry that has it.
        self._owners: dict[str, str] = {}
        self._labels = frozenset(settings.label for settings in systems)
        self._arrays = tuple(self._array_of(settings) for settings in systems)
        self._retired: list[tuple[float, GatewayArray]] = []

    def array(self, system_id: str) -> GatewayArray:
        """See ``Fleet.array``. Only systems whose id is not known get a request."""
        found = _with_id(self._arrays, system_id)
        if found is None:
            raise FailedPrecondition(
                f"PowerFlex system {system_id} is not in the systems file, so its volumes cannot be used; "
                "add it there"
            )
        return found

    def choose(self, system: str | None) -> GatewayArray:
        arrays = self._arrays
        if system is None:
            if len(arrays) == 1:
                return arrays[0]
            raise InvalidArgument(
                f"several PowerFlex systems are configured ({_names(arrays)}); name one in systemID"
            )
        for array in arrays:
            if array.label == system:
                return array
        found = _with_id(arrays, system) if is_object_id(system) else None
        if found is None:
            raise InvalidArgument(
                f"no PowerFlex system {system!r} is configured; there are: {_names(arrays)}"
            )
        return found

    def arrays(self) -> tuple[GatewayArray, ...]:
        return self._arrays

    def replace(self, systems: Sequence[SystemSettings], touched: Collection[str]) -> None:
        """Serve these systems from now on.

        A system with unchanged settings keeps its session and its caches.

        Args:
            systems: the settings of each system.
            touched: labels of systems whose password or CA file has changed. They are replaced too.
        """
        with self._lock:
            kept = {array.label: array for array in self._arrays if array.label not in touched}
            before = self._arrays
            self._arrays = tuple(
                kept[settings.label]
                if settings.label in kept and kept[settings.label].settings == settings
                else self._array_of(settings)
                for settings in systems
            )
            self._labels = frozenset(settings.label for settings in systems)
            # A replaced entry may lead to another system now.
            unchanged = {array.label for array in self._arrays if array in before}
            self._owners = {owned: label for owned, label in self._owners.items() if label in unchanged}
            until = time.monotonic() + _RETIRED_SECONDS
            self._retired += [(until, array) for array in before if array not in self._arrays]

    def _array_of(self, settings: SystemSettings) -> GatewayArray:
        return GatewayArray(
            settings, retry_seconds=self._retry_seconds, claim=partial(self._claim, settings.label)
        )

    def _claim(self, label: str, system_id: str) -> str | None:
        """Note that the entry ``label`` has this id. Returns the label of the entry that has it already."""
        with self._lock:
            if label not in self._labels:
                return None
            owner = self._owners.setdefault(system_id, label)
        return owner if owner != label else None

    def log_out_retired(self) -> None:
        """Log out of systems that were replaced so long ago that no call uses them any more."""
        now = time.monotonic()
        with self._lock:
            unused = [array for until, array in self._retired if until <= now]
            self._retired = [item for item in self._retired if item[1] not in unused]
        for array in unused:
            array.close()

    def close(self) -> None:
        """Log out of all systems."""
        with self._lock:
            retired, self._retired = self._retired, []
        for array in (*self._arrays, *(array for _, array in retired)):
            array.close()


def _with_id(arrays: Sequence[GatewayArray], system_id: str) -> GatewayArray | None:
    """The system with this id, or None. Only systems whose id is not known get a request.

    Raises:
        DriverError: no other system has this id, and one that may have it did not answer. It is not final if
            one of these errors is not, because that system may have what an earlier call made.
    """
    for array in arrays:
        if array.cached_id == system_id:
            return array
    unknown: list[DriverError] = []
    # Systems that did not answer the last check are tried last: another one may have this id.
    for array in sorted(arrays, key=lambda item: not item.is_reachable):
        try:
            # Another call may have found the id in the meantime. Then this costs no request.
            if array.system_id() == system_id:
                return array
        except DriverError as error:
            unknown.append(error)
    if unknown:
        raise min(unknown, key=is_final)
    return None


def _names(arrays: Sequence[GatewayArray]) -> str:
    return ", ".join(array.label for array in arrays)
