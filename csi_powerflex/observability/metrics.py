"""Every metric the driver exports, in one table; docs/metrics.md is made from it.

The places that measure are the gRPC interceptor, the gateway client, the watch over the systems, and the
command runner. A label's values are few and known: no volume, no path, no message.
"""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True, slots=True)
class Described:
    """A metric as docs/metrics.md shows it; ``name`` is as a query has to write it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


TABLE: list[Described] = []


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    TABLE.append(Described(f"{name}_total", "counter", labels, meaning))
    return Counter(name, meaning, labels)


def _gauge(name: str, meaning: str, *labels: str) -> Gauge:
    TABLE.append(Described(name, "gauge", labels, meaning))
    return Gauge(name, meaning, labels)


def _histogram(name: str, meaning: str, *labels: str) -> Histogram:
    TABLE.append(Described(name, "histogram", labels, meaning))
    return Histogram(name, meaning, labels, buckets=_SECONDS)


RPC_SECONDS = _histogram("csi_powerflex_rpc_seconds", "Time to answer a CSI call.", "method", "code")
RPC_UNEXPECTED_ERRORS = _counter(
    "csi_powerflex_rpc_unforeseen_errors", "CSI calls that ended in an error nobody foresaw.", "method"
)
RPC_SLOW_SLOTS = _gauge(
    "csi_powerflex_rpc_slow_places_used", "Calls under way that may wait for the array or a device."
)
GATEWAY_SECONDS = _histogram(
    "csi_powerflex_gateway_seconds",
    "Time of a request to a PowerFlex gateway; status none where no answer came.",
    "system",
    "verb",
    "object",
    "status",
)
GATEWAY_LOGINS = _counter(
    "csi_powerflex_gateway_logins", "Logins and renewals, by how they ended.", "system", "result"
)
GATEWAY_CACHE_MISSES = _counter(
    "csi_powerflex_gateway_cache_misses",
    "Look-ups that had to ask the array for its pools or hosts.",
    "system",
    "cache",
)
GATEWAY_RETRIES = _counter(
    "csi_powerflex_gateway_retries", "Requests to a gateway that were repeated, by why.", "system", "reason"
)
SYSTEM_UP = _gauge(
    "csi_powerflex_system_up", "1 while a PowerFlex system answers and accepts the credentials.", "system"
)
POOL_BYTES = _gauge(
    "csi_powerflex_pool_bytes",
    "Capacity of a storage pool for user data: total, unused, or provisioned to volumes.",
    "system",
    "pool",
    "kind",
)
SDCS_CONNECTED = _gauge(
    "csi_powerflex_sdcs_connected", "SDCs that are connected to the system, of every cluster.", "system"
)
ARRAY_USED = _gauge(
    "csi_powerflex_array_used", "Objects of a kind that the array has: volumes, sdcs.", "system", "kind"
)
ARRAY_ALLOWED = _gauge(
    "csi_powerflex_array_allowed", "Objects of a kind that the array allows.", "system", "kind"
)
CONFIGURATION_LOADS = _counter(
    "csi_powerflex_configuration_loads", "Times the systems file was read anew, by how it ended.", "result"
)
COMMAND_SECONDS = _histogram(
    "csi_powerflex_command_seconds", "Time of a host command such as mkfs or mount.", "tool", "result"
)
