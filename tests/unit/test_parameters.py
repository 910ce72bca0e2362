"""StorageClass parameters."""

import re

import pytest

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.model.array import Provisioning
from csi_powerflex.model.parameters import (
    MutableParameters,
    SizePolicy,
    SnapshotParameters,
    VolumeParameters,
    parse_mutable,
    requested_for,
)
from csi_powerflex.model.qos import QosRequest

ALL = {
    "systemID": "prod",
    "protectiondomain": "domain1",
    "storagepool": "pool1",
    "provisioning": "thick",
    "sizePolicy": "strict",
    "allowUnpaddedPool": "true",
    "maxVtreeMembers": "60",
    "transport": "sdc",
    "iopsLimit": "1000",
    "bandwidthLimitInKbps": "10240",
    "iopsPerGiB": "5",
    "bandwidthPerGiBInKbps": "128",
    "qosOnNvme": "ignore",
    "fstype": "xfs",
    "mkfsFormatOption": "-n ftype=1",
    "deleteAfter": "2d",
    "snapshotPolicy": "hourly",
    "deletePolicySnapshots": "true",
}


def test_every_parameter_is_read() -> None:
    parsed = VolumeParameters.parse(ALL)
    assert parsed == VolumeParameters(
        system="prod",
        domain="domain1",
        pool="pool1",
        provisioning=Provisioning.THICK,
        size_policy=SizePolicy.STRICT,
        allow_unpadded_pool=True,
        max_tree_members=60,
        transport="sdc",
        iops="1000",
        bandwidth="10240",
        iops_per_gib="5",
        bandwidth_per_gib="128",
        qos_on_nvme="ignore",
        filesystem="xfs",
        mkfs_options="-n ftype=1",
        delete_after=172800,
        snapshot_policy="hourly",
        delete_policy_snapshots=True,
    )
    assert parsed.qos_request == QosRequest(1000, 10240, 5, 128, ignored_on_nvme=True)


@pytest.mark.parametrize(
    ("key", "value", "refusal"),
    [
        ("iopsLimit", "10", "0 (unlimited) or at least 11"),
        ("iopsLimit", "-1", "must be a whole number"),
        ("iopsLimit", "many", "must be a whole number"),
        ("bandwidthLimitInKbps", "1000", "multiple of 1024; the nearest are 0 and 1024"),
        ("bandwidthPerGiBInKbps", "100", "multiple of 128"),
    ],
)
def test_a_limit_that_the_array_does_not_accept_is_refused(key: str, value: str, refusal: str) -> None:
    for read in (VolumeParameters.parse, parse_mutable):
        with pytest.raises(InvalidArgument, match=re.escape(refusal)):
            read({key: value})


@pytest.mark.parametrize("value", ["0" * 19 + "99999", "9" * 5000, "0" * 5000, "-1", "1.0", "١"])
def test_a_number_with_other_characters_is_refused(value: str) -> None:
    with pytest.raises(InvalidArgument, match="must be a whole number from 0 to 1023"):
        VolumeParameters.parse({"maxVtreeMembers": value})


def test_an_unknown_mutable_parameter_is_refused_with_a_hint() -> None:
    with pytest.raises(
        InvalidArgument, match="unknown mutable parameter 'iopslimit'; did you mean 'iopsLimit'"
    ):
        parse_mutable({"iopslimit": "100"})


def test_most_parameters_of_a_storage_class_are_not_mutable() -> None:
    with pytest.raises(InvalidArgument, match="unknown mutable parameter 'systemID'"):
        parse_mutable({"systemID": "array1"})


def test_the_pool_and_the_provisioning_are_mutable() -> None:
    parsed = parse_mutable(
        {"storagepool": "sp2", "protectiondomain": "pd2", "provisioning": "Thick", "migrateTree": "true"}
    )
    assert parsed == MutableParameters(
        domain="pd2", pool="sp2", provisioning=Provisioning.THICK, migrate_tree=True
    )
    assert not parsed.qos_request


def test_a_mutable_protection_domain_needs_a_pool() -> None:
    with pytest.raises(InvalidArgument, match="protectiondomain='pd2' needs storagepool"):
        parse_mutable({"protectiondomain": "pd2"})


def test_mutable_parameters_take_precedence_over_those_of_the_storage_class() -> None:
    of_class = VolumeParameters(system="s", domain="pd1", pool="sp1", provisioning=Provisioning.THICK)
    assert parse_mutable({}).over(of_class) == of_class
    changed = parse_mutable({"storagepool": "sp2", "provisioning": "thin"}).over(of_class)
    assert changed == VolumeParameters(system="s", domain="pd1", pool="sp2", provisioning=Provisioning.THIN)


