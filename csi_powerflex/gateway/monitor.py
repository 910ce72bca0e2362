"""Watching over the systems in the background: who answers, how full they are.

One thread for each system, so that one that hangs keeps nobody waiting. It learns what calls would otherwise
have to ask for first, says once when a system goes or comes back, and keeps the metrics of the array.
"""

from __future__ import annotations

import threading
import time

from csi_powerflex import call_context
from csi_powerflex.errors import DriverError, Unavailable
from csi_powerflex.gateway.array import GatewayArray
from csi_powerflex.gateway.fleet import GatewayFleet
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)

# A system that does not answer is asked again soon, one that does seldom.
_DOWN_INTERVAL_SECONDS = 15.0
_TIMEOUT_SECONDS = 30.0


class FleetMonitor:
    """Looks at every system of a fleet, again every ``seconds`` while it answers."""

    def __init__(self, fleet: GatewayFleet, *, seconds: float) -> None:
        self._fleet = fleet
        self._seconds = seconds
        self._stopping = threading.Event()
        self._threads: dict[GatewayArray, threading.Thread] = {}

    def start(self) -> None:
        """Begin to watch the systems there are now; call it again when they were replaced."""
        self._threads = {array: thread for array, thread in self._threads.items() if thread.is_alive()}
        for array in self._fleet.arrays():
            if array not in self._threads:
                self._threads[array] = threading.Thread(
                    target=self._watch, args=(array,), name=f"watch {array.label}", daemon=True
                )
                self._threads[array].start()

    def stop(self) -> None:
        """Stop watching; a look under way ends by itself."""
        self._stopping.set()

    def _watch(self, array: GatewayArray) -> None:
        while array in self._fleet.arrays():
            check(array)
            self._fleet.log_out_retired()
            if self._stopping.wait(
                self._seconds if array.last_error is None else min(_DOWN_INTERVAL_SECONDS, self._seconds)
            ):
                return


def check(array: GatewayArray) -> None:
    """Learn what is known of a system, and say when that has changed."""
    before = array.last_error
    with call_context.entered(
        call_context.CallContext("watch", array.label, deadline=time.monotonic() + _TIMEOUT_SECONDS)
    ):
        try:
            array.refresh()
            _measure(array)
        except DriverError as error:
            array.last_error = error
        except Exception as error:  # noqa: BLE001 - the watch must go on, and say so
            log.unexpected("look at a system met an unforeseen error", error, system=array.label)
            array.last_error = Unavailable(f"unforeseen {type(error).__name__}; the log has its stack")
        else:
            array.last_error = None
    metrics.SYSTEM_UP.labels(array.label).set(array.last_error is None)
    if array.last_error is not None and (before is None or str(before) != str(array.last_error)):
        log.warning("system does not serve", system=array.label, reason=array.last_error)
    elif array.last_error is None and before is not None:
        log.info("system serves again", system=array.label)


def _measure(array: GatewayArray) -> None:
    for pool in array.pools():
        room = array.room(pool)
        metrics.POOL_SIZE.labels(array.label, str(pool)).set(room.total)
        metrics.POOL_FREE.labels(array.label, str(pool)).set(room.unused)
        metrics.POOL_PROVISIONED.labels(array.label, str(pool)).set(room.provisioned)
    hosts = array.hosts_by_id(()).values()
    metrics.HOSTS_CONNECTED.labels(array.label, "sdc").set(sum(host.connected for host in hosts))
    for kind, (used, allowed) in array.usage().items():
        metrics.ARRAY_OBJECTS.labels(array.label, kind).set(used)
        metrics.ARRAY_OBJECTS_LIMIT.labels(array.label, kind).set(allowed)
