"""The lifecycle of one volume, with calls as the sidecars make them: repeated until the outcome is known."""

from __future__ import annotations

import collections
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import grpc

from tests.controller.driver import GIB, Driver

# For the sidecars, the outcome of a call with these codes is unknown. All other codes are final.
UNKNOWN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED)
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_TIMEOUT_SECONDS = 240.0

Answer = TypeVar("Answer")


class LifecycleError(Exception):
    """A call failed with a final error or a timeout, or an answer is wrong."""


@dataclass
class Tally:
    """Counts of all clients. ``errors`` is by code, ``longest`` is the longest duration until success."""

    calls: int = 0
    errors: collections.Counter[str] = field(default_factory=collections.Counter)
    longest: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Sidecar:
    """Repeats calls until they succeed."""

    def __init__(self, driver: Driver, tally: Tally, rng: random.Random) -> None:
        self.driver = driver
        self._tally = tally
        self._rng = rng

    def until_done(self, what: str, call: Callable[[], Answer]) -> Answer:
        """The answer of ``call``. It is repeated while its outcome is unknown.

        Raises:
            LifecycleError: it failed with a final error, or did not succeed in four minutes.
        """
        pause, began = _FIRST_PAUSE_SECONDS, time.monotonic()
        while True:
            with self._tally.lock:
                self._tally.calls += 1
            try:
                answer = call()
            except grpc.RpcError as error:
                code, took = error.code(), time.monotonic() - began
                with self._tally.lock:
                    self._tally.errors[code.name] += 1
                if code not in UNKNOWN or took > _TIMEOUT_SECONDS:
                    text = f"{what} failed after {took:.0f} s: {code.name}: {error.details()}"
                    raise LifecycleError(text) from error
                time.sleep(pause * self._rng.uniform(0.5, 1.0))
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                with self._tally.lock:
                    self._tally.longest = max(self._tally.longest, time.monotonic() - began)
                return answer


def run_lifecycle(sidecar: Sidecar, name: str, nodes: tuple[str, ...], rng: random.Random) -> None:
    """Create, publish, unpublish and delete one volume. Sometimes also expand and copy it.

    Raises:
        LifecycleError: a call failed, or an answer is wrong.
    """
    until_done, driver = sidecar.until_done, sidecar.driver
    size, node = rng.choice((8, 16)), rng.choice(nodes)
    volume = until_done(f"create {name}", lambda: driver.create(name, gib=size))
    _require(volume.capacity_bytes == size * GIB, f"{name} has {volume.capacity_bytes} bytes")
    again = until_done(f"create {name} again", lambda: driver.create(name, gib=size))
    _require(again.volume_id == volume.volume_id, f"{name} is both {volume.volume_id} and {again.volume_id}")
    volume_id = volume.volume_id
    until_done(f"publish {name}", lambda: driver.publish(volume, node))
    if rng.random() < 0.3:
        size = 24
        grown = until_done(f"expand {name}", lambda: driver.expand(volume_id, gib=size))
        _require(grown.capacity_bytes == size * GIB, f"{name} grew to {grown.capacity_bytes} bytes")
    if rng.random() < 0.3:
        _copy(sidecar, name, volume_id, size, rng)
    found = until_done(f"get {name}", lambda: driver.get(volume_id))
    _require(found.volume.capacity_bytes == size * GIB, f"{name} shows {found.volume.capacity_bytes} bytes")
    published = list(found.status.published_node_ids)
    _require(published == [node], f"{name} is published to {published}, not to {node}")
    until_done(f"unpublish {name}", lambda: driver.unpublish(volume_id, node))
    until_done(f"delete {name}", lambda: driver.delete(volume_id))


def _copy(sidecar: Sidecar, name: str, volume_id: str, size: int, rng: random.Random) -> None:
    until_done, driver = sidecar.until_done, sidecar.driver
    if rng.random() < 0.5:
        copy = until_done(
            f"clone {name}", lambda: driver.clone(f"{name}-copy", volume_id, gib=size, limit=size)
        )
    else:
        snapshot = until_done(
            f"snapshot {name}", lambda: driver.snapshot(volume_id, f"snapshot-{name}")
        ).snapshot_id
        larger = size + 8
        copy = until_done(
            f"restore {name}", lambda: driver.restore(f"{name}-copy", snapshot, gib=larger, limit=larger)
        )
        _require(copy.capacity_bytes == larger * GIB, f"{name}-copy has {copy.capacity_bytes} bytes")
        until_done(f"delete the snapshot of {name}", lambda: driver.delete_snapshot(snapshot))
    _require(copy.volume_id != volume_id, f"{name} and its copy have the same id")
    until_done(f"delete the copy of {name}", lambda: driver.delete(copy.volume_id))


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise LifecycleError(message)
