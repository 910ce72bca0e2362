"""Every metric the driver exports, in one table. docs/metrics.md is made from it.

Names follow Prometheus: a histogram of times ends in ``_duration_seconds``, a counter in ``_total``, and the
unit comes last. A label has few values, and all of them are known: no volume, no path, no message. Values are
in lower_snake_case and never empty. Only names of others are written as those write them: RPCs and their
codes, systems, pools and programs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
# A word of a name in CamelCase begins at a capital after a small letter, or at the last of several capitals.
_NEW_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class Described:
    """A metric as docs/metrics.md shows it.

    Attributes:
        name: as a query has to write it.
        labels: for each label a description of its values.
    """

    name: str
    kind: str
    description: str
    labels: Mapping[str, str]


TABLE: list[Described] = []


def label_value(name: str) -> str:
    """The name of a class, an object type or an HTTP method as a label's value: in lower_snake_case."""
    return _NEW_WORD.sub("_", name).lower()


def error_label(error: Exception) -> str:
    """The kind of ``error`` as a label's value, such as ``connect_failed``."""
    return label_value(type(error).__name__)


def _counter(name: str, description: str, **labels: str) -> Counter:
    TABLE.append(Described(name, "counter", description, labels))
    return Counter(name, description, tuple(labels))


def _gauge(name: str, description: str, **labels: str) -> Gauge:
    TABLE.append(Described(name, "gauge", description, labels))
    return Gauge(name, description, tuple(labels))


def _histogram(name: str, description: str, **labels: str) -> Histogram:
    TABLE.append(Described(name, "histogram", description, labels))
    return Histogram(name, description, tuple(labels), buckets=_BUCKETS_SECONDS)


_SYSTEM = "name of the PowerFlex system, or its id where it has no name"
_POOL = "protection domain and storage pool, as in pd1/sp1"
_OBJECTS = "volumes or sdcs"

RPC_DURATION = _histogram(
    "csi_powerflex_rpc_duration_seconds",
    "Time to answer a CSI call.",
    method="name of the RPC, as in CreateVolume",
    code="gRPC status code, as in OK or DEADLINE_EXCEEDED",
)
RPC_UNEXPECTED_ERRORS = _counter(
    "csi_powerflex_rpc_unexpected_errors_total",
    "CSI calls that ended in an unexpected error, which is a defect of the driver. The log has the stack.",
    method="name of the RPC",
)
RPC_SLOW_SLOTS_IN_USE = _gauge(
    "csi_powerflex_rpc_slow_slots_in_use",
    "CSI calls being served that may wait for the array or for a device.",
)
GATEWAY_REQUEST_DURATION = _histogram(
    "csi_powerflex_gateway_request_duration_seconds",
    "Time of an HTTP request to a PowerFlex gateway.",
    system=_SYSTEM,
    verb="HTTP method: get or post",
    object="type of the object: login, metrics, protection_domain, sdc, storage_pool, system, user, v_tree, "
    "version, volume",
    status="HTTP status code; none where no answer came",
)
GATEWAY_LOGINS = _counter(
    "csi_powerflex_gateway_logins_total",
    "Logins to a PowerFlex gateway and renewals of a token.",
    system=_SYSTEM,
    result="ok, or the error: connect_failed, connection_lost, deadline_exceeded, failed_precondition, "
    "read_timeout, unauthenticated or unavailable",
)
GATEWAY_CACHE_MISSES = _counter(
    "csi_powerflex_gateway_cache_misses_total",
    "Look-ups of a pool or a host that had to ask the array.",
    system=_SYSTEM,
    cache="hosts or pools",
)
GATEWAY_RETRIES = _counter(
    "csi_powerflex_gateway_retries_total",
    "Requests to a PowerFlex gateway that were sent again.",
    system=_SYSTEM,
    reason="the error: connect_failed, connection_lost, token_refused or unavailable",
)
SYSTEM_UP = _gauge(
    "csi_powerflex_system_up",
    "1 while a PowerFlex system answers and accepts the credentials, else 0.",
    system=_SYSTEM,
)
POOL_SIZE = _gauge(
    "csi_powerflex_pool_size_bytes",
    "User data that a storage pool can hold.",
    system=_SYSTEM,
    pool=_POOL,
)
POOL_FREE = _gauge(
    "csi_powerflex_pool_free_bytes",
    "Part of the size of a storage pool that holds no data yet.",
    system=_SYSTEM,
    pool=_POOL,
)
POOL_PROVISIONED = _gauge(
    "csi_powerflex_pool_provisioned_bytes",
    "Sum of the sizes of all volumes of a storage pool; with thin volumes it can exceed the pool's size.",
    system=_SYSTEM,
    pool=_POOL,
)
HOSTS_CONNECTED = _gauge(
    "csi_powerflex_hosts_connected",
    "Hosts of any cluster that are connected to the PowerFlex system.",
    system=_SYSTEM,
    transport="sdc",
)
SHARED_INITIATORS = _gauge(
    "csi_powerflex_shared_initiators",
    "SDC GUIDs and NQNs that more than one node of the Kubernetes cluster has registered. Volumes are not "
    "published to these nodes.",
)
ARRAY_OBJECTS = _gauge(
    "csi_powerflex_array_objects",
    "Objects that the PowerFlex system has. PowerFlex 5 does not count volumes.",
    system=_SYSTEM,
    kind=_OBJECTS,
)
ARRAY_OBJECTS_LIMIT = _gauge(
    "csi_powerflex_array_objects_limit",
    "Objects that the PowerFlex system can have.",
    system=_SYSTEM,
    kind=_OBJECTS,
)
CONFIGURATION_RELOADS = _counter(
    "csi_powerflex_configuration_reloads_total",
    "Times the systems file was read again after a change.",
    result="ok, or refused where the file could not be used and nothing changed",
)
COMMAND_DURATION = _histogram(
    "csi_powerflex_command_duration_seconds",
    "Time of a command on the host.",
    tool="name of the program, as in mkfs.ext4",
    result="ok, failed or timeout",
)
BACKGROUND_ERRORS = _counter(
    "csi_powerflex_background_errors_total",
    "Unexpected errors in a background task, which is tried again. The log has the stack.",
    task="configuration, informer, monitor or qos_sync",
)
