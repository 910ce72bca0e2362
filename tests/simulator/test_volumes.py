from __future__ import annotations

import pytest

from csi_powerflex.simulator.settings import Settings
from tests.simulator.client import GIB_KB, Array
from tests.simulator.conftest import MakeArray


def test_a_new_volume_has_the_requested_properties(array: Array) -> None:
    shown = array.volume(array.create("v1"))
    assert shown["name"] == "v1"
    assert shown["sizeInKb"] == 8 * GIB_KB
    assert shown["volumeType"] == "ThinProvisioned"
    assert shown["mappedSdcInfo"] is None
    assert shown["storagePoolId"] == array.pool_id
    assert shown["ancestorVolumeId"] is None


@pytest.mark.parametrize(("asked_kb", "given_gib"), [(1, 8), (8 * GIB_KB, 8), (8 * GIB_KB + 1, 16)])
def test_sizes_are_rounded_up_to_8_gib_on_mirrored_pools(array: Array, asked_kb: int, given_gib: int) -> None:
    answer = array.try_to_create(volumeSizeInKb=str(asked_kb))
    assert array.volume(answer.value["id"])["sizeInKb"] == given_gib * GIB_KB


def test_sizes_are_rounded_up_to_1_gib_on_erasure_coded_pools(make_array: MakeArray) -> None:
    array = make_array("5.0")
    answer = array.try_to_create(volumeSizeInKb=str(3 * GIB_KB - 5))
    assert array.volume(answer.value["id"])["sizeInKb"] == 3 * GIB_KB


@pytest.mark.parametrize(
    "form", [{"volumeSizeInGb": "16"}, {"volumeSizeInGb": 16}, {"volumeSizeInKb": 16 * GIB_KB}]
)
def test_numbers_may_be_text_or_numbers(array: Array, form: dict[str, object]) -> None:
    body = {"storagePoolId": array.pool_id, "volumeType": "ThinProvisioned", **form}
    created = array.post("/api/types/Volume/instances", body)
    assert array.volume(created["id"])["sizeInKb"] == 16 * GIB_KB


def test_a_name_can_be_used_once(array: Array) -> None:
    array.create("v1")
    error = array.try_to_create(name="v1")
    assert (error.status, error.code) == (500, 99)
    assert error.value["message"] == "Volume name already in use. Please use a different name."


@pytest.mark.parametrize(("name", "code"), [("x" * 32, 226), ("two words", 227), ("ümlaut", 227)])
def test_names_have_at_most_31_printable_characters(array: Array, name: str, code: int) -> None:
    error = array.try_to_create(name=name)
    assert (error.status, error.code) == (500, code)


def test_a_request_without_pool_names_the_missing_parameter(array: Array) -> None:
    error = array.send("POST", "/api/types/Volume/instances", {"volumeSizeInGb": "8"})
    assert (error.status, error.code) == (400, 0)
    assert error.value["message"] == (
        "Request message is not valid: The following parameter(s) must be part of the request body: "
        "storagePoolId."
    )


@pytest.mark.parametrize("size", ["0", "-8", "eight"])
def test_an_invalid_size_is_malformed(array: Array, size: str) -> None:
    assert array.try_to_create(volumeSizeInKb=size).status == 400


def test_a_size_beyond_a_pebibyte_is_too_large(array: Array) -> None:
    assert array.try_to_create(volumeSizeInKb=str(1048577 * GIB_KB)).code == 190


def test_a_pool_of_another_domain_does_not_match(array: Array) -> None:
    assert array.try_to_create(protectionDomainId="0000000000000001").code == 197


def test_a_volume_grows_in_steps_of_the_granularity(array: Array) -> None:
    volume_id = array.create()
    array.volume_action(volume_id, "setVolumeSize", sizeInGB="24")
    assert array.volume(volume_id)["sizeInKb"] == 24 * GIB_KB
    error = array.refused(volume_id, "setVolumeSize", sizeInGB="25")
    assert error.code == 225
    assert error.value["message"] == (
        "The specified volume size is illegal. Volume size must be in 8 GB blocks"
    )


def test_a_volume_never_shrinks(array: Array) -> None:
    volume_id = array.create(gib=16)
    error = array.refused(volume_id, "setVolumeSize", sizeInGB="8")
    assert (error.code, error.value["message"]) == (133, "Volume capacity can only be increased")


def test_a_volume_is_found_by_its_new_name_only(array: Array) -> None:
    volume_id = array.create("old")
    array.volume_action(volume_id, "setVolumeName", newName="new")
    by_name = "/api/types/Volume/instances/action/queryIdByKey"
    assert array.post(by_name, {"name": "new"}) == volume_id
    missing = array.send("POST", by_name, {"name": "old"})
    assert missing.value == {"message": "Could not find the volume", "httpStatusCode": 500, "errorCode": 79}


def test_a_removed_volume_frees_its_name(array: Array) -> None:
    volume_id = array.create("v1")
    array.volume_action(volume_id, "removeVolume", removeMode="ONLY_ME")
    assert array.send("GET", f"/api/instances/Volume::{volume_id}").code == 79
    array.create("v1")


def test_a_mapped_volume_is_not_removed(array: Array) -> None:
    volume_id = array.create()
    array.map(volume_id)
    assert array.refused(volume_id, "removeVolume", removeMode="ONLY_ME").code == 104
    array.unmap(volume_id)
    array.volume_action(volume_id, "removeVolume", removeMode="ONLY_ME")


def test_an_unknown_remove_mode_lists_the_known_ones(array: Array) -> None:
    error = array.refused(array.create(), "removeVolume", removeMode="ALL")
    assert error.value["message"] == (
        "removeMode should get one of the following values: ONLY_ME, INCLUDING_DESCENDANTS, "
        "DESCENDANTS_ONLY, WHOLE_VTREE, but its value is ALL"
    )


def test_an_id_that_is_not_a_number_is_malformed(array: Array) -> None:
    error = array.send("GET", "/api/instances/Volume::no-such-id")
    assert (error.status, error.code) == (400, 0)
    assert error.value["message"] == "id (no-such-id) must be a hexadecimal number (unsigned long)"


def test_a_removal_in_progress_answers_212_and_then_79(make_array: MakeArray) -> None:
    array = make_array(settings=Settings(removal_seconds=5))
    volume_id = array.create("v1")
    array.volume_action(volume_id, "removeVolume", removeMode="ONLY_ME")
    error = array.send("GET", f"/api/instances/Volume::{volume_id}")
    assert error.value["message"] == "A volume removal operation is currently in progress. "
    assert error.code == 212
    array.gateway.array.clock.sleep(5)
    assert array.get("/api/types/Volume/instances") == []
    assert array.send("GET", f"/api/instances/Volume::{volume_id}").code == 79
    array.create("v1")
