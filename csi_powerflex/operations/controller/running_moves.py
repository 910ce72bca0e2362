"""The moves that this process has seen running, for metrics and for the notice about their end.

The call for a move is repeated until it has ended. One whose call is not repeated any more is forgotten after
some time: another controller may get the calls now, or the claim was deleted.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.moves import MoveState, TreeUsage
from csi_powerflex.observability import metrics

# The sidecar repeats a call at least every five minutes (external-resizer, --retry-interval-max).
_FORGOTTEN_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """A move as a call saw it last. ``at`` is a value of the clock, ``left`` the bytes still to be moved."""

    at: float
    system: str
    state: MoveState
    left: float


class RunningMoves:
    """Moves by volume; safe to share between threads.

    Args:
        clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[VolumeHandle, _Seen] = {}

    def seen(self, system: str, handle: VolumeHandle, state: MoveState, usage: TreeUsage) -> None:
        """Note that the volume is being moved on the system."""
        left = usage.used * (1 - usage.moved)
        with self._lock:
            self._seen[handle] = _Seen(self._clock(), system, state, left)
        for each in MoveState:
            if each is not MoveState.NONE:
                metrics.MOVES_RUNNING.follow(functools.partial(self._count, system, each), system, each.value)
        metrics.MOVES_LEFT.follow(functools.partial(self._left, system), system)

    def ended(self, handle: VolumeHandle) -> bool:
        """Forget the volume's move. Returns whether it was seen running."""
        with self._lock:
            return self._seen.pop(handle, None) is not None

    def _of(self, system: str) -> list[_Seen]:
        """The moves on a system whose calls are still repeated."""
        oldest = self._clock() - _FORGOTTEN_SECONDS
        with self._lock:
            self._seen = {handle: item for handle, item in self._seen.items() if item.at > oldest}
            return [item for item in self._seen.values() if item.system == system]

    def _count(self, system: str, state: MoveState) -> float:
        return sum(item.state is state for item in self._of(system))

    def _left(self, system: str) -> float:
        return sum(item.left for item in self._of(system))
