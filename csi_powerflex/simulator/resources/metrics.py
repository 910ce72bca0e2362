"""The second generation's metrics. An answer has one timestamp and one value per metric, in bytes.

Only capacity is measured. All other published metrics exist and are always zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial

from csi_powerflex.simulator.api_error import malformed, missing_parameters, uncoded_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.capacity import Capacity, pool_capacity, total_capacity
from csi_powerflex.simulator.model import DEGRADED, FAILED, Device, StoragePool, Volume
from csi_powerflex.simulator.resources import data_server
from csi_powerflex.simulator.resources.metrics_fields import ALL, METRICS
from csi_powerflex.simulator.resources.resource_type import View
from csi_powerflex.simulator.resources.statistics import UNHEALTHY_KB

Values = dict[str, int | float | str]
Objects = dict[str, Callable[[], Values]]

_UNLIMITED = 4611686017353646080

_RATIOS: Values = dict.fromkeys(
    (
        "compression_ratio", "data_reduction_ratio", "efficiency_ratio", "thin_provisioning_ratio",
        "patterns_saving_ratio", "snapshot_saving_ratio", "reducible_ratio",
    ),
    1.0,
)  # fmt: skip


def _capacity_metrics(capacity: Capacity) -> Values:
    used = capacity.used * 1024
    return {
        "physical_total": capacity.usable * 1024,
        "physical_free": capacity.free * 1024,
        "physical_used": used,
        "raw_total": capacity.raw * 1024,
        "raw_used": 2 * used,
        "raw_free": (capacity.raw - 2 * capacity.used) * 1024,
        "logical_used": used,
        "logical_provisioned": (capacity.provisioned + capacity.snapshots) * 1024,
        "logical_owned": used,
        "over_provisioning_limit": _UNLIMITED,
        "utilization_ratio": round(capacity.used / capacity.usable, 6) if capacity.usable else 0.0,
        **_RATIOS,
    }


def _of_pools(array: Array, pools: Iterable[StoragePool]) -> Values:
    return _capacity_metrics(total_capacity([pool_capacity(array, pool) for pool in pools]))


def _systems(array: Array) -> Objects:
    return {array.system.id: lambda: _of_pools(array, array.pools.values())}


def _domains(array: Array) -> Objects:
    def of(domain_id: str) -> Values:
        generation = array.domains[domain_id].generation
        pools = array.pools_of_domain(domain_id)
        return {**_of_pools(array, pools), "protection_domain_gen_type": generation}

    return {domain_id: partial(of, domain_id) for domain_id in array.domains}


def _pools(array: Array) -> Objects:
    def of(pool: StoragePool) -> Values:
        return {**_of_pools(array, [pool]), "protection_domain_gen_type": _generation(array, pool.id)}

    return {pool.id: partial(of, pool) for pool in array.pools.values()}


def _device_groups(array: Array) -> Objects:
    def of(group_id: str) -> Values:
        pools = [pool for pool in array.pools.values() if pool.device_group_id == group_id]
        return {
            **_of_pools(array, pools),
            "raw_health_degraded": sum(pool.health == DEGRADED for pool in pools) * UNHEALTHY_KB * 1024,
            "raw_health_failed": sum(pool.health == FAILED for pool in pools) * UNHEALTHY_KB * 1024,
        }

    groups = data_server.DEVICE_GROUP_RESOURCE_TYPE.objects(array)
    return {group_id: partial(of, group_id) for group_id in groups}


def _volumes(array: Array) -> Objects:
    written = array.plane.allocated()

    def of(volume: Volume) -> Values:
        return {
            "logical_used": written.get(volume.id, 0),
            "logical_provisioned": volume.size_kb * 1024,
            "protection_domain_gen_type": _generation(array, volume.pool_id),
        }

    return {volume.id: partial(of, volume) for volume in list(array.volumes.values())}


def _trees(array: Array) -> Objects:
    written = array.plane.allocated()

    def of(tree_id: str) -> Values:
        members = array.volumes_of_vtree(tree_id)
        used = sum(written.get(member.id, 0) for member in members)
        return {
            "logical_used": used,
            "logical_owned": used,
            "logical_provisioned": sum(member.size_kb for member in members) * 1024,
            "protection_domain_gen_type": _generation(array, array.vtrees[tree_id].pool_id),
            **_RATIOS,
        }

    return {tree_id: partial(of, tree_id) for tree_id in list(array.vtrees)}


def _devices(array: Array) -> Objects:
    def of(device: Device) -> Values:
        generation = _generation(array, device.pool_id)
        return {"raw_total": device.capacity_kb * 1024, "protection_domain_gen_type": generation}

    return {device.id: partial(of, device) for device in array.devices.values()}


def _nodes(array: Array) -> Objects:
    def of(node_id: str) -> Values:
        devices = [device for device in array.devices.values() if device.sds_id == node_id]
        return {"raw_total": sum(device.capacity_kb for device in devices) * 1024}

    return {
        node_id: partial(of, node_id) for node_id in data_server.STORAGE_NODE_RESOURCE_TYPE.objects(array)
    }


def _generation(array: Array, pool_id: str) -> str:
    return array.domain_of(pool_id).generation


def _unmeasured(ids: Callable[[Array], Iterable[str]]) -> Callable[[Array], Objects]:
    return lambda array: dict.fromkeys(ids(array), dict)


_RESOURCES: dict[str, Callable[[Array], Objects]] = {
    "system": _systems,
    "protection_domain": _domains,
    "storage_pool": _pools,
    "volume": _volumes,
    "sdc": _unmeasured(lambda array: [host.id for host in array.sdcs()]),
    "device": _devices,
    "storage_node": _nodes,
    "device_group": _device_groups,
    "sdt": _unmeasured(lambda array: array.sdts),
    "vtree": _trees,
}


def query(array: Array, body: Body) -> View:
    """Answer /dtapi/rest/v1/metrics/query.

    Raises:
        ApiError: the resource type, or a metric, does not exist.
    """
    resource_type = body.text("resource_type")
    if resource_type is None:
        raise missing_parameters("resource_type")
    if resource_type not in _RESOURCES:
        raise malformed(f"resource_type should get one of the following values: {', '.join(_RESOURCES)}")
    wanted = _wanted(resource_type, body)
    known = _RESOURCES[resource_type](array)
    ids = [object_id.lower() for object_id in _ids(body)] or list(known)
    return {
        "format": "ID_TIMESTAMP_METRIC",
        "resource_type": resource_type,
        "timestamps": [datetime.fromtimestamp(array.clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")],
        "resources": [
            {"id": object_id, "metrics": _shown(resource_type, known[object_id](), wanted)}
            for object_id in ids
            if object_id in known
        ],
    }


def _wanted(resource_type: str, body: Body) -> Iterable[str]:
    """The requested names; all names of the resource type if there are none."""
    wanted = body.fields.get("metrics")
    if wanted is not None and not isinstance(wanted, list):
        raise uncoded_error("metrics must be an array of strings")
    names = [str(name) for name in wanted or []]
    for name in names:
        if name not in ALL:
            raise malformed(
                f"metrics should get the following values for {resource_type}: "
                f"{', '.join(sorted(METRICS[resource_type]))}, but its value is {name}"
            )
    return names or METRICS[resource_type]


def _ids(body: Body) -> list[str]:
    """The requested ids: a list, or one id as a string, as PyPowerFlex sends it."""
    one = body.fields.get("ids")
    return [one] if isinstance(one, str) and one else body.texts("ids")


def _shown(resource_type: str, measured: Values, wanted: Iterable[str]) -> list[View]:
    """The requested metrics. A metric that only other resource types have has no values."""
    known = METRICS[resource_type]
    return [{"name": name, "values": [measured.get(name, 0)] if name in known else []} for name in wanted]