def test_keys_of_the_sidecars_are_no_mutable_parameters() -> None:
    parsed = parse_mutable({"csi.storage.k8s.io/pvc/name": "data", "iopsLimit": "100"})
    assert parsed.qos_request == QosRequest(iops=100)


def test_without_parameters_volumes_are_thin_and_the_rest_is_open() -> None:
    assert VolumeParameters.parse({}) == VolumeParameters(
        system=None, domain=None, pool=None, provisioning=Provisioning.THIN
    )


def test_a_call_names_the_objects_of_kubernetes_that_it_is_for() -> None:
    prefix = "csi.storage.k8s.io/"
    for given, expected in (
        ({"pvc/name": "data", "pvc/namespace": "shop", "pv/name": "pvc-1"}, {"claim": "shop/data"}),
        (
            {"volumesnapshot/name": "daily", "volumesnapshot/namespace": "shop"},
            {"volume_snapshot": "shop/daily"},
        ),
        (
            {"volumegroupsnapshot/name": "all", "volumegroupsnapshot/namespace": "shop"},
            {"group_snapshot": "shop/all"},
        ),
        ({"fstype": "xfs"}, {}),
    ):
        found = requested_for(
            {f"{prefix}{key}": text for key, text in given.items()} | {"storagepool": "sp1"}
        )
        assert expected.items() <= found.items()
        assert found.keys() <= expected.keys() | {"persistent_volume"}


@pytest.mark.parametrize("metadata", ["pvc/name", "volumesnapshot/name", "volumegroupsnapshot/name"])
def test_names_of_the_objects_of_kubernetes_are_no_parameters(metadata: str) -> None:
    parameters = {f"csi.storage.k8s.io/{metadata}": "a"}
    assert VolumeParameters.parse(parameters) == VolumeParameters()
    assert SnapshotParameters.parse(parameters) == SnapshotParameters()


def test_a_group_snapshot_class_may_have_its_deletion_policy_also_as_a_parameter() -> None:
    parameters = {"deletionPolicy": "Delete", "retentionMinutes": "5"}
    assert SnapshotParameters.parse_group(parameters) == SnapshotParameters(retention_minutes=5)
    for parse in (SnapshotParameters.parse, VolumeParameters.parse):
        with pytest.raises(InvalidArgument, match="unknown parameter 'deletionPolicy'"):
            parse({"deletionPolicy": "Delete"})
    with pytest.raises(InvalidArgument, match="unknown parameter 'deletionpolicy'"):
        SnapshotParameters.parse_group({"deletionpolicy": "Delete"})


def test_keys_of_the_sidecars_are_ignored() -> None:
    parameters = {"csi.storage.k8s.io/fstype": "xfs", "csi.storage.k8s.io/pvc/name": "data"}
    assert VolumeParameters.parse(parameters) == VolumeParameters()


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("storagePool", "storagepool"),
        ("STORAGEPOOL", "storagepool"),
        ("protectionDomain", "protectiondomain"),
        ("systemid", "systemID"),
        ("SYSTEM_ID", "systemID"),
        ("provisionng", "provisioning"),
    ],
)
def test_a_misspelt_key_is_refused_with_the_similar_one(key: str, meant: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        VolumeParameters.parse({key: "x"})
    assert str(refusal.value) == f"unknown parameter {key!r}; did you mean {meant!r}?"


def test_a_key_similar_to_no_other_is_refused_with_all_known_ones() -> None:
    with pytest.raises(InvalidArgument) as refusal:
        VolumeParameters.parse({"zzz": "x"})
    assert str(refusal.value) == f"unknown parameter 'zzz'; known keys: {', '.join(ALL)}"


@pytest.mark.parametrize("value", ["thin", "Thin", "THIN"])
def test_provisioning_is_accepted_in_any_case(value: str) -> None:
    assert VolumeParameters.parse({"provisioning": value}).provisioning is Provisioning.THIN


def test_an_unknown_provisioning_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidArgument, match="parameter provisioning='fat': must be one of thin, thick"):
        VolumeParameters.parse({"provisioning": "fat"})


@pytest.mark.parametrize("key", ["systemID", "protectiondomain", "storagepool"])
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_value_is_refused(key: str, value: str) -> None:
    with pytest.raises(InvalidArgument, match=f"parameter {key}=.*must not be empty"):
        VolumeParameters.parse({key: value})
