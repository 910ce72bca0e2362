"""Every metric the driver exports, in one table.

The three places that measure are the gRPC interceptor, the gateway client and the command runner.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)

RPC_SECONDS = Histogram(
    "csi_powerflex_rpc_seconds", "Time to answer a CSI call.", ("method", "code"), buckets=_SECONDS
)
RPC_UNFORESEEN = Counter(
    "csi_powerflex_rpc_unforeseen_errors", "CSI calls that ended in an error nobody foresaw.", ("method",)
)
RPC_SLOW_PLACES = Gauge("csi_powerflex_rpc_slow_places_used", "Calls under way that may wait for the array.")
GATEWAY_SECONDS = Histogram(
    "csi_powerflex_gateway_seconds",
    "Time of a request to a PowerFlex gateway.",
    ("system", "verb", "object", "status"),
    buckets=_SECONDS,
)
GATEWAY_LOGINS = Counter(
    "csi_powerflex_gateway_logins", "Logins at a PowerFlex gateway.", ("system", "result")
)
GATEWAY_CACHE_MISSES = Counter(
    "csi_powerflex_gateway_cache_misses",
    "Look-ups that had to ask the array for its pools or hosts.",
    ("system", "cache"),
)
GATEWAY_RETRIES = Counter(
    "csi_powerflex_gateway_retries",
    "Requests to a PowerFlex gateway that were repeated.",
    ("system", "reason"),
)
COMMAND_SECONDS = Histogram(
    "csi_powerflex_command_seconds",
    "Time of a host command such as mkfs or mount.",
    ("tool", "result"),
    buckets=_SECONDS,
)
