"""The operator is killed at a request, and another process leads the object on.

All state is in the cluster (ADR 27). So the world goes back to the beginning of a round before each kill. A
run ends at a state from which another one has come to the end, because it would go on in the same way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from csi_powerflex.operator.api import Key
from tests.controller.ended import Killed, Life
from tests.operator.movers_world import MoversWorld, State

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


def killed_everywhere(
    world: MoversWorld, key: Key, life: Life, *, after: bool, require: Callable[[], None]
) -> int:
    """Kill the process at each request of each round, and lead the object on. Returns how many were killed.

    Args:
        world: the world, with an object that can be led to the end.
        key: the object.
        life: the process that is killed.
        after: whether the request is done before the end of the process.
        require: asserts that the end is right; called for each run that has come to the end.
    """
    states, proven = _to_the_end(world, key, set(), require), set[str]()
    proven |= {state.comparable() for state in states}
    killed = 0
    for state in states:
        for position in range(500):
            world.restore(state)
            if not _is_killed(world, key, life, position, after=after):
                break
            killed += 1
            proven |= {seen.comparable() for seen in _to_the_end(world, key, proven, require)}
    return killed


def _is_killed(world: MoversWorld, key: Key, life: Life, position: int, *, after: bool) -> bool:
    """Lead the object one round in which the process is killed at this request, if there are so many."""
    life.end_at(position, after=after)
    with contextlib.suppress(Killed):
        world.rounds.lead(key)
    dead = life.dead
    life.begin_again()
    world.new_process()
    return dead


def _to_the_end(world: MoversWorld, key: Key, proven: set[str], require: Callable[[], None]) -> list[State]:
    """Lead the object to the end, or to a proven state. Returns the states on the way."""
    states: list[State] = []
    for _ in range(_MOST_ROUNDS):
        state = world.state()
        if state.comparable() in proven:
            return states
        states.append(state)
        if world.rests(world.lead(key)):
            world.settle()
            require()
            return states
    raise AssertionError(f"it does not end: {world.status(key)}")


def each_position(step: Callable[[int], bool], *, least: int) -> int:
    """Call with 0, 1, 2 and so on until a call says that nothing was killed. Returns how many were killed."""
    for position in range(500):
        if not step(position):
            assert position > least
            return position
    raise AssertionError("it does not end")
