"""The operator is killed at a request, and another process leads the object on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from csi_powerflex.operator.api import Key
from tests.controller.ended import Killed, Life
from tests.operator.movers_world import MoversWorld

_MOST_ROUNDS = 80


def killed_at(world: MoversWorld, key: Key, life: Life, position: int, *, after: bool) -> bool:
    """Lead the object until the process is killed at this request, or until there is nothing to do.

    The controllers of the cluster are other processes, so their requests are not counted.
    Returns whether it was killed. The world then has a new process.
    """
    left = position
    for _ in range(_MOST_ROUNDS):
        life.end_at(left, after=after)
        pause: float | None = 0.0
        with contextlib.suppress(Killed):
            pause = world.rounds.lead(key)
        dead, left = life.dead, life.left
        life.begin_again()
        if dead:
            world.new_process()
            return True
        world.controllers()
        if world.rests(pause):
            return False
    raise AssertionError(f"it does not end: {world.status(key)}")


def each_position(step: Callable[[int], bool], *, least: int) -> int:
    """Call with 0, 1, 2 and so on until a call says that nothing was killed. Returns how many were killed."""
    for position in range(500):
        if not step(position):
            assert position > least
            return position
    raise AssertionError("it does not end")
