"""Every call, broken at each of its gateway requests in each way, repeated as a sidecar would: same end.

A call is first made in peace, which tells how many requests it makes. Then, for each of these and each kind
of trouble, on objects of its own, it is broken just there and repeated until it succeeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import grpc
import pytest

from csi_powerflex.names import Kind, array_name
from csi_powerflex.simulator.faults import Fault, Trouble
from tests.controller.conftest import MakeWorld
from tests.controller.driver import GIB
from tests.controller.world import World

# What a sidecar takes for "not known yet": it repeats the call and forgets nothing.
UNKNOWN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED}

BREAKS = {
    "the connection is reset before the effect": Fault(trouble=Trouble.RESET, times=1),
    "the reply is lost after the effect": Fault(trouble=Trouble.LOST_REPLY, times=1),
    "the gateway is overloaded": Fault(trouble=Trouble.ERROR, status=503, times=1),
    "an HTML page comes after the effect": Fault(
        trouble=Trouble.HTML, status=502, after_effect=True, times=1
    ),
    "the answer is cut short": Fault(trouble=Trouble.TRUNCATED, times=1),
    "the array is busy": Fault(trouble=Trouble.ERROR, code=28, times=1),
    "every session ends": Fault(trouble=Trouble.REVOKE, times=1),
}

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Case:
    """A call: what has to be there before, the call itself, and what has to be there after it."""

    prepare: Callable[[World, str], str]
    call: Callable[[World, str, str], object]
    holds: Callable[[World, str, str, object], bool]


def _nothing(_world: World, _name: str) -> str:
    return ""


def _volume(world: World, name: str) -> str:
    return world.driver.create(name).volume_id


def _published(world: World, name: str) -> str:
    volume = world.driver.create(name)
    world.driver.publish(volume, world.node("a"))
    return volume.volume_id


def _snapshot(world: World, name: str) -> str:
    volume = world.driver.create(name)
    return world.driver.snapshot(volume.volume_id, f"snapshot-{name}").snapshot_id


def _named(world: World, name: str) -> int:
    """How many volumes of the array were made for the CSI name: never more than one."""
    wanted = {array_name(kind, "test", name) for kind in Kind}
    return sum(volume.name in wanted for volume in world.array.volumes.values())


def _size(world: World, volume_id: str) -> int:
    return world.volume(volume_id).size_kb * 1024


def _gone(world: World, volume_id: str) -> bool:
    return volume_id.partition("-")[2] not in world.array.volumes


CASES = {
    "CreateVolume": Case(
        _nothing,
        lambda world, name, _: world.driver.create(name).volume_id,
        lambda world, name, _, answer: _named(world, name) == 1 and _size(world, str(answer)) == 8 * GIB,
    ),
    "CreateVolume from a volume, larger": Case(
        _volume,
        lambda world, name, source: world.driver.clone(f"{name}-copy", source, gib=16).volume_id,
        lambda world, name, _, answer: (
            _named(world, f"{name}-copy") == 1 and _size(world, str(answer)) == 16 * GIB
        ),
    ),
    "DeleteVolume": Case(
        _volume,
        lambda world, _, volume: world.driver.delete(volume),
        lambda world, _, volume, __: _gone(world, volume),
    ),
    "ControllerPublishVolume": Case(
        _volume,
        lambda world, _, volume: world.driver.publish(volume, world.node("a"))["sizeBytes"],
        lambda world, _, volume, answer: len(world.volume(volume).mappings) == 1 and answer == str(8 * GIB),
    ),
    "ControllerUnpublishVolume": Case(
        _published,
        lambda world, _, volume: world.driver.unpublish(volume, world.node("a")),
        lambda world, _, volume, __: not world.volume(volume).mappings,
    ),
    "ControllerExpandVolume": Case(
        _volume,
        lambda world, _, volume: world.driver.expand(volume, gib=16).capacity_bytes,
        lambda world, _, volume, answer: answer == _size(world, volume) == 16 * GIB,
    ),
    "ControllerModifyVolume": Case(
        _published,
        lambda world, _, volume: world.driver.modify(volume, iopsLimit="500"),
        lambda world, _, volume, __: world.volume(volume).mappings[0].limit_iops == 500,
    ),
    "CreateSnapshot": Case(
        _volume,
        lambda world, name, volume: world.driver.snapshot(volume, f"snapshot-{name}").snapshot_id,
        lambda world, name, _, answer: (
            _named(world, f"snapshot-{name}") == 1 and not _gone(world, str(answer))
        ),
    ),
    "DeleteSnapshot": Case(
        _snapshot,
        lambda world, _, snapshot: world.driver.delete_snapshot(snapshot),
        lambda world, _, snapshot, __: _gone(world, snapshot),
    ),
}


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A warm controller, so that a call makes the same requests each time."""
    world = make_world()
    _published(world, "pvc-warm")
    return world


def repeated(call: Callable[[], object]) -> tuple[object, int]:
    """The answer of a call that is repeated while its outcome is unknown, and how often it was refused."""
    for refusals in range(5):
        try:
            return call(), refusals
        except grpc.RpcError as error:
            if error.code() not in UNKNOWN:
                raise
    raise AssertionError("the call did not come to an end in five tries")


@pytest.mark.parametrize("name", CASES)
def test_a_call_broken_anywhere_comes_to_the_same_end(world: World, name: str) -> None:
    case, gateway = CASES[name], world.simulator.gateway
    pvc = f"pvc-{next(_numbers)}"
    before = case.prepare(world, pvc)
    since = gateway.log.last
    case.call(world, pvc, before)
    requests = len(gateway.log.find(since=since))
    assert requests > 0
    broken = 0
    for place, (kind, fault) in itertools.product(range(requests), BREAKS.items()):
        pvc = f"pvc-{next(_numbers)}"
        before = case.prepare(world, pvc)
        fault_id = gateway.inject(_at(fault, place))
        answer, _ = repeated(lambda pvc=pvc, before=before: case.call(world, pvc, before))  # type: ignore[misc]  # bound by default
        broken += gateway.faults.struck(fault_id)
        gateway.faults.clear()
        assert case.holds(world, pvc, before, answer), f"{kind}, at request {place + 1}"
    assert broken == requests * len(BREAKS)


def _at(fault: Fault, place: int) -> Fault:
    return Fault(
        trouble=fault.trouble,
        status=fault.status,
        code=fault.code,
        after_effect=fault.after_effect,
        times=1,
        skip=place,
        path="/api/*",
    )
