"""The names of metrics, by resource type, as Dell's description of the API and its monitoring have them."""

from __future__ import annotations

from csi_powerflex.simulator.names import words

_HOSTS = words("""
    host_read_iops host_write_iops host_trim_iops host_read_bandwidth host_write_bandwidth
    host_trim_bandwidth avg_host_read_latency avg_host_write_latency avg_host_trim_latency
""")

_PATHS = words("avg_controller_to_host_latency avg_host_to_controller_latency")

_FRONT_END = words("""
    storage_fe_read_iops storage_fe_write_iops storage_fe_trim_iops storage_fe_read_bandwidth
    storage_fe_write_bandwidth storage_fe_trim_bandwidth storage_fe_read_latency storage_fe_write_latency
    storage_fe_trim_latency avg_fe_read_io_size avg_fe_write_io_size avg_fe_trim_io_size
""")

_DEVICES = words("""
    total_device_read_iops total_device_write_iops total_device_read_bandwidth total_device_write_bandwidth
    device_local_read_iops device_local_write_iops device_local_read_bandwidth
    device_local_write_bandwidth device_remote_read_iops device_remote_write_iops
    device_remote_read_bandwidth device_remote_write_bandwidth avg_device_read_io_size
    avg_device_write_io_size avg_device_read_latency avg_device_write_latency
    total_device_pmem_read_iops total_device_pmem_write_iops total_device_pmem_read_bandwidth
    total_device_pmem_write_bandwidth avg_device_pmem_read_io_size avg_device_pmem_write_io_size
    avg_device_pmem_read_latency avg_device_pmem_write_latency raw_total
""")

_WRITE_CACHE = words("""
    total_wrc_read_iops total_wrc_write_iops total_wrc_read_bandwidth total_wrc_write_bandwidth
    avg_wrc_read_io_size avg_wrc_write_io_size avg_wrc_read_latency avg_wrc_write_latency
""")

_PHYSICAL = words("physical_total physical_used physical_free physical_system raw_used")

_LOGICAL = words("logical_used logical_provisioned")

_TREES = words("""
    logical_owned efficiency_ratio thin_provisioning_ratio patterns_saving_ratio snapshot_saving_ratio
""")

_REDUCTION = words("compression_ratio data_reduction_ratio reducible_ratio unreducible_data")

_REBUILD = words("raw_spare raw_spare_used rebalance_rate rebuild_rate")

_RAW = words("raw_free raw_system")

_GENERATION = words("protection_domain_gen_type")

METRICS: dict[str, tuple[str, ...]] = {
    "system": (
        *_HOSTS, *_PATHS, *_FRONT_END, *_DEVICES, *_PHYSICAL, *_LOGICAL, *_TREES, *_REDUCTION, *_RAW,
    ),
    "protection_domain": (
        *_HOSTS, *_PATHS, *_FRONT_END, *_DEVICES, *_WRITE_CACHE, *_PHYSICAL, *_LOGICAL, *_TREES,
        *_REDUCTION, *_RAW, *_REBUILD, *_GENERATION,
    ),
    "storage_pool": (
        *_HOSTS, *_FRONT_END, *_WRITE_CACHE, *_PHYSICAL, *_LOGICAL, *_TREES, *_REDUCTION,
        "over_provisioning_limit", "utilization_ratio", *_GENERATION,
    ),
    "device_group": (
        *_HOSTS, *_FRONT_END, *_DEVICES, *_WRITE_CACHE, *_PHYSICAL, *_RAW, *_REBUILD, "raw_health_degraded",
        "raw_health_degraded_critical", "raw_health_failed", "raw_rebalance", "raw_rebuild",
    ),
    "storage_node": (*_FRONT_END, *_DEVICES),
    "device": (*_DEVICES, *_GENERATION),
    "volume": (*_HOSTS, *_LOGICAL, *_GENERATION),
    "vtree": (*_LOGICAL, *_TREES, *_GENERATION),
    "sdc": (*_HOSTS, *_PATHS),
    "sdt": _PATHS,
}  # fmt: skip
"""Every metric of each resource type."""

ALL = frozenset(name for names in METRICS.values() for name in names)
"""Every metric of any resource type."""
