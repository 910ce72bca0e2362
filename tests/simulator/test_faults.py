"""Each kind of fault, as a plain HTTP client sees it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from csi_powerflex.simulator.faults import Delay, Fault, FaultKind
from csi_powerflex.simulator.gateway import Gateway
from csi_powerflex.simulator.scenario import BadScenario, read_faults
from csi_powerflex.simulator.server import Server
from csi_powerflex.simulator.simulator import Simulator


class Browser:
    """A plain HTTP client of a gateway."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.gateway: Gateway = server.simulator.gateway
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(server.certificates.authority)
        self.log_in()
        self.pool_id = self.get("/api/types/StoragePool/instances").json()[0]["id"]

    def log_in(self) -> None:
        login = {"username": "admin", "password": "Simulated1!"}
        token = self.session.post(self.server.url + "/rest/auth/login", json=login, timeout=5).json()
        self.session.headers["Authorization"] = f"Bearer {token['access_token']}"

    def get(self, path: str = "/api/version", *, timeout: float = 5) -> requests.Response:
        return self.session.get(self.server.url + path, timeout=timeout)

    def create(self, name: str) -> requests.Response:
        body = {
            "name": name,
            "storagePoolId": self.pool_id,
            "volumeSizeInGb": "8",
            "volumeType": "ThinProvisioned",
        }
        return self.session.post(self.server.url + "/api/types/Volume/instances", json=body, timeout=5)

    def names(self) -> list[str]:
        return [volume["name"] for volume in self.get("/api/types/Volume/instances").json()]

    def admin(self, method: str, path: str, body: object = None) -> Any:
        answer = self.session.request(method, self.server.admin_url + path, json=body, timeout=5)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    with Simulator(folder=folder, sdcs=("a",)) as simulator, Server(simulator) as server:
        yield server


@pytest.fixture
def browser(served: Server) -> Iterator[Browser]:
    """A client of a gateway. After the test, all faults and volumes are removed."""
    client = Browser(served)
    yield client
    client.gateway.faults.clear()
    client.log_in()
    for volume in client.get("/api/types/Volume/instances").json():
        action = f"/api/instances/Volume::{volume['id']}/action/removeVolume"
        client.session.post(served.url + action, json={"removeMode": "ONLY_ME"}, timeout=5)
    client.session.close()


def test_a_fixed_latency_delays_the_answer(browser: Browser) -> None:
    browser.gateway.inject(Fault(kind=FaultKind.LATENCY, route="version", seconds=0.15, times=1))
    before = time.monotonic()
    assert browser.get().status_code == 200
    assert time.monotonic() - before >= 0.15


def test_a_latency_can_have_a_random_distribution(browser: Browser) -> None:
    fault = Fault(
        kind=FaultKind.LATENCY, route="version", seconds=Delay(fixed=0.01, mean=0.02, deviation=0.005)
    )
    with browser.gateway.log.watching() as entries:
        browser.gateway.inject(fault)
        for _ in range(5):
            browser.get()
    durations = [entry.seconds for entry in entries]
    assert all(seconds >= 0.01 for seconds in durations)
    assert len({round(seconds, 6) for seconds in durations}) == 5


def test_other_requests_are_served_while_one_waits(browser: Browser) -> None:
    fault = browser.gateway.inject(Fault(kind=FaultKind.LATENCY, route="Volume.list", seconds=60))
    with pytest.raises(requests.ReadTimeout):
        browser.get("/api/types/Volume/instances", timeout=0.5)
    assert browser.gateway.faults.struck(fault) == 1
    assert browser.get(timeout=30).status_code == 200


def test_an_mdm_error_has_its_code_and_text_and_no_effect(browser: Browser) -> None:
    browser.gateway.inject(Fault(kind=FaultKind.ERROR, route="Volume.create", code=212, times=1))
    answer = browser.create("v1")
    assert answer.status_code == 500
    assert answer.json() == {
        "message": "A volume removal operation is currently in progress. ",
        "httpStatusCode": 500,
        "errorCode": 212,
    }
    assert browser.names() == []
    assert browser.create("v1").status_code == 200


def test_an_http_error_can_come_after_the_effect(browser: Browser) -> None:
    fault = Fault(kind=FaultKind.ERROR, route="Volume.create", status=503, after_effect=True, times=1)
    browser.gateway.inject(fault)
    assert browser.create("v1").status_code == 503
    assert browser.names() == ["v1"]


