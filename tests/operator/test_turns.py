"""Each object has one round at a time: when it changes, and when its pause is over."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from csi_powerflex.operator.api import Key
from csi_powerflex.operator.turns import Turns

ONE, OTHER = Key("things", "shop", "one"), Key("things", "shop", "other")
SECONDS = 15.0


class Leader:
    """Rounds that a test watches. Each returns the next of the pauses, and then waits for a change."""

    def __init__(self, *pauses: float | None) -> None:
        self.pauses = list(pauses)
        self.led: list[Key] = []
        self.changed = threading.Condition()
        self.blocked = False

    def lead(self, key: Key) -> float | None:
        with self.changed:
            self.led.append(key)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: not self.blocked, SECONDS)
            return self.pauses.pop(0) if self.pauses else math.inf

    def release(self) -> None:
        with self.changed:
            self.blocked = False
            self.changed.notify_all()

    async def rounds(self, many: int) -> None:
        """Wait until so many rounds have begun."""

        def wait() -> bool:
            with self.changed:
                return self.changed.wait_for(lambda: len(self.led) >= many, SECONDS)

        assert await asyncio.to_thread(wait), self.led


def play(leader: Leader, scene: Callable[[Turns], Awaitable[None]]) -> None:
    async def run() -> None:
        with ThreadPoolExecutor(4) as executor:
            turns = Turns(leader.lead, executor)
            try:
                await scene(turns)
            finally:
                leader.release()
                await turns.stop()

    asyncio.run(run())


def test_a_round_begins_when_an_object_appears_and_after_each_pause() -> None:
    leader = Leader(0.0, 0.01)

    async def scene(turns: Turns) -> None:
        turns.wake(ONE)
        await leader.rounds(3)

    play(leader, scene)
    assert leader.led == [ONE, ONE, ONE]


def test_a_change_ends_the_pause() -> None:
    leader = Leader()

    async def scene(turns: Turns) -> None:
        turns.changed(ONE, 1)
        await leader.rounds(1)
        turns.changed(ONE, 2)
        await leader.rounds(2)

    play(leader, scene)


def test_an_event_without_a_change_that_counts_begins_no_round() -> None:
    leader = Leader()

    async def scene(turns: Turns) -> None:
        turns.changed(ONE, 1)
        await leader.rounds(1)
        turns.changed(ONE, 1)
        turns.changed(OTHER, 1)
        await leader.rounds(2)

    play(leader, scene)
    assert leader.led == [ONE, OTHER]


def test_a_change_during_a_round_is_followed_by_one_more_and_never_by_two_at_once() -> None:
    leader = Leader()
    leader.blocked = True

    async def scene(turns: Turns) -> None:
        turns.wake(ONE)
        await leader.rounds(1)
        turns.wake(ONE)
        turns.wake(ONE)
        turns.wake(OTHER)
        await leader.rounds(2)
        assert leader.led == [ONE, OTHER]
        leader.release()
        await leader.rounds(3)

    play(leader, scene)
    assert leader.led == [ONE, OTHER, ONE]


def test_an_object_that_does_not_exist_any_more_is_forgotten() -> None:
    leader = Leader(None)

    async def scene(turns: Turns) -> None:
        turns.changed(ONE, 1)
        await leader.rounds(1)
        while turns.objects:
            await asyncio.sleep(0)
        turns.changed(ONE, 1, removed=True)
        await leader.rounds(2)

    play(leader, scene)


def test_one_that_was_created_again_during_the_last_round_gets_another_round() -> None:
    leader = Leader(None)
    leader.blocked = True

    async def scene(turns: Turns) -> None:
        turns.wake(ONE)
        await leader.rounds(1)
        turns.wake(ONE)
        leader.release()
        await leader.rounds(2)

    play(leader, scene)
