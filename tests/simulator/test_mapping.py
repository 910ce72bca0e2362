from __future__ import annotations

import pytest

from tests.simulator.client import Array
from tests.simulator.conftest import MakeArray


def test_a_mapping_shows_the_host(array: Array) -> None:
    volume_id = array.create()
    array.map(volume_id)
    (mapping,) = array.volume(volume_id)["mappedSdcInfo"]
    assert mapping["sdcId"] == array.sdcs["a"]
    assert mapping["hostType"] == "SdcHost"
    assert (mapping["limitIops"], mapping["limitBwInMbps"]) == (0, 0)
    listed = array.get(f"/api/instances/Sdc::{array.sdcs['a']}/relationships/Volume")
    assert [volume["id"] for volume in listed] == [volume_id]


@pytest.mark.parametrize(
    ("version", "mapped", "not_mapped"), [("3.6", 81, 84), ("4.0", 4037, 4039), ("5.0", 4037, 4039)]
)
def test_the_codes_for_mapped_and_not_mapped_depend_on_the_version(
    make_array: MakeArray, version: str, mapped: int, not_mapped: int
) -> None:
    array = make_array(version)
    volume_id = array.create()
    array.map(volume_id)
    assert array.refused(volume_id, "addMappedSdc", sdcId=array.sdcs["a"]).code == mapped
    assert array.refused(volume_id, "removeMappedSdc", sdcId=array.sdcs["b"]).code == not_mapped


def test_a_second_host_needs_permission_for_multiple_mappings(array: Array) -> None:
    volume_id = array.create()
    array.map(volume_id)
    error = array.refused(volume_id, "addMappedSdc", sdcId=array.sdcs["b"], allowMultipleMappings="FALSE")
    assert error.code == 306
    array.map(volume_id, "b", allowMultipleMappings="TRUE")
    assert len(array.volume(volume_id)["mappedSdcInfo"]) == 2


def test_the_guid_of_a_host_may_be_in_lower_case(array: Array) -> None:
    volume_id = array.create()
    guid = array.get(f"/api/instances/Sdc::{array.sdcs['a']}")["sdcGuid"]
    array.volume_action(volume_id, "addMappedSdc", guid=guid.lower())
    assert array.volume(volume_id)["mappedSdcInfo"][0]["sdcId"] == array.sdcs["a"]


def test_an_unknown_sdc_is_not_found(array: Array) -> None:
    error = array.refused(array.create(), "addMappedSdc", sdcId="00000000000000aa")
    assert (error.code, error.value["message"]) == (80, "Could not find the SDC")


def test_bandwidth_limits_are_shown_in_megabytes(array: Array) -> None:
    volume_id = array.create()
    array.map(volume_id)
    limits = {"sdcId": array.sdcs["a"], "bandwidthLimitInKbps": "10240", "iopsLimit": "11"}
    array.volume_action(volume_id, "setMappedSdcLimits", **limits)
    (mapping,) = array.volume(volume_id)["mappedSdcInfo"]
    assert (mapping["limitBwInMbps"], mapping["limitIops"]) == (10, 11)


@pytest.mark.parametrize("limits", [{"iopsLimit": "10"}, {"bandwidthLimitInKbps": "1000"}])
def test_limits_have_a_smallest_value_and_a_granularity(array: Array, limits: dict[str, object]) -> None:
    volume_id = array.create()
    array.map(volume_id)
    array.refused(volume_id, "setMappedSdcLimits", sdcId=array.sdcs["a"], **limits)
    assert array.volume(volume_id)["mappedSdcInfo"][0]["limitIops"] == 0


def test_an_sdc_with_volumes_is_not_removed(array: Array) -> None:
    volume_id = array.create()
    array.map(volume_id)
    assert array.error("Sdc", array.sdcs["a"], "removeSdc").code == 180
    array.unmap(volume_id)
    assert array.error("Sdc", array.sdcs["a"], "removeSdc").code == 307
