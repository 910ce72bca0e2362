"""Every call that changes something, with the objects that it needs. Tests interrupt and repeat them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.inprocess import Client
from tests.controller.driver import Driver, Mode, block, mount
from tests.controller.nvme import NODE
from tests.controller.policies import make_policy, take_now
from tests.controller.world import World


@dataclass(frozen=True)
class Environment:
    """Where a call is made, and the CSI name that the names of its objects begin with."""

    world: World
    driver: Driver
    name: str

    def by(self, driver: Driver) -> Environment:
        """The same environment with another controller."""
        return Environment(self.world, driver, self.name)

    def node(self, name: str) -> str:
        return self.world.node(name)


@dataclass(frozen=True)
class Call:
    """``prepare`` returns ids, ``call`` makes the call on them, ``afterwards`` shows its lasting effect.

    ``creates`` counts the new volumes and snapshots at the end, and their mappings. ``needs_nvme`` says that
    PowerFlex before 4.0 refuses the call. ``mirrored`` is for a call that only systems with mirrored pools
    can do.
    """

    creates: tuple[int, int]
    prepare: Callable[[Environment], Sequence[str]]
    call: Callable[[Environment, Sequence[str]], object]
    afterwards: Callable[[Environment, Sequence[str]], object] = lambda _env, _ids: None
    needs_nvme: bool = False
    mirrored: bool = False


_SHARED = block(Mode.MULTI_NODE_MULTI_WRITER)


def _nothing(_env: Environment) -> Sequence[str]:
    return ()


def _volume(env: Environment) -> Sequence[str]:
    return (env.driver.create(env.name).volume_id,)


def _older(env: Environment) -> Sequence[str]:
    """A volume that no controller takes for a new one."""
    (volume,) = _volume(env)
    env.driver.expand(volume, gib=8)
    return (volume,)


def _limited(env: Environment) -> Sequence[str]:
    """A volume with limits per GiB, mapped to two nodes."""
    volume = env.driver.create(env.name, parameters={"iopsPerGiB": "100"}, capabilities=[_SHARED])
    env.driver.publish(volume, env.node("a"), _SHARED)
    env.driver.publish(volume, env.node("b"), _SHARED)
    return (volume.volume_id,)


def _published(env: Environment) -> Sequence[str]:
    volume = env.driver.create(env.name)
    env.driver.publish(volume, env.node("a"))
    return (volume.volume_id,)


def _published_to(env: Environment, node: str) -> Sequence[str]:
    volume = env.driver.create(env.name)
    env.driver.publish(volume, node)
    return (volume.volume_id,)


def _both(env: Environment) -> str:
    """A node with an SDC and an NQN."""
    return f"{env.node('a')},{NODE}"


def _new_node(env: Environment) -> str:
    """A node that the array does not know yet."""
    return f"nqn:nqn.2014-08.org.example:{env.name}"


def _snapshot(env: Environment) -> Sequence[str]:
    (volume,) = _volume(env)
    return volume, env.driver.snapshot(volume, f"{env.name}-snapshot").snapshot_id


def _volumes(env: Environment) -> Sequence[str]:
    return tuple(env.driver.create(f"{env.name}-{letter}").volume_id for letter in "xyz")


def _group(env: Environment) -> Sequence[str]:
    group = env.driver.group_snapshot(f"{env.name}-group", *_volumes(env))
    return group.group_snapshot_id, *(snapshot.snapshot_id for snapshot in group.snapshots)


def _moving(env: Environment) -> Sequence[str]:
    """A volume that the array moves to another pool, without end."""
    volume_id, array = env.driver.create(env.name).volume_id, env.world.array
    number = volume_id.partition("-")[2]
    target = next(pool.id for pool in array.pools.values() if pool.name == "sp2")
    settings = array.settings
    array.settings = msgspec.structs.replace(settings, migration_kb_per_second=1)
    Client(env.world.simulator.gateway).act("Volume", number, "migrateVTree", destSPId=target)
    array.settings = settings
    running = array.vtrees[array.volumes[number].vtree_id].migration
    assert running is not None
    running.done_seconds = -1e12
    return (volume_id,)


def _policies(env: Environment) -> None:
    """Two policies, which all calls share."""
    present = {policy.name for policy in env.world.array.policies.values()}
    for name in {"hourly", "daily"} - present:
        make_policy(env.world, name)


def _hourly(env: Environment, **more: str) -> Sequence[str]:
    """A volume in a policy."""
    _policies(env)
    return (env.driver.create(env.name, parameters={"snapshotPolicy": "hourly", **more}).volume_id,)


def _with_policy_snapshots(env: Environment) -> Sequence[str]:
    """A volume whose policy has taken two snapshots of it. The class lets them be deleted with it.

    The policy takes them at once and none later, because the clock would also end sessions.
    """
    (volume_id,) = _hourly(env, deletePolicySnapshots="true")
    take_now(env.world, volume_id, 2)
    return (volume_id,)


def _source_and_policies(env: Environment) -> Sequence[str]:
    _policies(env)
    return _volume(env)


def _publish_all(env: Environment, ids: Sequence[str]) -> None:
    """A later mapping shows which limits are kept for the volume."""
    env.driver.publish(ids[0], env.node("c"), _SHARED)


def _with_limits(env: Environment) -> csi_pb2.Volume:
    return env.driver.create(env.name, mutable_parameters={"iopsLimit": "500"})


def _older_with_limits(env: Environment) -> Sequence[str]:
    volume = _with_limits(env).volume_id
    env.driver.expand(volume, gib=8)
    return (volume,)


def _nothing_but_policies(env: Environment) -> Sequence[str]:
    _policies(env)
    return ()


CALLS = {
    "CreateVolume": Call((1, 0), _nothing, lambda env, _: env.driver.create(env.name)),
    "CreateVolume in a snapshot policy": Call(
        (1, 0),
        _nothing_but_policies,
        lambda env, _: env.driver.create(env.name, parameters={"snapshotPolicy": "hourly"}),
    ),
    "CreateVolume from a volume in a snapshot policy": Call(
        (2, 0),
        _source_and_policies,
        lambda env, ids: env.driver.clone(
            f"{env.name}-copy", ids[0], parameters={"snapshotPolicy": "hourly"}
        ),
    ),
    "CreateVolume with limits": Call((1, 0), _nothing, lambda env, _: _with_limits(env)),
    "CreateVolume from a snapshot": Call(
        (3, 0),
        _snapshot,
        lambda env, ids: env.driver.restore(f"{env.name}-copy", ids[1]),
    ),
    "CreateVolume from a snapshot, larger": Call(
        (3, 0),
        _snapshot,
        lambda env, ids: env.driver.restore(f"{env.name}-copy", ids[1], gib=16),
    ),
    "CreateVolume from a volume": Call(
        (2, 0), _volume, lambda env, ids: env.driver.clone(f"{env.name}-copy", ids[0])
    ),
    "CreateVolume from a volume, larger": Call(
        (2, 0),
        _volume,
        lambda env, ids: env.driver.clone(f"{env.name}-copy", ids[0], gib=16),
    ),
    "DeleteVolume": Call((0, 0), _volume, lambda env, ids: env.driver.delete(ids[0])),
    "DeleteVolume into the trash": Call((1, 0), _volume, lambda env, ids: env.driver.delete(ids[0])),
    "DeleteVolume with policy snapshots": Call(
        (0, 0), _with_policy_snapshots, lambda env, ids: env.driver.delete(ids[0])
    ),
    "DeleteVolume with policy snapshots into the trash": Call(
        (1, 0), _with_policy_snapshots, lambda env, ids: env.driver.delete(ids[0])
    ),
    "DeleteVolume with limits": Call(
        (0, 0),
        lambda env: (_with_limits(env).volume_id,),
        lambda env, ids: env.driver.delete(ids[0]),
    ),
    "DeleteVolume with a snapshot": Call((1, 0), _snapshot, lambda env, ids: env.driver.delete(ids[0])),
    "ControllerPublishVolume": Call(
        (1, 1), _volume, lambda env, ids: env.driver.publish(ids[0], env.node("a"))
    ),
    "ControllerPublishVolume with limits": Call(
        (1, 1),
        lambda env: (_with_limits(env).volume_id,),
        lambda env, ids: env.driver.publish(ids[0], env.node("a")),
    ),
    "ControllerPublishVolume of an older volume": Call(
        (1, 1), _older, lambda env, ids: env.driver.publish(ids[0], env.node("a"))
    ),
    "ControllerPublishVolume of an older volume with limits": Call(
        (1, 1),
        _older_with_limits,
        lambda env, ids: env.driver.publish(ids[0], env.node("a")),
    ),
    "ControllerPublishVolume read-only": Call(
        (1, 1),
        _volume,
        lambda env, ids: env.driver.publish(
            ids[0], env.node("a"), mount(Mode.MULTI_NODE_READER_ONLY), readonly=True
        ),
    ),
    "ControllerPublishVolume to a further node": Call(
        (1, 3),
        _limited,
        lambda env, ids: env.driver.publish(ids[0], env.node("c"), _SHARED),
    ),
    "ControllerPublishVolume over NVMe": Call(
        (1, 1), _volume, lambda env, ids: env.driver.publish(ids[0], NODE), needs_nvme=True
    ),
    "ControllerPublishVolume over NVMe to a new node": Call(
        (1, 1), _volume, lambda env, ids: env.driver.publish(ids[0], _new_node(env)), needs_nvme=True
    ),
    "ControllerPublishVolume to a node that is also an NVMe host": Call(
        (1, 1), _volume, lambda env, ids: env.driver.publish(ids[0], _both(env)), needs_nvme=True
    ),
    "ControllerUnpublishVolume over NVMe": Call(
        (1, 0),
        lambda env: _published_to(env, NODE),
        lambda env, ids: env.driver.unpublish(ids[0], NODE),
        needs_nvme=True,
    ),
    "ControllerUnpublishVolume from a node that is also an NVMe host": Call(
        (1, 0),
        lambda env: _published_to(env, NODE),
        lambda env, ids: env.driver.unpublish(ids[0], _both(env)),
        needs_nvme=True,
    ),
    "ControllerUnpublishVolume": Call(
        (1, 0),
        _published,
        lambda env, ids: env.driver.unpublish(ids[0], env.node("a")),
    ),
    "ControllerUnpublishVolume of one of two nodes": Call(
        (1, 1), _limited, lambda env, ids: env.driver.unpublish(ids[0], env.node("a"))
    ),
    "ControllerUnpublishVolume of all nodes": Call(
        (1, 0), _limited, lambda env, ids: env.driver.unpublish(ids[0])
    ),
    "ControllerExpandVolume": Call((1, 0), _volume, lambda env, ids: env.driver.expand(ids[0], gib=16)),
    "ControllerExpandVolume with limits": Call(
        (1, 3), _limited, lambda env, ids: env.driver.expand(ids[0], gib=16), _publish_all
    ),
    "ControllerModifyVolume": Call(
        (1, 1),
        _volume,
        lambda env, ids: env.driver.modify(ids[0], iopsLimit="500"),
        _publish_all,
    ),
    "ControllerModifyVolume of a mapped volume": Call(
        (1, 3),
        _limited,
        lambda env, ids: env.driver.modify(ids[0], iopsLimit="500"),
        _publish_all,
    ),
    "ControllerModifyVolume into a snapshot policy": Call(
        (1, 0),
        _source_and_policies,
        lambda env, ids: env.driver.modify(ids[0], snapshotPolicy="hourly"),
    ),
    "ControllerModifyVolume to another snapshot policy, with limits": Call(
        (1, 0),
        _hourly,
        lambda env, ids: env.driver.modify(ids[0], snapshotPolicy="daily", iopsLimit="500"),
    ),
    "ControllerModifyVolume out of a snapshot policy": Call(
        (1, 0), _hourly, lambda env, ids: env.driver.modify(ids[0], snapshotPolicy="none")
    ),
    "ControllerModifyVolume to another pool": Call(
        (2, 0),
        _snapshot,
        lambda env, ids: env.driver.modify(ids[0], storagepool="sp2"),
        mirrored=True,
    ),
    "ControllerModifyVolume to another pool with limits": Call(
        (1, 3),
        _limited,
        lambda env, ids: env.driver.modify(ids[0], storagepool="sp2", provisioning="thick", iopsLimit="500"),
        _publish_all,
        mirrored=True,
    ),
    "ControllerModifyVolume back to the pool that the volume leaves": Call(
        (1, 0), _moving, lambda env, ids: env.driver.modify(ids[0], storagepool="sp1"), mirrored=True
    ),
    "CreateSnapshot": Call(
        (2, 0),
        _volume,
        lambda env, ids: env.driver.snapshot(ids[0], f"{env.name}-snapshot"),
    ),
    "DeleteSnapshot": Call((1, 0), _snapshot, lambda env, ids: env.driver.delete_snapshot(ids[1])),
    "CreateVolumeGroupSnapshot": Call(
        (6, 0),
        _volumes,
        lambda env, ids: env.driver.group_snapshot(f"{env.name}-group", *ids),
    ),
    "DeleteVolumeGroupSnapshot": Call(
        (3, 0), _group, lambda env, ids: env.driver.delete_group(ids[0], *ids[1:])
    ),
}
