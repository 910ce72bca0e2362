"""The monitor checks every system in the background: whether it answers, and how full it is.

Each system has a loop of its own, so one that hangs does not delay the others. A check also fills the caches,
which saves requests in the calls that follow, and updates the metrics of the array.
"""

from __future__ import annotations

from csi_powerflex import call_context
from csi_powerflex.background import Loop
from csi_powerflex.errors import DriverError, Unavailable
from csi_powerflex.gateway.array import GatewayArray
from csi_powerflex.gateway.fleet import GatewayFleet
from csi_powerflex.model.transport import TRANSPORTS
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)

# A system that does not answer is checked more often than one that does.
_DOWN_INTERVAL_SECONDS = 15.0
_TIMEOUT_SECONDS = 30.0


class FleetMonitor:
    """Checks every system of a fleet, again every ``seconds`` while it answers."""

    def __init__(self, fleet: GatewayFleet, *, seconds: float) -> None:
        self._fleet = fleet
        self._seconds = seconds
        self._loops: dict[GatewayArray, Loop] = {}

    def start(self) -> None:
        """Begin to check the systems of the fleet. Call it again after the fleet's systems were replaced."""
        self._loops = {array: loop for array, loop in self._loops.items() if loop.running}
        for array in self._fleet.arrays():
            if array not in self._loops:
                self._loops[array] = Loop(f"monitor {array.label}", lambda array=array: self._step(array))  # type: ignore[misc]  # bound at once
                self._loops[array].start()

    def stop(self) -> None:
        """Begin no further check. A check under way ends by itself."""
        for loop in self._loops.values():
            loop.request_stop()

    def _step(self, array: GatewayArray) -> float | None:
        """One check. Returns the seconds until the next one; None once the fleet has no such system."""
        if array not in self._fleet.arrays():
            return None
        check(array)
        self._fleet.log_out_retired()
        return self._seconds if array.is_reachable else min(_DOWN_INTERVAL_SECONDS, self._seconds)


def check(array: GatewayArray) -> None:
    """Check one system, update its caches and metrics, and log when it fails or works again."""
    before = array.last_error
    with call_context.background(f"monitor {array.label}", seconds=_TIMEOUT_SECONDS):
        try:
            array.refresh()
            _measure(array)
        except DriverError as error:
            array.record_check(error)
        except Exception as error:
            array.record_check(Unavailable(f"unexpected {type(error).__name__}; the log has the stack"))
            raise
        else:
            array.record_check(None)
        finally:
            metrics.SYSTEM_UP.labels(array.label).set(array.is_reachable)
            _log_change(array, before)


def _log_change(array: GatewayArray, before: DriverError | None) -> None:
    now = array.last_error
    if now is not None and str(now) != str(before):
        log.warning("system does not answer", system=array.label, reason=now)
    elif now is None and before is not None:
        log.info("system answers again", system=array.label)


def _measure(array: GatewayArray) -> None:
    for pool in array.pools():
        capacity = array.pool_capacity(pool)
        metrics.POOL_SIZE.labels(array.label, str(pool)).set(capacity.total)
        metrics.POOL_FREE.labels(array.label, str(pool)).set(capacity.unused)
        metrics.POOL_PROVISIONED.labels(array.label, str(pool)).set(capacity.provisioned)
    hosts = array.hosts_by_id(()).values()
    for transport in TRANSPORTS.values():
        connected = sum(host.connected for host in hosts if host.kind is transport.initiator)
        metrics.HOSTS_CONNECTED.labels(array.label, transport.name).set(connected)
    for kind, (used, allowed) in array.usage().items():
        metrics.ARRAY_OBJECTS.labels(array.label, kind).set(used)
        metrics.ARRAY_OBJECTS_LIMIT.labels(array.label, kind).set(allowed)
