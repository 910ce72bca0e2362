"""The second generation's metrics. An answer has one timestamp and one value per metric, in bytes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from csi_powerflex.simulator.api_error import malformed, missing_parameters, uncoded_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.capacity import Capacity, pool_capacity, total_capacity
from csi_powerflex.simulator.resources.resource_type import View

Values = dict[str, int | float]

_UNLIMITED = 4611686017353646080

_TRAFFIC = dict.fromkeys(
    (
        "host_read_iops", "host_write_iops", "host_trim_iops",
        "host_read_bandwidth", "host_write_bandwidth", "host_trim_bandwidth",
        "avg_host_read_latency", "avg_host_write_latency", "avg_host_trim_latency",
    ),
    0,
)  # fmt: skip


def _capacity_metrics(capacity: Capacity) -> Values:
    used = capacity.used * 1024
    return {
        "physical_total": capacity.usable * 1024,
        "physical_free": capacity.free * 1024,
        "physical_used": used,
        "physical_system": 0,
        "raw_used": 2 * used,
        "logical_used": used,
        "logical_provisioned": (capacity.provisioned + capacity.snapshots) * 1024,
        "logical_owned": used,
        "over_provisioning_limit": _UNLIMITED,
        "unreducible_data": 0,
        "compression_ratio": 1.0,
        "data_reduction_ratio": 1.0,
        "efficiency_ratio": 1.0,
        "thin_provisioning_ratio": 1.0,
        "patterns_saving_ratio": 1.0,
        "snapshot_saving_ratio": 1.0,
        "reducible_ratio": 1.0,
        "utilization_ratio": round(capacity.used / capacity.usable, 6) if capacity.usable else 0.0,
        **_TRAFFIC,
    }


def _of_pools(array: Array, pool_ids: list[str]) -> Values:
    return _capacity_metrics(
        total_capacity([pool_capacity(array, array.pools[pool_id]) for pool_id in pool_ids])
    )


def _systems(array: Array) -> dict[str, Callable[[], Values]]:
    def values() -> Values:
        capacity = total_capacity([pool_capacity(array, pool) for pool in array.pools.values()])
        return {
            **_capacity_metrics(capacity),
            "raw_total": capacity.raw * 1024,
            "raw_free": (capacity.raw - 2 * capacity.used) * 1024,
            "raw_system": 0,
        }

    return {array.system.id: values}


def _domains(array: Array) -> dict[str, Callable[[], Values]]:
    def of(domain_id: str) -> Values:
        capacity = _of_pools(array, [pool.id for pool in array.pools_of_domain(domain_id)])
        return {**capacity, "raw_spare": 0, "raw_spare_used": 0, "rebuild_rate": 0, "rebalance_rate": 0}

    return {domain_id: partial(of, domain_id) for domain_id in array.domains}


def _pools(array: Array) -> dict[str, Callable[[], Values]]:
    return {pool_id: partial(_of_pools, array, [pool_id]) for pool_id in array.pools}


def _volumes(array: Array) -> dict[str, Callable[[], Values]]:
    written = array.plane.allocated()

    def of(volume_id: str) -> Values:
        volume = array.volumes[volume_id]
        return {
            **_TRAFFIC,
            "logical_used": written.get(volume_id, 0),
            "logical_provisioned": volume.size_kb * 1024,
        }

    return {volume_id: partial(of, volume_id) for volume_id in list(array.volumes)}


def _hosts(array: Array) -> dict[str, Callable[[], Values]]:
    values: Values = {**_TRAFFIC, "avg_controller_to_host_latency": 0, "avg_host_to_controller_latency": 0}
    return {host.id: lambda: values for host in array.sdcs()}


def _others(ids: Callable[[Array], list[str]]) -> Callable[[Array], dict[str, Callable[[], Values]]]:
    return lambda array: {object_id: lambda: dict(_TRAFFIC) for object_id in ids(array)}


_RESOURCES: dict[str, Callable[[Array], dict[str, Callable[[], Values]]]] = {
    "system": _systems,
    "protection_domain": _domains,
    "storage_pool": _pools,
    "volume": _volumes,
    "sdc": _hosts,
    "device": _others(lambda array: list(array.devices)),
    "storage_node": _others(lambda array: list(array.sdss)),
    "device_group": _others(lambda array: [str(p.device_group_id) for p in array.pools.values()]),
    "sdt": _others(lambda array: list(array.sdts)),
    "vtree": _others(lambda array: list(array.vtrees)),
}


def query(array: Array, body: Body) -> View:
    """Answer /dtapi/rest/v1/metrics/query."""
    resource_type = body.text("resource_type")
    if resource_type is None:
        raise missing_parameters("resource_type")
    if resource_type not in _RESOURCES:
        raise malformed(f"resource_type should get one of the following values: {', '.join(_RESOURCES)}")
    wanted = body.fields.get("metrics")
    if wanted is not None and not isinstance(wanted, list):
        raise uncoded_error("metrics must be an array of strings")
    known = _RESOURCES[resource_type](array)
    ids = [object_id.lower() for object_id in _ids(body)] or list(known)
    return {
        "format": "ID_TIMESTAMP_METRIC",
        "resource_type": resource_type,
        "timestamps": [datetime.fromtimestamp(array.clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")],
        "resources": [
            {"id": object_id, "metrics": _shown(known[object_id](), wanted)}
            for object_id in ids
            if object_id in known
        ],
    }


def _ids(body: Body) -> list[str]:
    """The requested ids: a list, or one id as a string, as PyPowerFlex sends it."""
    one = body.fields.get("ids")
    return [one] if isinstance(one, str) and one else body.texts("ids")


def _shown(values: Values, wanted: list[object] | None) -> list[View]:
    """The requested metrics. A metric that the resource does not have has no values."""
    names = list(values) if wanted is None else [str(name) for name in wanted]
    return [{"name": name, "values": [values[name]] if name in values else []} for name in names]