def test_a_lost_reply_leaves_the_effect(browser: Browser) -> None:
    browser.gateway.inject(Fault(kind=FaultKind.LOST_REPLY, route="Volume.create", times=1))
    with pytest.raises(requests.ConnectionError):
        browser.create("v1")
    assert browser.names() == ["v1"]


def test_a_reset_comes_before_the_effect(browser: Browser) -> None:
    browser.gateway.inject(Fault(kind=FaultKind.RESET, route="Volume.create", times=1))
    with pytest.raises(requests.ConnectionError):
        browser.create("v1")
    assert browser.names() == []


def test_an_endless_reply_never_ends(browser: Browser) -> None:
    browser.gateway.inject(Fault(kind=FaultKind.ENDLESS, route="version", times=1))
    with browser.session.get(browser.server.url + "/api/version", stream=True, timeout=30) as answer:
        assert answer.status_code == 200
        deadline = time.monotonic() + 0.7
        received = b""
        for part in answer.iter_content(1):
            received += part
            if time.monotonic() > deadline:
                break
    assert received.strip() == b""
    assert len(received) >= 2


def test_an_html_page_replaces_the_answer(browser: Browser) -> None:
    browser.gateway.inject(Fault(kind=FaultKind.HTML, status=502, times=1))
    answer = browser.get()
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "text/html"
    assert "<title>502 Bad Gateway</title>" in answer.text


def test_truncated_json_cannot_be_decoded(browser: Browser) -> None:
    browser.gateway.inject(Fault(kind=FaultKind.TRUNCATED, route="System.list", times=1))
    answer = browser.get("/api/types/System/instances")
    assert answer.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


def test_wrong_json_has_another_shape(browser: Browser) -> None:
    browser.gateway.inject(Fault(kind=FaultKind.WRONG_JSON, route="System.list", times=1))
    assert browser.get("/api/types/System/instances").json() == {"unexpected": [None, "simulated"]}


def test_each_revocation_ends_all_sessions(browser: Browser) -> None:
    browser.gateway.inject(Fault(kind=FaultKind.REVOKE, route="version", times=2))
    for _ in range(2):
        answer = browser.get()
        assert (answer.status_code, answer.headers["content-type"]) == (401, "text/html")
        browser.log_in()
    assert browser.get().status_code == 200


def test_a_frozen_gateway_answers_when_the_fault_is_removed(browser: Browser) -> None:
    fault_id = browser.gateway.inject(Fault(kind=FaultKind.FREEZE, route="version"))
    with pytest.raises(requests.ReadTimeout):
        browser.get(timeout=0.1)
    browser.gateway.faults.remove(fault_id)
    assert browser.get().status_code == 200


def test_a_stale_read_shows_an_earlier_state(browser: Browser) -> None:
    browser.create("v1")
    browser.gateway.inject(Fault(kind=FaultKind.STALE, times=1, route="Volume.list"))
    browser.create("v2")
    assert browser.names() == ["v1"]
    assert sorted(browser.names()) == ["v1", "v2"]


def test_a_full_pool_refuses_volumes_and_snapshots(browser: Browser) -> None:
    volume_id = browser.create("v1").json()["id"]
    browser.admin("POST", "/pools/sp1", {"full": True})
    try:
        assert browser.create("v2").json()["errorCode"] == 346
        system_id = browser.gateway.array.system.id
        path = f"{browser.server.url}/api/instances/System::{system_id}/action/snapshotVolumes"
        answer = browser.session.post(path, json={"snapshotDefs": [{"volumeId": volume_id}]}, timeout=5)
        assert answer.json()["details"][0]["rc"] == 191
        statistics = browser.get(
            f"/api/instances/StoragePool::{browser.pool_id}/relationships/Statistics"
        ).json()
        assert statistics["netUnusedCapacityInKb"] == 0
    finally:
        browser.admin("POST", "/pools/sp1", {"full": False})
    assert browser.create("v2").status_code == 200


def test_a_pool_has_the_health_that_the_admin_port_sets(browser: Browser) -> None:
    path = f"/api/instances/StoragePool::{browser.pool_id}/relationships/Statistics"
    for health, degraded, failed in (("degraded", True, False), ("failed", False, True), ("healthy", 0, 0)):
        browser.admin("POST", "/pools/sp1", {"health": health})
        found = browser.get(path).json()
        assert bool(found["degradedHealthyCapacityInKb"]) is bool(degraded)
        assert bool(found["failedCapacityInKb"]) is bool(failed)
    with pytest.raises(AssertionError, match="one of healthy, degraded, failed"):
        browser.admin("POST", "/pools/sp1", {"health": "ill"})


