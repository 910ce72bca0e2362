"""Every metric the driver exports, in one table. docs/metrics.md is made from it.

Names follow Prometheus: a histogram of times ends in ``_duration_seconds``, a counter in ``_total``, and the
unit comes last. A label has few values, and all of them are known: no path, no message, and no
volume but those of the ten largest trees. Values are
in lower_snake_case and never empty. Only names of others are written as those write them: RPCs and their
codes, systems, pools and programs.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

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

# Each counter and histogram would have a second series with the time of its creation.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library lacks its type


@functools.lru_cache(maxsize=256)
def label_value(name: str) -> str:
    """The name of a class, an object type or an HTTP method as a label's value: in lower_snake_case."""
    return _NEW_WORD.sub("_", name).lower()


def error_label(error: Exception) -> str:
    """The kind of ``error`` as a label's value, such as ``connect_failed``."""
    return label_value(type(error).__name__)


class SystemGauge:
    """A gauge with the label ``system``, whose series of one system are always replaced together.

    A pool, a host or a system that does not exist any more then has no series.
    """

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._lock = threading.Lock()
        self._shown: dict[str, set[tuple[str, ...]]] = {}

    def show(self, system: str, values: Mapping[tuple[str, ...], float]) -> None:
        """Set the series of ``system``.

        Args:
            system: the value of the first label.
            values: by the values of the other labels, in their order.
        """
        with self._lock:
            for labels in self._shown.pop(system, set()) - values.keys():
                self._gauge.remove(system, *labels)
            for labels, value in values.items():
                self._gauge.labels(system, *labels).set(value)
            if values:
                self._shown[system] = set(values)


