"""Every call that changes something, with what has to be there before it: what is broken and repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from csi_powerflex.pb import csi_pb2
from tests.controller.driver import Driver, Mode, block, mount
from tests.controller.world import World


@dataclass(frozen=True)
class Environment:
    """One run of a call: where, and the CSI name that its objects' names begin with."""

    world: World
    driver: Driver
    name: str

    def by(self, driver: Driver) -> Environment:
        """The same run, the call made at another controller."""
        return Environment(self.world, driver, self.name)

    def node(self, name: str) -> str:
        return self.world.node(name)


@dataclass(frozen=True)
class Call:
    """What has to be there, as ids; then the call, on those; then what shows its lasting effect, if any.

    ``leaves`` counts the volumes and snapshots that are there at the end, and their mappings.
    """

    leaves: tuple[int, int]
    prepare: Callable[[Environment], Sequence[str]]
    call: Callable[[Environment, Sequence[str]], object]
    afterwards: Callable[[Environment, Sequence[str]], object] = lambda _scene, _there: None


_SHARED = block(Mode.MULTI_NODE_MULTI_WRITER)


def _nothing(_scene: Environment) -> Sequence[str]:
    return ()


def _volume(scene: Environment) -> Sequence[str]:
    return (scene.driver.create(scene.name).volume_id,)


def _limited(scene: Environment) -> Sequence[str]:
    """A volume whose limits grow with its size, mapped to two nodes."""
    volume = scene.driver.create(scene.name, parameters={"iopsPerGiB": "100"}, capabilities=[_SHARED])
    scene.driver.publish(volume, scene.node("a"), _SHARED)
    scene.driver.publish(volume, scene.node("b"), _SHARED)
    return (volume.volume_id,)


def _published(scene: Environment) -> Sequence[str]:
    volume = scene.driver.create(scene.name)
    scene.driver.publish(volume, scene.node("a"))
    return (volume.volume_id,)


def _snapshot(scene: Environment) -> Sequence[str]:
    (volume,) = _volume(scene)
    return volume, scene.driver.snapshot(volume, f"{scene.name}-snapshot").snapshot_id


def _volumes(scene: Environment) -> Sequence[str]:
    return tuple(scene.driver.create(f"{scene.name}-{letter}").volume_id for letter in "xyz")


def _group(scene: Environment) -> Sequence[str]:
    group = scene.driver.group_snapshot(f"{scene.name}-group", *_volumes(scene))
    return group.group_snapshot_id, *(snapshot.snapshot_id for snapshot in group.snapshots)


def _publish_all(scene: Environment, there: Sequence[str]) -> None:
    """Shows which limits are kept for the volume: those of a mapping that is made later."""
    scene.driver.publish(there[0], scene.node("c"), _SHARED)


def _with_limits(scene: Environment) -> csi_pb2.Volume:
    return scene.driver.create(scene.name, mutable_parameters={"iopsLimit": "500"})


CALLS = {
    "CreateVolume": Call((1, 0), _nothing, lambda scene, _: scene.driver.create(scene.name)),
    "CreateVolume with limits": Call((1, 0), _nothing, lambda scene, _: _with_limits(scene)),
    "CreateVolume from a snapshot": Call(
        (3, 0), _snapshot, lambda scene, there: scene.driver.restore(f"{scene.name}-copy", there[1])
    ),
    "CreateVolume from a snapshot, larger": Call(
        (3, 0), _snapshot, lambda scene, there: scene.driver.restore(f"{scene.name}-copy", there[1], gib=16)
    ),
    "CreateVolume from a volume": Call(
        (2, 0), _volume, lambda scene, there: scene.driver.clone(f"{scene.name}-copy", there[0])
    ),
    "CreateVolume from a volume, larger": Call(
        (2, 0), _volume, lambda scene, there: scene.driver.clone(f"{scene.name}-copy", there[0], gib=16)
    ),
    "DeleteVolume": Call((0, 0), _volume, lambda scene, there: scene.driver.delete(there[0])),
    "DeleteVolume with limits": Call(
        (0, 0),
        lambda scene: (_with_limits(scene).volume_id,),
        lambda scene, there: scene.driver.delete(there[0]),
    ),
    "DeleteVolume with a snapshot": Call(
        (1, 0), _snapshot, lambda scene, there: scene.driver.delete(there[0])
    ),
    "ControllerPublishVolume": Call(
        (1, 1), _volume, lambda scene, there: scene.driver.publish(there[0], scene.node("a"))
    ),
    "ControllerPublishVolume with limits": Call(
        (1, 1),
        lambda scene: (_with_limits(scene).volume_id,),
        lambda scene, there: scene.driver.publish(there[0], scene.node("a")),
    ),
    "ControllerPublishVolume read-only": Call(
        (1, 1),
        _volume,
        lambda scene, there: scene.driver.publish(
            there[0], scene.node("a"), mount(Mode.MULTI_NODE_READER_ONLY), readonly=True
        ),
    ),
    "ControllerPublishVolume to a further node": Call(
        (1, 3), _limited, lambda scene, there: scene.driver.publish(there[0], scene.node("c"), _SHARED)
    ),
    "ControllerUnpublishVolume": Call(
        (1, 0), _published, lambda scene, there: scene.driver.unpublish(there[0], scene.node("a"))
    ),
    "ControllerUnpublishVolume of one of two nodes": Call(
        (1, 1), _limited, lambda scene, there: scene.driver.unpublish(there[0], scene.node("a"))
    ),
    "ControllerUnpublishVolume of all nodes": Call(
        (1, 0), _limited, lambda scene, there: scene.driver.unpublish(there[0])
    ),
    "ControllerExpandVolume": Call(
        (1, 0), _volume, lambda scene, there: scene.driver.expand(there[0], gib=16)
    ),
    "ControllerExpandVolume with limits": Call(
        (1, 3), _limited, lambda scene, there: scene.driver.expand(there[0], gib=16), _publish_all
    ),
    "ControllerModifyVolume": Call(
        (1, 1), _volume, lambda scene, there: scene.driver.modify(there[0], iopsLimit="500"), _publish_all
    ),
    "ControllerModifyVolume of a mapped volume": Call(
        (1, 3), _limited, lambda scene, there: scene.driver.modify(there[0], iopsLimit="500"), _publish_all
    ),
    "CreateSnapshot": Call(
        (2, 0), _volume, lambda scene, there: scene.driver.snapshot(there[0], f"{scene.name}-snapshot")
    ),
    "DeleteSnapshot": Call((1, 0), _snapshot, lambda scene, there: scene.driver.delete_snapshot(there[1])),
    "CreateVolumeGroupSnapshot": Call(
        (6, 0), _volumes, lambda scene, there: scene.driver.group_snapshot(f"{scene.name}-group", *there)
    ),
    "DeleteVolumeGroupSnapshot": Call(
        (3, 0), _group, lambda scene, there: scene.driver.delete_group(there[0], *there[1:])
    ),
}
