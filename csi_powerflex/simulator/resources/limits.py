"""The answer to ``querySystemLimits``."""

from __future__ import annotations

from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.resources.resource_type import View

_FIXED = (
    ("protectionDomains", "Number of Protection Domains in the system", 256),
    ("storagePools", "Number of Storage Pools in the system", 1024),
    ("storagePoolsPerProtectionDomain", "Number of Storage Pools in a Protection Domain", 64),
    ("sdss", "Number of SDSs in the system", 512),
    ("sdssPerProtectionDomain", "Number of SDSs in a Protection Domain", 128),
    ("devicesPerSds", "Number of devices in an SDS", 64),
    ("devicePerStoragePool", "Number of devices in a Storage Pool", 300),
    ("vtrees", "Number of VTrees in the system", 131072),
    ("snapshotsPerVtree", "Number of snapshots in a VTree", 254),
    ("allVolumesInSpSizeGb", "Total size of the volumes in a Storage Pool, in GB", 4194303),
    ("allVolumesSizeGb", "Total size of all volumes, in GB", 16777216),
    ("ipPerHost", "Number of IP addresses of an SDC or SDS", 8),
    ("users", "Number of users", 256),
    ("sessions", "Number of sessions", 128),
)

_NVME = (
    ("sdts", "Number of SDTs in the system", 512),
    ("ipPerSdt", "Number of IP addresses of an SDT", 8),
    ("pathsPerVolume", "Number of paths to a volume", 8),
    ("ioControllersPerSdt", "Number of I/O controllers of an SDT", 512),
    ("ioControllersPerSystem", "Number of I/O controllers in the system", 65519),
    ("ioControllersNumQueues", "Number of queues of an I/O controller", 32),
    ("ioControllersQueueDepth", "Depth of the queues of an I/O controller", 128),
    ("connectionsPerHostPerProtectionDomain", "Number of connections of a host to a Protection Domain", 128),
)


def view(array: Array) -> View:
    """The limits, as strings. Only some of them have a smallest value."""
    settings = array.settings
    second = array.dialect.second_generation
    in_tree = settings.max_snapshots_per_vtree_erasure_coded if second else settings.max_snapshots_per_vtree
    entries = [
        *_FIXED,
        ("sdcs", "Number of SDCs in the system", settings.max_sdcs),
        ("volumes", "Number of volumes in the system", settings.max_volumes),
        ("snapshots", "Number of snapshots in the system", settings.max_snapshots),
        (
            "volumesPerProtectionDomain",
            "Number of volumes in a Protection Domain",
            settings.max_volumes_per_domain,
        ),
        (
            "vtreesPerProtectionDomain",
            "Number of VTrees in a Protection Domain",
            settings.max_volumes_per_domain,
        ),
        ("volumePerVtree", "Number of volumes in a VTree", in_tree + 1),
        ("volumePerMediumGranularityVtree", "Number of volumes in a medium granularity VTree", in_tree + 1),
        ("volumePerFineGranularityVtree", "Number of volumes in a fine granularity VTree", in_tree + 1),
        ("volumesPerSdc", "Number of volumes mapped to an SDC", settings.max_volumes_per_host),
    ]
    if array.dialect.nvme:
        entries += [
            *_NVME,
            ("nvmeHosts", "Number of NVMe hosts in the system", settings.max_nvme_hosts),
            ("volumesPerNvmeHost", "Number of volumes mapped to an NVMe host", settings.max_volumes_per_host),
        ]
    shown: list[View] = [
        {"type": name, "description": text, "maxVal": str(most)} for name, text, most in entries
    ]
    smallest = {"volumeSizeGb": 1 if second else 8, "sdtsPerProtectionDomain": 2}
    shown.append(_entry("volumeSizeGb", "Size of a volume, in GB", settings.max_volume_gb, smallest))
    if array.dialect.nvme:
        shown.append(
            _entry("sdtsPerProtectionDomain", "Number of SDTs in a Protection Domain", 128, smallest)
        )
    return {"systemLimitEntryList": shown}


def _entry(name: str, text: str, most: int, smallest: dict[str, int]) -> View:
    return {"type": name, "description": text, "maxVal": str(most), "minVal": str(smallest[name])}