class FollowedGauge:
    """A gauge whose values are computed when it is read."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge

    def follow(self, value: Callable[[], float], *labels: str) -> None:
        """Let ``value`` be called whenever the series with these labels is read."""
        self._gauge.labels(*labels).set_function(value)


_SYSTEM_GAUGES: list[SystemGauge] = []


def forget_system(system: str) -> None:
    """Remove all that was measured about a system that is not configured any more."""
    for gauge in _SYSTEM_GAUGES:
        gauge.show(system, {})


def _counter(name: str, description: str, **labels: str) -> Counter:
    TABLE.append(Described(name, "counter", description, labels))
    return Counter(name, description, tuple(labels))


def _gauge(name: str, description: str, **labels: str) -> Gauge:
    TABLE.append(Described(name, "gauge", description, labels))
    return Gauge(name, description, tuple(labels))


def _system_gauge(name: str, description: str, **labels: str) -> SystemGauge:
    made = SystemGauge(_gauge(name, description, system=_SYSTEM, **labels))
    _SYSTEM_GAUGES.append(made)
    return made


def _followed_gauge(name: str, description: str, **labels: str) -> FollowedGauge:
    return FollowedGauge(_gauge(name, description, **labels))


def _histogram(name: str, description: str, **labels: str) -> Histogram:
    TABLE.append(Described(name, "histogram", description, labels))
    return Histogram(name, description, tuple(labels), buckets=_BUCKETS_SECONDS)


_SYSTEM = "name of the PowerFlex system, or its id where it has no name"
_SYSTEM_ID = "id of the PowerFlex system"
_POOL = "protection domain and storage pool, as in pd1/sp1"
_OBJECTS = "volumes, sdcs or nvmeHosts"

BUILD_INFO = _gauge(
    "csi_powerflex_build_info",
    "Always 1. The labels say what runs.",
    role="controller, node, operator or unified",
    version="version of the driver",
)
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
    object="type of the object: host, login, metrics, protection_domain, sdc, sdt, snapshot_policy, "
    "storage_pool, system, user, v_tree, version, volume",
    status="HTTP status code; none where no answer came",
)
GATEWAY_LOGINS = _counter(
    "csi_powerflex_gateway_logins_total",
    "Logins to a PowerFlex gateway and renewals of a token.",
    system=_SYSTEM,
    result="ok, or the error: connect_failed, deadline_exceeded, failed_precondition, login_failed, "
    "overloaded, read_timeout, unauthenticated, unavailable, unusable_answer or wrong_system",
)
GATEWAY_CACHE_MISSES = _counter(
    "csi_powerflex_gateway_cache_misses_total",
    "How many times the pools, hosts or SDTs were read. Look-ups at the same time share one read.",
    system=_SYSTEM,
    cache="hosts, pools or sdts",
)
GATEWAY_RETRIES = _counter(
    "csi_powerflex_gateway_retries_total",
    "Requests to a PowerFlex gateway that were sent again.",
    system=_SYSTEM,
    reason="the error: connect_failed, connection_lost, login_failed, overloaded, token_refused or "
    "wrong_system",
)
SYSTEM_UP = _system_gauge(
    "csi_powerflex_system_up",
    "1 while a PowerFlex system answers and accepts the credentials, else 0. As of the last check.",
)
DOMAIN_STATE = _system_gauge(
    "csi_powerflex_protection_domain_state",
    "1 for the present state of a protection domain, and 0 for the others.",
    protection_domain="name of the protection domain",
    state="active, activating, inactivating or inactive; volumes of a domain that is not active have no data",
)
POOL_STATE = _system_gauge(
    "csi_powerflex_pool_state",
    "1 for the present state of a storage pool's data, and 0 for the others.",
    pool=_POOL,
    state="healthy; degraded (some data has lost a copy and is served from another one); "
    "failed (some data has no copy that can be read); inactive (the protection domain is not active)",
)
POOL_SIZE = _system_gauge(
    "csi_powerflex_pool_size_bytes",
    "User data that a storage pool can hold.",
    pool=_POOL,
)
POOL_FREE = _system_gauge(
    "csi_powerflex_pool_free_bytes",
    "Part of the size of a storage pool that holds no data yet.",
    pool=_POOL,
)
POOL_THRESHOLD = _system_gauge(
    "csi_powerflex_pool_used_threshold_ratio",
    "Share of a storage pool's size, 0 to 1, that is in use when the array raises an alert.",
    pool=_POOL,
    level="high or critical",
)
POOL_PROVISIONED = _system_gauge(
    "csi_powerflex_pool_provisioned_bytes",
    "Sum of the sizes of all volumes of a storage pool; with thin volumes it can exceed the pool's size.",
    pool=_POOL,
)
POOL_PROVISIONED_LIMIT = _system_gauge(
    "csi_powerflex_pool_provisioned_limit_bytes",
    "Sum of the sizes of all volumes at which the driver reports no capacity for thin volumes: "
    "the pool's size times the option --over-commit.",
    pool=_POOL,
)
HOSTS_CONNECTED = _system_gauge(
    "csi_powerflex_hosts_connected",
    "Hosts of any cluster that are connected to the PowerFlex system. Hosts whose connection the system "
    "does not tell, such as NVMe hosts, are not counted.",
    transport="sdc or nvme",
)
SHARED_INITIATORS = _gauge(
    "csi_powerflex_shared_initiators",
    "SDC GUIDs and NQNs that more than one node of the Kubernetes cluster has registered. Volumes are not "
    "published to these nodes.",
)
HOST_CONNECTED = _system_gauge(
    "csi_powerflex_host_connected",
    "1 while the PowerFlex system is connected to a host, else 0. It has at most 1,000 hosts of a system, "
    "first those that are not connected, and none whose connection the system does not tell.",
    host="name of the host on the array, or its GUID or NQN where it has no name",
    transport="sdc or nvme",
)
ARRAY_OBJECTS = _system_gauge(
    "csi_powerflex_array_objects",
    "Objects that the PowerFlex system has. PowerFlex 5 does not count volumes.",
    kind=_OBJECTS,
)
ARRAY_OBJECTS_LIMIT = _system_gauge(
    "csi_powerflex_array_objects_limit",
    "Objects that the PowerFlex system can have.",
    kind=_OBJECTS,
)
TREES_NEAR_LIMIT = _system_gauge(
    "csi_powerflex_trees_near_limit",
    "Volume trees (a volume, its snapshots and clones) that have 80 % or more of the allowed members, "
    "in the last list of all volumes. Only the replica whose sidecars list volumes has it.",
)
TREE_MEMBERS_MAX = _system_gauge(
    "csi_powerflex_tree_members_max",
    "Members of the largest volume tree in that list.",
)
TREE_MEMBERS = _system_gauge(
    "csi_powerflex_tree_members",
    "Members of the ten largest volume trees in that list, as far as they have 32 or more.",
    volume="name of the tree's first volume on the array, as `csi-powerflex volumes list` shows it",
)
TREE_MEMBERS_LIMIT = _system_gauge(
    "csi_powerflex_tree_members_limit",
    "Members that a volume tree can have.",
)
ORPHANS = _system_gauge(
    "csi_powerflex_orphans",
    "Volumes and snapshots that this cluster has created on the PowerFlex system, that no object in "
    "Kubernetes needs, and that are older than one hour. Only the replica whose sidecars list volumes has "
    "it.",
    kind="volume or snapshot",
)
MOVES = _counter(
    "csi_powerflex_moves_total",
    "Moves of volumes to another storage pool, by a VolumeAttributesClass.",
    system=_SYSTEM,
    result="begun; finished; returned (sent back to the pool before they had finished)",
)
MOVES_RUNNING = _followed_gauge(
    "csi_powerflex_moves_running",
    "Volumes that the array moves to another storage pool, as far as the calls of this replica show it.",
    system=_SYSTEM,
    state="queued, moving, pausing or paused",
)
MOVES_LEFT = _followed_gauge(
    "csi_powerflex_moves_left_bytes",
    "Data that these moves still have to move.",
    system=_SYSTEM,
)
TRASH_VOLUMES = _system_gauge(
    "csi_powerflex_trash_volumes",
    "Deleted volumes of this cluster that the PowerFlex system still keeps in the trash.",
)
TRASH_BYTES = _system_gauge(
    "csi_powerflex_trash_bytes",
    "The sizes of the volumes in the trash, together.",
)
CONFIGURATION_RELOADS = _counter(
    "csi_powerflex_configuration_reloads_total",
    "Times the systems file was read again after a change.",
    result="ok, or refused where the file could not be used and nothing changed",
)
CONFIGURATION_VALID = _gauge(
    "csi_powerflex_configuration_valid",
    "0 while the systems file cannot be used and the previous configuration stays in use, else 1.",
)
CONFIGURATION_VALID.set(1)  # a process that watches no file has nothing that is wrong
COMMAND_DURATION = _histogram(
    "csi_powerflex_command_duration_seconds",
    "Time of a command on the host.",
    tool="name of the program, as in mkfs.ext4",
    result="ok, failed or timeout",
)
HOST_CHECK_FAILED = _gauge(
    "csi_powerflex_host_check_failed",
    "1 for a check of the host that failed when the node started, else 0. docs/doctor.md explains each.",
    check="user, capabilities, kubelet_folder, mount_propagation or kernel; unexpected_error if the node "
    "could not look at its host",
)
EVENTS = _counter(
    "csi_powerflex_events_total",
    "Kubernetes Events about volumes.",
    result="written; repeated (the API did not answer, and the event is sent again); failed; "
    "dropped (too many were waiting)",
)
NVME_CONNECTS = _counter(
    "csi_powerflex_nvme_connects_total",
    "Attempts of this node to connect to a portal over NVMe/TCP.",
    result="ok; already (another program had connected it); refused (by the array); invalid (the kernel does "
    "not accept the line); unreachable (no answer from the network); failed (any other error)",
)
NVME_RECONNECTS = _counter(
    "csi_powerflex_nvme_reconnects_total",
    "Connections over NVMe/TCP that were lost and serve again, as of the checks of the background task.",
    system=_SYSTEM_ID,
)
NVME_PATHS = _system_gauge(
    "csi_powerflex_nvme_paths",
    "Connections of this node to a PowerFlex system over NVMe/TCP. As of the last check.",
    state="live, or lost while the kernel tries to connect again",
)
NVME_VOLUMES = _system_gauge(
    "csi_powerflex_nvme_volumes",
    "Volumes that this node has over NVMe/TCP, by their paths. As of the last check.",
    paths="all, some or none of them are live",
)
BACKGROUND_ERRORS = _counter(
    "csi_powerflex_background_errors_total",
    "Unexpected errors in a background task, which is tried again. The log has the stack.",
    task="configuration, events, informer, monitor, nvme_upkeep, orphans, qos_sync or trash",
)
BACKGROUND_TASKS_FAILING = _gauge(
    "csi_powerflex_background_tasks_failing",
    "Background tasks whose last run met an unexpected error. /healthz names each with its reason.",
    task="configuration, events, informer, monitor, nvme_upkeep, orphans, qos_sync or trash",
)
OPERATOR_OBJECTS = _gauge(
    "csi_powerflex_operator_objects",
    "Objects of the operator that exist.",
    resource="plural of the resource, as in volumereverts",
    phase="phase in the status of the object",
)
OPERATOR_EVENTS = _counter(
    "csi_powerflex_operator_events_total",
    "What has happened to objects of the operator, each once. It is also in Kubernetes Events.",
    resource="plural of the resource, as in volumecopies",
    reason="reason of the Event, as in populated",
)
OPERATOR_ROUNDS = _counter(
    "csi_powerflex_operator_rounds_total",
    "Rounds of the operator. Each does one step with one object.",
    resource="plural of the resource, as in volumereverts",
    result="done; repeated (the object was changed meanwhile); failed (it is repeated after a pause)",
)
