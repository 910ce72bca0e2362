"""The monitor checks every system in the background: whether it answers, and how full it is.

Each system has a loop of its own, so one that hangs does not delay the others. A check also fills the caches,
which saves requests in the calls that follow, and updates the metrics of the array.
"""

from __future__ import annotations

import collections
from collections.abc import Collection, Mapping

from csi_powerflex import call_context
from csi_powerflex.background import Loop
from csi_powerflex.errors import DriverError, Unavailable
from csi_powerflex.gateway.array import GatewayArray
from csi_powerflex.gateway.fleet import GatewayFleet
from csi_powerflex.model.array import DomainState, Host, PoolCapacity, PoolReport, PoolState
from csi_powerflex.model.transport import SDC, TRANSPORTS
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)

# A system that does not answer is checked more often than one that does.
_DOWN_INTERVAL_SECONDS = 15.0
_TIMEOUT_SECONDS = 30.0
# The most hosts of a system that have a series of their own.
_MOST_HOSTS = 1000
# The array's name of the limit of a tree's members, and the share of it from which on a tree counts as near.
_TREE_LIMIT = "volumePerVtree"
_NEAR = 0.8
# A list of all volumes is used for this long. Another replica may list them now.
_LIST_SECONDS = 900.0


class FleetMonitor:
    """Checks every system of a fleet, again every ``seconds`` while it answers.

    ``over_commit`` is how many times the real size of a pool may be promised to thin volumes.
    """

    def __init__(self, fleet: GatewayFleet, *, seconds: float, over_commit: float) -> None:
        self._fleet = fleet
        self._seconds = seconds
        self._over_commit = over_commit
        # By label, the pools that were written to the log last.
        self._logged: dict[str, str] = {}
        # By label, the error of the last check. A system with changed settings is another array object.
        self._errors: dict[str, DriverError | None] = {}
        self._loops: dict[GatewayArray, Loop] = {}

    def start(self) -> None:
        """Begin to check the systems of the fleet. Call it again after the fleet's systems were replaced."""
        self._loops = {array: loop for array, loop in self._loops.items() if loop.running}
        for array in self._loops.keys() - set(self._fleet.arrays()):
            self._loops[array].wake()
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
            self._forget(array)
            return None
        try:
            check(array, self._over_commit)
        finally:
            self._log_change(array)
        if array.is_reachable:
            self._log_pools(array)
        self._fleet.log_out_retired()
        return self._seconds if array.is_reachable else min(_DOWN_INTERVAL_SECONDS, self._seconds)

    def _log_pools(self, array: GatewayArray) -> None:
        """Write what was found at the first check, and again when the pools have changed."""
        pools = ", ".join(sorted(map(str, array.pools())))
        if self._logged.get(array.label) != pools:
            self._logged[array.label] = pools
            log.info("system found", system=array.label, system_id=array.cached_id, pools=pools)

    def _log_change(self, array: GatewayArray) -> None:
        """Write that a system fails, or works again."""
        if array not in self._fleet.arrays():
            return  # it was replaced during the check
        before, now = self._errors.get(array.label), array.last_error
        self._errors[array.label] = now
        if now is not None and str(now) != str(before):
            log.warning("system does not answer", system=array.label, reason=now)
        elif now is None and before is not None:
            log.info("system answers again", system=array.label)

    def _forget(self, array: GatewayArray) -> None:
        """Remove the metrics of a system that the fleet has no more, unless another entry has its name."""
        if array.label not in {other.label for other in self._fleet.arrays()}:
            metrics.forget_system(array.label)
            self._errors.pop(array.label, None)


def check(array: GatewayArray, over_commit: float) -> None:
    """Check one system, and update its caches and metrics."""
    with call_context.background(f"monitor {array.label}", seconds=_TIMEOUT_SECONDS):
        try:
            array.refresh()
            _measure(array, over_commit)
        except DriverError as error:
            array.record_check(error)
        except Exception as error:
            array.record_check(Unavailable(f"unexpected {type(error).__name__}; the log has the stack"))
            raise
        else:
            array.record_check(None)
        finally:
            metrics.SYSTEM_UP.show(array.label, {(): array.is_reachable})


def _measure(array: GatewayArray, over_commit: float) -> None:
    reports = {str(report.pool): report for report in array.pool_reports()}
    _measure_pools(array.label, reports, over_commit)
    _measure_hosts(array.label, array.hosts_by_id(()).values())
    _measure_objects(array)


def _measure_pools(system: str, reports: Mapping[str, PoolReport], over_commit: float) -> None:
    domains = {report.pool.domain_name: report.domain_state for report in reports.values()}
    metrics.DOMAIN_STATE.show(
        system,
        {(name, state.value): state is now for name, now in domains.items() for state in DomainState},
    )
    metrics.POOL_STATE.show(
        system,
        {
            (pool, state.name.lower()): state is report.state
            for pool, report in reports.items()
            for state in PoolState
        },
    )
    metrics.POOL_THRESHOLD.show(
        system,
        {
            (pool, level): share
            for pool, report in reports.items()
            for level, share in report.thresholds.items()
        },
    )
    capacities: dict[tuple[str, ...], PoolCapacity] = {
        (pool,): report.capacity for pool, report in reports.items()
    }
    metrics.POOL_SIZE.show(system, {pool: each.total for pool, each in capacities.items()})
    metrics.POOL_FREE.show(system, {pool: each.unused for pool, each in capacities.items()})
    metrics.POOL_PROVISIONED.show(system, {pool: each.provisioned for pool, each in capacities.items()})
    metrics.POOL_PROVISIONED_LIMIT.show(
        system, {pool: each.total * over_commit for pool, each in capacities.items()}
    )


def _measure_hosts(system: str, hosts: Collection[Host]) -> None:
    names = {kind.initiator: kind.name for kind in TRANSPORTS.values()}
    # The list of hosts does not tell whether an NVMe host is connected.
    told = [host for host in hosts if host.connected or host.disconnected]
    counts = collections.Counter(names[host.kind] for host in told if host.connected)
    kinds = {SDC.name, *(names[host.kind] for host in told)}
    metrics.HOSTS_CONNECTED.show(system, {(name,): counts[name] for name in kinds})
    # Hosts that are not connected come first, so that the limit leaves out none of them.
    first = sorted(told, key=lambda host: (host.connected, host.name or host.initiator.value))
    connected: dict[tuple[str, ...], float] = {
        (host.name or host.initiator.value, names[host.kind]): host.connected for host in first[:_MOST_HOSTS]
    }
    metrics.HOST_CONNECTED.show(system, connected)


def _measure_objects(array: GatewayArray) -> None:
    limits = array.limits()
    used = {kind: count for kind, count in array.usage().items() if kind in limits}
    metrics.ARRAY_OBJECTS.show(array.label, {(kind,): count for kind, count in used.items()})
    metrics.ARRAY_OBJECTS_LIMIT.show(array.label, {(kind,): limits[kind] for kind in used})
    limit = limits.get(_TREE_LIMIT)
    sizes = array.trees(seconds=_LIST_SECONDS)
    trees = sizes.counts if limit else {}
    near = sum(count for members, count in trees.items() if limit and members >= _NEAR * limit)
    metrics.TREE_MEMBERS.show(array.label, {(name,): count for name, count in sizes.largest.items()})
    metrics.TREE_MEMBERS_LIMIT.show(array.label, {(): limit} if limit else {})
    metrics.TREES_NEAR_LIMIT.show(array.label, {(): near} if trees else {})
    metrics.TREE_MEMBERS_MAX.show(array.label, {(): max(trees)} if trees else {})