def test_an_sdc_disconnects_and_connects_again(browser: Browser) -> None:
    def state() -> str:
        return str(browser.get("/api/types/Sdc/instances").json()[0]["mdmConnectionState"])

    browser.admin("POST", "/hosts/a", {"connected": False})
    assert state() == "Disconnected"
    browser.admin("POST", "/hosts/a", {"connected": True})
    assert state() == "Connected"


def test_a_fault_can_strike_one_object_only(browser: Browser) -> None:
    browser.gateway.inject(Fault(kind=FaultKind.ERROR, object="v1", code=99))
    assert browser.create("v1").json()["errorCode"] == 99
    assert browser.create("v2").status_code == 200


def test_a_fault_skips_and_counts(browser: Browser) -> None:
    browser.gateway.inject(Fault(kind=FaultKind.ERROR, route="version", status=500, skip=1, times=2))
    assert [browser.get().status_code for _ in range(5)] == [200, 500, 500, 200, 200]


def test_the_seed_makes_a_probability_repeatable(browser: Browser) -> None:
    def outcomes() -> list[int]:
        fault = Fault(kind=FaultKind.ERROR, route="version", probability=0.5, seed=7)
        fault_id = browser.gateway.inject(fault)
        codes = [browser.get().status_code for _ in range(20)]
        browser.gateway.faults.remove(fault_id)
        return codes

    first = outcomes()
    assert set(first) == {200, 500}
    assert outcomes() == first


def test_the_admin_port_manages_faults_and_counts_requests(browser: Browser) -> None:
    since = browser.admin("GET", "/requests")["last"]
    (fault_id,) = browser.admin("POST", "/faults", {"kind": "error", "route": "version", "code": 28})["ids"]
    assert browser.get().json()["errorCode"] == 28
    assert browser.admin("GET", "/faults")[0]["struck"] == 1
    browser.admin("DELETE", f"/faults/{fault_id}")
    assert browser.get().status_code == 200
    counted = browser.admin("GET", f"/requests/count?since={since}")
    assert (counted["count"], counted["routes"]) == (2, {"version": 2})
    failed = browser.admin("GET", f"/requests?since={since}&status=500")["requests"]
    assert [(entry["path"], entry["faults"]) for entry in failed] == [("/api/version", ["error"])]


def test_the_error_for_an_invalid_fault_names_the_field(browser: Browser) -> None:
    answer = browser.session.post(
        browser.server.admin_url + "/faults", json={"kind": "error", "rout": "x"}, timeout=5
    )
    assert answer.status_code == 400
    assert "rout" in answer.json()["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://page.example"},
        {"Origin": "null"},
        {"Host": "rebound.example:8080"},
        {"Host": "127.0.0.1.example"},
        {"Host": "[bad"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_web_page_cannot_use_the_admin_port(browser: Browser, method: str, headers: dict[str, str]) -> None:
    url = browser.server.admin_url + "/revoke"
    answer = browser.session.request(method, url, headers=headers, timeout=5)
    assert answer.status_code == 403
    assert "names another machine than this one" in answer.json()["message"]
    assert browser.get().status_code == 200


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_page_of_this_machine_may_use_the_admin_port(browser: Browser, name: str) -> None:
    headers = {"Origin": f"http://{name}:3000", "Host": f"{name}:8080"}
    answer = browser.session.get(browser.server.admin_url, headers=headers, timeout=5)
    assert answer.status_code == 200


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_json_that_is_nested_deeply_is_refused(browser: Browser, opening: bytes) -> None:
    json = {"Content-Type": "application/json"}
    for url in (browser.server.admin_url + "/faults", browser.server.url + "/api/types/Volume/instances"):
        answer = browser.session.post(url, data=opening * 100_000, headers=json, timeout=10)
        assert answer.status_code == 400


def test_the_clock_can_be_put_forward(browser: Browser) -> None:
    browser.admin("POST", "/clock", {"seconds": 301})
    assert browser.get().status_code == 401


def test_faults_are_read_from_yaml(tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text(
        "faults:\n- {kind: latency, route: 'Volume.*', seconds: {mean: 0.02}}\n- {kind: reset, times: 1}\n"
    )
    first, second = read_faults(file)
    assert (first.kind, first.seconds) == (FaultKind.LATENCY, Delay(mean=0.02))
    assert (second.kind, second.times) == (FaultKind.RESET, 1)
    file.write_text("faults:\n- {kind: unknown}\n")
    with pytest.raises(BadScenario, match=r"faults.yaml: faults: Invalid enum value 'unknown'"):
        read_faults(file)
