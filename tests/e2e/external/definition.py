"""What the driver can do, as Kubernetes' storage suites want to be told (their option -storage.testdriver).

The fields are those of ``driverDefinition`` in k8s.io/kubernetes/test/e2e/storage/external, and of
``DriverInfo`` and ``Capability`` in test/e2e/storage/framework.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.e2e.cluster import DRIVER
from tests.e2e.space import GIB

STORAGE_CLASSES = {"ext4": "powerflex", "xfs": "powerflex-xfs", "btrfs": "powerflex-btrfs"}
"""The StorageClass with each filesystem as its default."""

IMMEDIATE_CLASS = "powerflex-immediate"

_CAPABILITIES = (
    # Volumes: what a pod writes is there for the next pod, as files or as a block device.
    "persistence", "block", "exec", "fsGroup", "multipods",
    # The access modes. ReadWriteMany is for block devices only, see ``results.KNOWN``.
    "RWX", "readWriteOncePod", "capReadOnlyMany", "multiplePVsSameID",
    # Copies.
    "snapshotDataSource", "groupSnapshot", "pvcDataSource",
    # Growing, with and without a pod.
    "controllerExpansion", "nodeExpansion", "offlineExpansion", "onlineExpansion",
    # Where volumes can be.
    "topology", "capacity", "volumeLimits",
)  # fmt: skip
_MISSING = ("volumeMountGroup", "snapshotMetadata", "singleNodeVolume", "seLinuxMount")


def definition(filesystem: str, topology_keys: Sequence[str], *, immediate: bool = False) -> dict[str, Any]:
    """The definition for volumes with ``filesystem`` by default.

    Args:
        filesystem: a key of ``STORAGE_CLASSES``.
        topology_keys: the keys of the topology that the nodes have registered, one for each system.
        immediate: create volumes before there are pods for them.
    """
    return {
        "StorageClass": {
            "FromExistingClassName": IMMEDIATE_CLASS if immediate else STORAGE_CLASSES[filesystem]
        },
        "SnapshotClass": {"FromName": True},
        "GroupSnapshotClass": {"FromName": True},
        "VolumeAttributesClass": {"FromExistingClassName": "gold"},
        "DriverInfo": {
            "Name": DRIVER,
            "SupportedSizeRange": {"Min": f"{GIB}Gi", "Max": "64Ti"},
            # The empty name stands for the default of the StorageClass.
            "SupportedFsType": {"": {}, **{name: {} for name in STORAGE_CLASSES}},
            "SupportedMountOption": {"noatime": {}},
            "TopologyKeys": list(topology_keys),
            "MaxFileSize": 2**20,
            "StressTestOptions": {"NumPods": 4, "NumRestarts": 3},
            "VolumeSnapshotStressTestOptions": {"NumPods": 3, "NumSnapshots": 3},
            "VolumeGroupSnapshotStressTestOptions": {"NumPods": 2, "NumSnapshots": 2},
            "VolumeModifyStressTestOptions": {"NumPods": 4},
            "PerformanceTestOptions": {
                "ProvisioningOptions": {
                    "VolumeSize": f"{GIB}Gi",
                    "Count": 50,
                    # In nanoseconds, and volumes in a second.
                    "ExpectedMetrics": {"AvgLatency": 60 * 10**9, "Throughput": 1},
                }
            },
            "Capabilities": {**dict.fromkeys(_CAPABILITIES, True), **dict.fromkeys(_MISSING, False)},
        },
    }
