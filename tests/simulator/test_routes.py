"""The list of routes, and the calls of public clients."""

from __future__ import annotations

import json

import pytest

from csi_powerflex.simulator import not_simulated, route_list
from csi_powerflex.simulator.admin import Admin
from csi_powerflex.simulator.dialect import DIALECTS
from csi_powerflex.simulator.gateway import UNKNOWN
from csi_powerflex.simulator.message import Request
from csi_powerflex.simulator.resources import RESOURCE_TYPES
from tests.simulator.client import Array
from tests.simulator.conftest import MakeArray


def real(path: str) -> str:
    return path.replace("{id}", "b1f0000100000000").replace("{value}", "x")


@pytest.mark.parametrize("version", DIALECTS)
def test_every_listed_route_exists_with_its_name(make_array: MakeArray, version: str) -> None:
    gateway = make_array(version).gateway
    for listed in route_list.listing(gateway.array.dialect):
        route = gateway.route(Request(listed.method, real(listed.path)))
        assert route.name == listed.route, listed


@pytest.mark.parametrize("version", DIALECTS)
def test_every_action_relationship_and_look_up_is_listed(version: str) -> None:
    names = {listed.route for listed in route_list.listing(DIALECTS[version])}
    for resource_type in RESOURCE_TYPES.values():
        parts = (*resource_type.actions, *resource_type.related, *resource_type.class_actions)
        wanted = {f"{resource_type.name}.{part}" for part in parts}
        assert (wanted <= names) is (resource_type.offered(DIALECTS[version]) or not wanted)


def test_the_admin_port_lists_the_routes_of_the_version(array: Array) -> None:
    port = Admin({"sim1": array.gateway})
    answer = json.loads(port.handle(Request("GET", "/_sim/routes")).content())
    assert answer["version"] == "4.5"
    volume = {"method": "POST", "path": "/api/types/Volume/instances", "route": "Volume.create"}
    assert volume in answer["routes"]
    assert not any(route["route"] == "metrics" for route in answer["routes"])
    assert all(set(row) == {"path", "why"} for row in answer["notSimulated"])


@pytest.mark.parametrize("version", DIALECTS)
def test_what_is_named_as_not_simulated_has_no_route(make_array: MakeArray, version: str) -> None:
    gateway = make_array(version).gateway
    for row in not_simulated.TABLE:
        route = gateway.route(Request("POST", real(row.path).replace("*", "anything")))
        assert route.name == UNKNOWN, row
