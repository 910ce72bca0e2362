"""The versions on the wire: sessions, fields of objects, statistics and errors."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from csi_powerflex.simulator.clock import ManualClock
from csi_powerflex.simulator.dialect import DIALECTS
from csi_powerflex.simulator.message import Request, Response
from csi_powerflex.simulator.settings import Settings
from tests.simulator.client import Array
from tests.simulator.conftest import MakeArray

PLATFORM = ["4.0", "4.5", "4.6", "5.0"]
FIRST_GENERATION = ["3.6", "4.0", "4.5", "4.6"]


def ask(array: Array, method: str, path: str, body: object = None, **headers: str) -> Response:
    content = b"" if body is None else json.dumps(body).encode()
    return array.gateway.handle(Request(method, path, headers=headers, body=content))


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def gateway_token(array: Array) -> str:
    answer = ask(array, "GET", "/api/login", authorization=basic("admin", "Simulated1!"))
    assert answer.status == 200
    token = json.loads(answer.content())
    assert isinstance(token, str)
    return token


def grant(array: Array) -> dict[str, Any]:
    login = {"username": "admin", "password": "Simulated1!"}
    granted: dict[str, Any] = json.loads(ask(array, "POST", "/rest/auth/login", login).content())
    return granted


# --- sessions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", DIALECTS)
def test_a_gateway_token_is_valid_in_both_schemes_with_any_user(make_array: MakeArray, version: str) -> None:
    array = make_array(version)
    token = gateway_token(array)
    for authorization in (basic("", token), basic("anyone", token), f"Bearer {token}"):
        answer = ask(array, "GET", "/api/version", authorization=authorization)
        assert (answer.status, answer.content()) == (200, f'"{version}"'.encode())


@pytest.mark.parametrize("version", PLATFORM)
def test_a_platform_token_is_valid_in_both_schemes(make_array: MakeArray, version: str) -> None:
    array = make_array(version)
    token = grant(array)["access_token"]
    for authorization in (basic("admin", token), f"Bearer {token}"):
        assert ask(array, "GET", "/api/version", authorization=authorization).status == 200


def test_there_is_no_platform_login_on_3_6(make_array: MakeArray) -> None:
    assert ask(make_array("3.6"), "POST", "/rest/auth/login", {}).status == 404


def test_the_password_is_valid_for_logins_only(array: Array) -> None:
    assert ask(array, "GET", "/api/version", authorization=basic("admin", "Simulated1!")).status == 401


@pytest.mark.parametrize("version", DIALECTS)
def test_401_is_html_on_4_0_and_newer(make_array: MakeArray, version: str) -> None:
    answer = ask(make_array(version), "GET", "/api/types/System/instances")
    assert answer.status == 401
    assert answer.content_type == ("text/html" if version in PLATFORM else "application/json")
    if version not in PLATFORM:
        body = json.loads(answer.content())
        assert body == {"message": "Unauthorized", "httpStatusCode": 401, "errorCode": 0}


def test_a_wrong_password_is_401(array: Array) -> None:
    login = {"username": "admin", "password": "wrong"}
    assert ask(array, "POST", "/rest/auth/login", login).status == 401
    assert ask(array, "GET", "/api/login", authorization=basic("admin", "wrong")).status == 401


@pytest.mark.parametrize(("pause", "valid"), [(599, True), (601, False)])
def test_a_gateway_token_ends_ten_minutes_after_its_last_use(
    make_array: MakeArray, clock: ManualClock, pause: float, *, valid: bool
) -> None:
    array = make_array("3.6")
    token = basic("", gateway_token(array))
    for _ in range(3):
        clock.advance(pause)
        assert (ask(array, "GET", "/api/version", authorization=token).status == 200) is valid


def test_a_gateway_token_ends_after_eight_hours_of_use(make_array: MakeArray, clock: ManualClock) -> None:
    array = make_array("3.6")
    token = basic("", gateway_token(array))
    for _ in range(8 * 12 - 1):
        clock.advance(300)
        assert ask(array, "GET", "/api/version", authorization=token).status == 200
    clock.advance(300)
    assert ask(array, "GET", "/api/version", authorization=token).status == 401


def test_a_platform_token_ends_after_five_minutes_and_can_be_renewed_for_thirty(
    array: Array, clock: ManualClock
) -> None:
    granted = grant(array)
    assert (granted["expires_in"], granted["refresh_expires_in"]) == (300, 1800)
    clock.advance(301)
    stale = f"Bearer {granted['access_token']}"
    assert ask(array, "GET", "/api/version", authorization=stale).status == 401
    renewal = {"refresh_token": granted["refresh_token"]}
    renewed = json.loads(ask(array, "POST", "/rest/auth/update-token", renewal).content())
    fresh = f"Bearer {renewed['access_token']}"
    assert ask(array, "GET", "/api/version", authorization=fresh).status == 200
    clock.advance(1801)
    renewal = {"refresh_token": renewed["refresh_token"]}
    assert ask(array, "POST", "/rest/auth/update-token", renewal).status == 400


def test_a_logout_is_204_on_the_platform_and_ends_the_token(array: Array) -> None:
    token = f"Bearer {grant(array)['access_token']}"
    answer = ask(array, "POST", "/rest/auth/logout", {"refresh_token": "x"}, authorization=token)
    assert (answer.status, answer.content()) == (204, b"")
    assert ask(array, "GET", "/api/version", authorization=token).status == 401


def test_sessions_can_be_limited(make_array: MakeArray) -> None:
    array = make_array(settings=Settings(session_limit=2))
    gateway_token(array)
    answer = ask(array, "GET", "/api/login", authorization=basic("admin", "Simulated1!"))
    assert json.loads(answer.content())["errorCode"] == 252


# --- objects -----------------------------------------------------------------------------------------

NUMBERS = {"sizeInKb", "creationTime", "secureSnapshotExpTime"}


@pytest.mark.parametrize("version", DIALECTS)
def test_a_volume_has_the_fields_and_types_of_its_version(make_array: MakeArray, version: str) -> None:
    array = make_array(version)
    volume_id = array.create("v1")
    array.map(volume_id)
    shown = array.volume(volume_id)
    assert all(type(shown[field]) is int for field in NUMBERS)
    assert shown["useRmcache"] is False
    assert shown["compressionMethod"] == ("Invalid" if version == "3.6" else "NotApplicable")
    assert ("nsid" in shown) == (version in PLATFORM)
    assert ("mappingToAllSdcsEnabled" in shown) == (version == "3.6")
    assert shown.get("genType") == ("EC" if version == "5.0" else None)
    (mapping,) = shown["mappedSdcInfo"]
    assert mapping["hostType"] == "SdcHost"
    assert ("nqn" in mapping) == (version in PLATFORM)
    assert type(mapping["limitIops"]) is type(mapping["limitBwInMbps"]) is int


@pytest.mark.parametrize("version", DIALECTS)
def test_the_system_has_the_fields_and_types_of_its_version(make_array: MakeArray, version: str) -> None:
    array = make_array(version)
    (system,) = array.get("/api/types/System/instances")
    assert system["systemVersionName"].startswith(f"DellEMC PowerFlex Version: R{version.replace('.', '_')}")
    assert system.get("systemNqn") == (
        None if version == "3.6" else f"nqn.1988-11.com.dell:powerflex:00:{system['id']}"
    )
    assert system["maxCapacityInGb"] == system["capacityTimeLeftInDays"] == "Unlimited"
    assert len(system["id"]) == 16


@pytest.mark.parametrize("version", DIALECTS)
def test_every_link_has_an_answer(make_array: MakeArray, version: str) -> None:
    array = make_array(version)
    source = array.create("v1")
    array.snapshot(source, action="createSnapshot" if version == "5.0" else "snapshotVolumes")
    everything = array.get("/api/instances")
    objects = [everything.pop("System"), *(item for listed in everything.values() for item in listed)]
    followed = 0
    for item in objects:
        for link in item["links"]:
            if "body" in link:
                assert array.post(link["href"], link["body"])["resources"][0]["id"] == item["id"]
            else:
                array.get(link["href"])
            followed += 1
    assert followed > 50


@pytest.mark.parametrize("version", FIRST_GENERATION)
def test_the_first_generation_has_statistics_and_no_metrics(make_array: MakeArray, version: str) -> None:
    array = make_array(version)
    array.create(gib=16)
    array.create(gib=8, thick=True)
    shown = array.get(f"/api/instances/StoragePool::{array.pool_id}/relationships/Statistics")
    gib = 1024 * 1024
    assert shown["thinCapacityAllocatedInKb"] == shown["thinCapacityAllocatedInKm"] == 2 * 16 * gib
    assert shown["thickCapacityInUseInKb"] == 2 * 8 * gib
    assert shown["netCapacityInUseInKb"] == 8 * gib
    user_space = (shown["maxCapacityInKb"] - shown["spareCapacityInKb"]) // 2
    assert shown["netCapacityInUseInKb"] + shown["netUnusedCapacityInKb"] == user_space
    assert shown["capacityAvailableForVolumeAllocationInKb"] % (8 * gib) == 0
    assert (shown["numOfVolumes"], shown["numOfThickBaseVolumes"]) == (2, 1)
    assert shown["userDataReadBwc"] == {"totalWeightInKb": 0, "numOccured": 0, "numSeconds": 0}
    assert array.send("POST", "/dtapi/rest/v1/metrics/query", {}).status == 404


def test_selected_statistics_are_by_id_and_an_unknown_one_lists_all(array: Array) -> None:
    path = "/api/types/StoragePool/instances/action/querySelectedStatistics"
    for which in ({"ids": [array.pool_id]}, {"allIds": ""}):
        answer = array.post(path, {**which, "properties": ["netUnusedCapacityInKb"]})
        assert list(answer) == [array.pool_id]
        assert list(answer[array.pool_id]) == ["netUnusedCapacityInKb"]
    error = array.send("POST", path, {"allIds": "", "properties": ["thinCapacityAllocatedInKx"]})
    assert error.status == 400
    assert "thinCapacityAllocatedInKm" in error.value["message"]


def test_the_second_generation_has_metrics_and_no_statistics(make_array: MakeArray) -> None:
    array = make_array("5.0")
    query = {"resource_type": "storage_pool", "ids": [array.pool_id], "metrics": ["physical_total"]}
    answer = array.post("/dtapi/rest/v1/metrics/query", query)
    (resource,) = answer["resources"]
    (total,) = resource["metrics"]
    assert (total["name"], len(total["values"])) == ("physical_total", 1)
    assert len(answer["timestamps"]) == 1
    as_text = {**query, "metrics": "physical_total"}
    assert array.send("POST", "/dtapi/rest/v1/metrics/query", as_text).status == 500
    path = f"/api/instances/StoragePool::{array.pool_id}/relationships/Statistics"
    assert array.send("GET", path).status == 400


@pytest.mark.parametrize("version", DIALECTS)
def test_the_legacy_lookups_work_on_every_version(make_array: MakeArray, version: str) -> None:
    array = make_array(version)
    volume_id = array.create("a+b/c")
    assert array.get("/api/types/Domain/instances/getByName::pd1") == array.domain_id
    assert array.get(f"/api/types/Pool/instances/getByName::{array.domain_id},sp1") == array.pool_id
    assert array.get("/api/types/Volume/instances/getByName::a%252Bb%252Fc") == volume_id
    ip = array.get(f"/api/instances/Sdc::{array.sdcs['a']}")["sdcIp"]
    assert array.get(f"/api/types/Client/instances/getByIp::{ip}/") == array.sdcs["a"]
    missing = array.send("GET", "/api/types/Volume/instances/getByName::none")
    assert missing.value == {"message": "Not found", "httpStatusCode": 500, "errorCode": 3}


def test_limits_are_strings_and_only_some_have_a_smallest_value(array: Array) -> None:
    answer = array.post("/api/instances/System/action/querySystemLimits", {})
    entries = {entry["type"]: entry for entry in answer["systemLimitEntryList"]}
    assert entries["volumeSizeGb"]["maxVal"] == "1048576"
    assert entries["volumeSizeGb"]["minVal"] == "8"
    assert "minVal" not in entries["volumes"]
    assert entries["volumePerVtree"]["maxVal"] == "127"


@pytest.mark.parametrize("version", PLATFORM)
def test_an_nvme_host_is_in_the_list_of_sdcs_and_can_be_mapped(make_array: MakeArray, version: str) -> None:
    array = make_array(version)
    nqn = "nqn.2014-08.org.nvmexpress:uuid:5a"
    host_id = array.post("/api/types/Host/instances", {"nqn": nqn, "name": "n1"})["id"]
    hosts = array.get("/api/types/Host/instances")
    assert [host["hostType"] for host in hosts] == ["SdcHost", "SdcHost", "NVMeHost"]
    listed = hosts[-1]
    assert listed["links"][0]["href"] == f"/api/instances/Host::{host_id}"
    shown = next(sdc for sdc in array.get("/api/types/Sdc/instances") if sdc["id"] == host_id)
    assert (shown["hostType"], shown["nqn"], shown["sdcGuid"]) == ("NVMeHost", nqn, None)
    assert (shown["maxNumPaths"], shown["maxNumSysPorts"]) == (4, 10)
    volume_id = array.create()
    array.volume_action(volume_id, "addMappedHost", hostId=host_id)
    (mapping,) = array.volume(volume_id)["mappedSdcInfo"]
    assert (mapping["hostType"], mapping["nqn"], mapping["sdcIp"]) == ("NVMeHost", nqn, None)
    assert array.error("Sdc", host_id, "removeSdc").code == 180
    array.volume_action(volume_id, "removeMappedHost", nqn=nqn)
    array.act("Sdc", host_id, "removeSdc")
    assert array.send("POST", "/api/types/Host/instances", {"nqn": nqn}).status == 200


def test_an_unknown_path_is_404(array: Array) -> None:
    assert array.send("GET", "/api/types/Toaster/instances").status == 404
    assert array.error("Volume", array.create(), "toast").status == 404


def test_a_monitor_user_may_only_read(array: Array) -> None:
    array.post("/api/types/User/instances", {"name": "eve", "userRole": "Monitor", "password": "pw"})
    token = json.loads(ask(array, "GET", "/api/login", authorization=basic("eve", "pw")).content())
    array.authorization = f"Bearer {token}"
    assert array.get("/api/types/Volume/instances") == []
    assert array.try_to_create().status == 403
