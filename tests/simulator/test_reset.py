"""The reset of a system between tests, and the clock of one system."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from csi_powerflex.simulator.admin import Admin
from csi_powerflex.simulator.clock import ManualClock
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.initial_state import InitialState
from csi_powerflex.simulator.message import Request
from csi_powerflex.simulator.model import NvmeController
from csi_powerflex.simulator.simulator import Simulator, SystemPlan
from tests.simulator.client import Array


@contextmanager
def two_systems(folder: Path) -> Iterator[tuple[Simulator, Admin]]:
    """The systems east, with three volumes, and west."""
    plans = [
        SystemPlan("4.5", InitialState("east", volumes=3)),
        SystemPlan("5.0", InitialState("west")),
    ]
    with Simulator(plans, folder=folder, sdcs=("a",), clock=ManualClock()) as simulator:
        yield simulator, Admin({gateway.array.system.name: gateway for gateway in simulator.gateways})


def admin(port: Admin, method: str, path: str, body: object = None, *, status: int = 200) -> Any:
    path, _, query = path.partition("?")
    content = b"" if body is None else json.dumps(body).encode()
    answer = port.handle(Request(method, f"/_sim{path}", query, body=content))
    assert answer.status == status, answer.content()
    return json.loads(answer.content())


def everything(array: Array) -> Any:
    """All objects, but for the fields that count ids."""
    array.log_in()
    return array.get("/api/instances")


def test_the_clock_of_one_system_moves_alone(tmp_path: Path) -> None:
    with two_systems(tmp_path) as (simulator, port):
        east, west = (gateway.array.clock for gateway in simulator.gateways)
        before = west.now()
        admin(port, "POST", "/clock?system=east", {"seconds": 301})
        assert (east.now(), west.now()) == (before + 301, before)
        answer = admin(port, "POST", "/clock", {"seconds": 10})
        assert (east.now(), west.now()) == (before + 311, before + 10)
        assert answer == {"now": before + 311}


@pytest.mark.parametrize("seconds", [-1, "nan", "inf", "1e300", "soon", None])
def test_a_clock_goes_forward_by_a_number_of_seconds_only(tmp_path: Path, seconds: object) -> None:
    with two_systems(tmp_path) as (simulator, port):
        before = simulator.gateway.array.clock.now()
        admin(port, "POST", "/clock", {"seconds": seconds}, status=400)
        assert simulator.gateway.array.clock.now() == before


def test_only_the_tokens_of_the_system_whose_clock_moved_expire(tmp_path: Path) -> None:
    with two_systems(tmp_path) as (simulator, port):
        sessions = [gateway.sessions for gateway in simulator.gateways]
        for each in sessions:
            each.login_to_platform("admin")
        admin(port, "POST", "/clock?system=west", {"seconds": 301})
        assert [len(each) for each in sessions] == [1, 0]


def test_a_reset_brings_everything_back_with_the_same_ids(tmp_path: Path) -> None:
    with two_systems(tmp_path) as (simulator, port):
        array = Array(simulator)
        before = everything(array)
        volume = array.create("v1")
        array.map(volume)
        array.snapshot(volume)
        first = before["volumeList"][0]["id"]
        array.map(first)
        array.volume_action(first, "setVolumeName", newName="renamed")
        array.act("StoragePool", array.pool_id, "setStoragePoolName", name="other")
        array.act("ProtectionDomain", array.domain_id, "inactivateProtectionDomain")
        array.act("System", array.system_id, "setRestrictedSdcMode", restrictedSdcMode="Guid")
        array.act("Sdc", array.sdcs["a"], "setSdcName", sdcName="b")
        array.post("/api/types/Host/instances", {"nqn": "nqn.2014-08.org.nvmexpress:uuid:1", "name": "n1"})
        array.post("/api/types/User/instances", {"name": "eve", "userRole": "Monitor", "password": "pw"})
        array.gateway.set_full("other", full=True)
        array.gateway.inject(Fault(kind=FaultKind.ERROR))
        array.gateway.array.clock.advance(500)
        assert everything(array) != before

        assert admin(port, "POST", "/reset?system=east") == {"name": "east", "systemId": array.system_id}

        assert everything(array) == before
        assert admin(port, "GET", "/faults") == []
        assert admin(port, "GET", "/requests")["requests"] == []
        assert array.gateway.array.clock.now() == simulator.gateways[1].array.clock.now()


def test_a_reset_ends_sessions_and_ids_are_not_used_again(tmp_path: Path) -> None:
    with two_systems(tmp_path) as (simulator, port):
        array = Array(simulator)
        old = array.create()
        admin(port, "POST", "/reset")
        assert array.send("GET", "/api/types/Volume/instances").status == 401
        array.log_in()
        new = array.create()
        assert new != old
        assert array.error("Volume", old, "removeVolume", removeMode="ONLY_ME").code == 79


def test_a_removed_pool_comes_back(tmp_path: Path) -> None:
    with two_systems(tmp_path) as (simulator, port):
        admin(port, "POST", "/reset")
        west = Array(simulator)
        west.gateway = simulator.gateways[1]
        west.log_in()
        before = everything(west)
        (pool,) = before["storagePoolList"]
        west.act("StoragePool", pool["id"], "removeStoragePool")
        admin(port, "POST", "/reset?system=west")
        assert everything(west) == before


def test_a_later_run_of_a_state_folder_can_be_reset(tmp_path: Path) -> None:
    with two_systems(tmp_path) as (simulator, _):
        before = everything(Array(simulator))
        Array(simulator).create("v1")
    with two_systems(tmp_path) as (simulator, port):
        array = Array(simulator)
        assert everything(array) != before
        admin(port, "POST", "/reset")
        assert everything(array) == before


def test_a_system_with_a_connected_nvme_host_is_not_reset(tmp_path: Path) -> None:
    with two_systems(tmp_path) as (simulator, port):
        array = Array(simulator)
        body = {"nqn": "nqn.2014-08.org.nvmexpress:uuid:1", "name": "n1"}
        host_id = array.post("/api/types/Host/instances", body)["id"]
        controller = NvmeController(number=1, host_id=host_id, host_ip="x", sdt_id="y", sdt_ip="z")
        array.gateway.array.nvme_controllers[1] = controller
        refused = admin(port, "POST", "/reset?system=east", status=409)
        assert "connected over NVMe/TCP: n1; disconnect these hosts first" in refused["message"]


@pytest.mark.parametrize("path", ["/reset", "/clock"])
def test_an_unknown_system_is_named(tmp_path: Path, path: str) -> None:
    with two_systems(tmp_path) as (_, port):
        refused = admin(port, "POST", f"{path}?system=north", {"seconds": 1}, status=404)
        assert refused["message"] == "there is no system north; there are east, west"
