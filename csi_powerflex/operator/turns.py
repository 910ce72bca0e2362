"""When each object has a round: its task begins one when the object changes or its pause is over.

Rounds block, so they run in threads. All methods are for the thread of the event loop. An object has one
round at a time. If it changes during a round, one more follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from csi_powerflex.observability.log import Log
from csi_powerflex.operator.api import Key

log = Log(__name__)

_LONGEST_PAUSE_SECONDS = 300.0
"""After this time an object is looked at again, also if a watch has lost a change of it."""

Lead = Callable[[Key], float | None]
"""One round. Returns the seconds until the next one, or None if the object does not exist any more."""


class Turns:
    """Begins rounds.

    Args:
        lead: one round; it never raises.
        executor: runs the rounds.
    """

    def __init__(self, lead: Lead, executor: Executor) -> None:
        self._lead = lead
        self._executor = executor
        self._wakes: dict[Key, asyncio.Event] = {}
        self._versions: dict[Key, object] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def changed(self, key: Key, version: object, *, removed: bool = False) -> None:
        """Begin a round if the object has another version than at the last call, or was removed."""
        before = self._versions.get(key)
        if removed:
            self._versions.pop(key, None)
        else:
            self._versions[key] = version
        if removed or before != version:
            self.wake(key)

    def wake(self, key: Key) -> None:
        """Begin a round with the object soon."""
        found = self._wakes.get(key)
        if found is not None:
            found.set()
            return
        self._wakes[key] = wake = asyncio.Event()
        task = asyncio.get_running_loop().create_task(self._follow(key, wake))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Begin no further round, and wait for the end of those under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def objects(self) -> int:
        """How many objects are followed."""
        return len(self._wakes)

    async def _follow(self, key: Key, wake: asyncio.Event) -> None:
        try:
            while True:
                wake.clear()
                pause = await self._round(key)
                if pause is None and not wake.is_set():
                    return
                await self._wait(wake, pause or 0.0)
        finally:
            del self._wakes[key]

    async def _round(self, key: Key) -> float | None:
        """One round. A cancelled one is waited for, because its thread goes on."""
        running = asyncio.get_running_loop().run_in_executor(self._executor, self._lead, key)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise

    @staticmethod
    async def _wait(wake: asyncio.Event, pause: float) -> None:
        try:
            async with asyncio.timeout(min(pause, _LONGEST_PAUSE_SECONDS)):
                await wake.wait()
        except TimeoutError:
            return
