"""What a call has created on the arrays, in a form that is equal for two runs: without ids and times."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass

from csi_powerflex.simulator.model import Volume
from tests.controller.world import World

_TIME = re.compile(r"\s*creation_time \{[^}]*\}")


@dataclass(frozen=True)
class Created:
    """New volumes, the number of their mappings, and the kept QoS limits."""

    volumes: tuple[str, ...]
    mappings: int
    qos_store: tuple[tuple[str, str], ...]


class Baseline:
    """The objects that exist before a run. The run must not change them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._existing = self._described(_every(world).values(), {})
        self._labels: dict[str, str] = {}

    def labels(self) -> dict[str, str]:
        """Names for the new ids in the order of their creation, also for objects that were deleted since."""
        new = [volume for volume in _every(self._world).values() if volume.id not in self._existing]
        for volume in new:
            self._label(volume.id, "new")
            if volume.group_id:
                self._label(volume.group_id, "group")
        return self._labels

    def _label(self, object_id: str, kind: str) -> None:
        number = sum(label.startswith(f"<{kind}") for label in self._labels.values())
        self._labels.setdefault(object_id, f"<{kind} {number}>")

    def created(self) -> Created:
        """What was created since. Asserts that nothing else has changed."""
        labels = self.labels()
        present = _every(self._world).values()
        old = [volume for volume in present if volume.id in self._existing]
        assert self._described(old, {}) == self._existing, "the call changed another object"
        new = [volume for volume in present if volume.id not in self._existing]
        described = self._described(new, labels).values()
        mappings = sum(len(volume.mappings) for volume in new)
        nqns = [
            host.nqn.lower()
            for gateway in self._world.simulator.gateways
            for host in gateway.array.hosts.values()
            if host.nqn is not None
        ]
        assert len(set(nqns)) == len(nqns), "an NQN has two hosts"
        return Created(tuple(sorted(map(repr, described))), mappings, self._qos_store(labels))

    def normalised(self, answer: object) -> str:
        """An answer without the ids and times, which differ between two runs."""
        text = _TIME.sub("", str(answer))
        for object_id, label in self.labels().items():
            text = text.replace(object_id, label)
        return text

    def _qos_store(self, labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        file = self._world.more.get("state_file")
        if file is None:
            return ()
        with closing(sqlite3.connect(file)) as database:
            rows = database.execute("SELECT volume, parameters FROM qos_requests").fetchall()
        present = {volume.id for volume in _every(self._world).values()}
        by_id = {handle.partition("-")[2]: parameters for handle, parameters in rows}
        assert not labels.keys() & by_id.keys() - present, "limits are kept for a deleted volume"
        return tuple(sorted((labels[key], value) for key, value in by_id.items() if key in labels))

    def _described(self, volumes: Iterable[Volume], labels: Mapping[str, str]) -> dict[str, object]:
        return {volume.id: _describe(self._world, volume, labels) for volume in volumes}


def _every(world: World) -> dict[str, Volume]:
    return {
        volume_id: volume
        for gateway in world.simulator.gateways
        for volume_id, volume in gateway.array.volumes.items()
    }


def _pools(world: World, volume: Volume) -> tuple[str, ...]:
    """The name of its pool, and of the pool that its tree is moved to."""
    (array,) = (gateway.array for gateway in world.simulator.gateways if volume.id in gateway.array.volumes)
    running = array.vtrees[volume.vtree_id].migration
    pools = [volume.pool_id, running.target_pool_id] if running else [volume.pool_id]
    return tuple(array.pools[pool].name for pool in pools)


def _policy(world: World, policy_id: str | None) -> str | None:
    """The name of a snapshot policy."""
    names = [
        gateway.array.policies[policy_id].name
        for gateway in world.simulator.gateways
        if policy_id is not None and policy_id in gateway.array.policies
    ]
    return names[0] if names else None


def _describe(world: World, volume: Volume, labels: Mapping[str, str]) -> tuple[object, ...]:
    every = [host for gateway in world.simulator.gateways for host in gateway.array.hosts.values()]
    # The name of an NVMe host that the driver created follows from its NQN, which may differ between runs.
    hosts = {host.id: host.name if host.nqn is None else "an NVMe host" for host in every}
    mappings = sorted(
        (hosts[mapping.host_id], mapping.access_mode, mapping.limit_iops, mapping.limit_bw_mbps)
        for mapping in volume.mappings
    )
    return (
        labels.get(volume.id, volume.id),
        (volume.name or "")[:1],
        volume.size_kb,
        volume.type,
        volume.access_limit,
        labels.get(volume.ancestor_id or "", volume.ancestor_id),
        labels.get(volume.group_id or "", volume.group_id),
        volume.secure_until > 0,
        (_policy(world, volume.policy_of_source), _policy(world, volume.policy_of_snapshot), volume.locked),
        _pools(world, volume),
        mappings,
    )
