"""StorageClass parameters."""

import pytest

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.model.array import Provisioning
from csi_powerflex.model.parameters import VolumeParameters

ALL = {"systemID": "prod", "protectiondomain": "domain1", "storagepool": "pool1", "provisioning": "thick"}


def test_every_parameter_is_read() -> None:
    assert VolumeParameters.parse(ALL) == VolumeParameters(
        system="prod", domain="domain1", pool="pool1", provisioning=Provisioning.THICK
    )


def test_without_parameters_volumes_are_thin_and_the_rest_is_open() -> None:
    assert VolumeParameters.parse({}) == VolumeParameters(
        system=None, domain=None, pool=None, provisioning=Provisioning.THIN
    )


def test_keys_of_the_sidecars_are_left_to_them() -> None:
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
        ("provisoning", "provisioning"),
    ],
)
def test_a_misspelt_key_is_refused_with_the_one_that_was_meant(key: str, meant: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        VolumeParameters.parse({key: "x"})
    assert str(refusal.value) == f"unknown parameter {key!r}; did you mean {meant!r}?"


def test_a_key_like_no_other_is_refused_with_all_that_are_known() -> None:
    with pytest.raises(InvalidArgument) as refusal:
        VolumeParameters.parse({"zzz": "x"})
    assert str(refusal.value) == f"unknown parameter 'zzz'; known are: {', '.join(ALL)}"


@pytest.mark.parametrize("value", ["thin", "Thin", "THIN"])
def test_provisioning_is_taken_in_any_case(value: str) -> None:
    assert VolumeParameters.parse({"provisioning": value}).provisioning is Provisioning.THIN


def test_an_unknown_provisioning_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidArgument, match="parameter provisioning='fat': must be one of thin, thick"):
        VolumeParameters.parse({"provisioning": "fat"})


@pytest.mark.parametrize("key", ["systemID", "protectiondomain", "storagepool"])
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_value_is_refused(key: str, value: str) -> None:
    with pytest.raises(InvalidArgument, match=f"parameter {key}=.*must not be empty"):
        VolumeParameters.parse({key: value})
