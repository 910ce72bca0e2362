"""Any answer of a gateway to any request: the call has a defined code, and the controller still runs."""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given, strategies as st

from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.message import Request, Response
from csi_powerflex.simulator.routes import Route
from csi_powerflex.simulator.server import Server
from csi_powerflex.simulator.simulator import Simulator, SystemPlan
from tests.controller.driver import Driver
from tests.controller_process import ControllerProcess
from tests.figures import Figures
from tests.hostile import inputs
from tests.hostile.calls import NOT_NOW, PROPER
from tests.hostile.inputs import with_examples

Change = Callable[[Response], Response]


class ChangedArray:
    """A simulated array, and the change that one of its answers gets."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self._run = simulator.gateway.run
        self._change: Change | None = None
        self._skip = 0
        self.changed = 0
        setattr(simulator.gateway, "run", self._answer)  # noqa: B010 - mypy allows no other way

    def next(self, change: Change | None, *, skip: int = 0) -> None:
        """Change the answer to one request, after ``skip`` others."""
        self._change, self._skip = change, skip

    def _answer(self, route: Route, request: Request) -> Response:
        response = self._run(route, request)
        if self._change is None:
            return response
        if self._skip:
            self._skip -= 1
            return response
        change, self._change = self._change, None
        self.changed += 1
        return change(response)


@dataclass(frozen=True)
class World:
    """A controller that asks a changed array."""

    process: ControllerProcess
    array: ChangedArray

    def node(self, name: str) -> str:
        return f"sdc:{self.array.simulator.hosts[name].guid}"


@pytest.fixture(scope="module", params=["3.6", "4.5", "5.0"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with contextlib.ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="changed-")))
        plan = SystemPlan(request.param)
        simulator = running.enter_context(Simulator([plan], folder=folder / "array", sdcs=("a", "b")))
        server = running.enter_context(Server(simulator))
        systems = folder / "systems.yaml"
        system = {
            "endpoints": [server.url],
            "username": "admin",
            "password": "Simulated1!",
            "caFile": str(server.certificates.authority),
            "protectionDomain": "pd1",
            "storagePool": "sp1",
        }
        systems.write_text(json.dumps({"systems": [system]}))
        process = running.enter_context(
            ControllerProcess(folder / "driver", systems, {"watch-seconds": "0", "log-level": "debug"})
        )
        yield World(process, ChangedArray(simulator))


# --- answers -------------------------------------------------------------------------------------

_VALUES = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            False,
            0,
            -1,
            2**31,
            2**63,
            -(2**63),
            10**30,
            1.5,
            1e308,
            -1e308,
            "",
            [],
            {},
            [[]],
            [None],
        ]
    ),
    st.sampled_from(["0", "-1", "1" * 400, "NaN", "Infinity", "1e999", "../../x", "ReadOnly", "0" * 16]),
    inputs.text(),
    st.recursive(st.none(), lambda inner: st.lists(inner, max_size=2), max_leaves=5),
)
_GARBAGE = st.one_of(
    st.sampled_from(
        [
            b"", b"{", b"null", b"[]", b"{}", b'""', b"0", b"<html><body>Login</body></html>", b"\xff\xfe",
            b"\xef\xbb\xbf{}", b"[" * 100_000, b'{"a":' * 20_000, b'"' + b"9" * 1_000_000 + b'"', b"9" * 5000,
            b"1e999", b"-", b"{}{}", b'{"id":"\\ud800"}', b'"\x00"',
            b'{"message":"x","errorCode":99999999999}',
            b'{"message":null}', b'{"message":"must be a hexadecimal number","errorCode":-1}',
        ]
    ),
    st.binary(max_size=100),
)  # fmt: skip
_STATUSES = st.sampled_from(
    [200, 200, 201, 204, 206, 301, 302, 400, 401, 403, 404, 405, 409, 418, 500, 502, 599]
)
_HEADERS = st.sampled_from(
    [
        {},
        {"Location": "https://127.0.0.1:1/"},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "deflate, gzip, br"},
        {"Set-Cookie": "token=1; Path=/"},
        {"Content-Type": "text/html; charset=no-such"},
        {"X-Long": "x" * 30_000},
        {"Retry-After": "9" * 30},
    ]
)


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """One change of an answer: of a value in its JSON, or of all."""
    if draw(st.integers(0, 9)) < 3:
        content, status, headers = draw(_GARBAGE), draw(_STATUSES), draw(_HEADERS)
        return lambda response: Response(status, content, response.content_type, headers)
    where, value = draw(st.integers(0, 10_000)), draw(_VALUES)
    how = draw(st.sampled_from(["replace", "replace", "replace", "drop", "double"]))
    return lambda response: _changed(response, where, value, how)


def _changed(response: Response, where: int, value: object, how: str) -> Response:
    try:
        document = json.loads(response.content())
    except ValueError:
        return Response(response.status, json.dumps(value).encode())
    positions = list(_positions(document))
    if not positions:
        return Response(response.status, json.dumps(value).encode())
    holder, key = positions[where % len(positions)]
    if how == "drop":
        del holder[key]
    elif how == "double" and isinstance(holder, list):
        holder.append(holder[key])
    else:
        holder[key] = value
    return Response(response.status, json.dumps(document).encode(), response.content_type, response.headers)


def _positions(node: Any) -> Iterator[tuple[Any, Any]]:
    keys = node.keys() if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in list(keys):
        yield node, key
        yield from _positions(node[key])


# --- the calls -----------------------------------------------------------------------------------

_numbers = itertools.count(1)


def _prepared(world: World) -> tuple[Driver, str, str, str]:
    """A volume with a snapshot, published."""
    driver, name = world.process.driver, f"pvc-{next(_numbers)}"
    volume = driver.create(name)
    driver.publish(volume, world.node("a"))
    snapshot = driver.snapshot(volume.volume_id, f"snapshot-{name}").snapshot_id
    return driver, name, volume.volume_id, snapshot


CALLS: dict[str, Callable[[World, Driver, str, str, str], object]] = {
    "create": lambda _, driver, name, __, ___: driver.create(f"{name}-new"),
    "create again": lambda _, driver, name, __, ___: driver.create(name),
    "restore": lambda _, driver, name, __, snapshot: driver.restore(f"{name}-copy", snapshot, gib=16),
    "publish": lambda world, driver, _, volume, __: driver.publish(volume, world.node("a")),
    "unpublish": lambda world, driver, _, volume, __: driver.unpublish(volume, world.node("a")),
    "publish elsewhere": lambda world, driver, _, volume, __: driver.publish(volume, world.node("b")),
    "expand": lambda _, driver, __, volume, ___: driver.expand(volume, gib=16),
    "modify": lambda _, driver, __, volume, ___: driver.modify(volume, iopsLimit="100"),
    "snapshot": lambda _, driver, name, volume, __: driver.snapshot(volume, f"another-{name}"),
    "snapshot again": lambda _, driver, name, volume, __: driver.snapshot(volume, f"snapshot-{name}"),
    "delete the snapshot": lambda _, driver, __, ___, snapshot: driver.delete_snapshot(snapshot),
    "delete": lambda _, driver, __, volume, ___: driver.delete(volume),
    "get": lambda _, driver, __, volume, ___: driver.get(volume),
    "validate": lambda _, driver, __, volume, ___: driver.validate(volume),
    "list": lambda _, driver, *__: driver.controller.ListVolumes(csi_pb2.ListVolumesRequest(), timeout=1),
    "list snapshots": lambda _, driver, *__: driver.controller.ListSnapshots(
        csi_pb2.ListSnapshotsRequest(), timeout=1
    ),
    "capacity": lambda _, driver, *__: driver.controller.GetCapacity(csi_pb2.GetCapacityRequest(), timeout=1),
    "health": lambda _, driver, __, volume, ___: driver.controller.ControllerGetVolumeHealth(
        csi_pb2.ControllerGetVolumeHealthRequest(volume_id=volume), timeout=1
    ),
    "group": lambda _, driver, name, volume, __: driver.group.CreateVolumeGroupSnapshot(
        csi_pb2.CreateVolumeGroupSnapshotRequest(name=f"group-{name}", source_volume_ids=[volume]), timeout=1
    ),
}


@pytest.mark.parametrize("restarted", [False, True], ids=["logged in", "logging in"])
def test_any_answer_of_a_gateway_leads_to_a_defined_code(
    world: World, restarted: bool, figures: Figures
) -> None:
    before = world.array.changed

    @with_examples(30 if restarted else 180)
    @given(call=st.sampled_from(sorted(CALLS)), change=changes(), skip=st.sampled_from([0, 0, 0, 0, 1, 1, 2]))
    def hold(call: str, change: Change, skip: int) -> None:
        driver, name, volume, snapshot = _prepared(world)
        if restarted:
            world.array.simulator.gateway.sessions.revoke_all()
        world.array.next(change, skip=skip)
        driver.seconds = 1.0
        code, detail = grpc.StatusCode.OK, ""
        try:
            CALLS[call](world, driver, name, volume, snapshot)
        except grpc.RpcError as error:
            code, detail = error.code(), error.details() or ""
        finally:
            driver.seconds = 30.0
            world.array.next(None)
        assert code in PROPER | NOT_NOW, f"{code.name}: {detail}"
        assert "unexpected" not in detail
        assert world.process.running
        world.process.driver.delete_snapshot(snapshot)

    hold()
    assert world.array.changed > before
    figures.add("gateway answers changed", world.array.changed - before)
