"""Moving a volume tree to another pool: the array does it in the background (protocol notes, 2.9).

A tree has a volume with its snapshots and clones. It is always moved as a whole. Ids stay, and hosts use the
volumes meanwhile.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from csi_powerflex.errors import AlreadyExists, Busy
from csi_powerflex.model.array import Volume


class MoveState(enum.StrEnum):
    """What the array does with a tree."""

    NONE = "none"
    """It stays in its pool."""
    QUEUED = "queued"
    """It waits for other work of the array."""
    MOVING = "moving"
    """Its data is being moved. A state that this driver does not know counts as this one."""
    PAUSING = "pausing"
    """Its data is still being moved, until the array pauses."""
    PAUSED = "paused"
    """No data is moved. The reason says why."""


class Conversion(enum.StrEnum):
    """What a move changes about how the tree's first volume takes space, in the words of the array."""

    NONE = "NoConversion"
    TO_THICK = "ThinToThick"
    TO_THIN = "ThickToThin"


@dataclass(frozen=True, slots=True)
class Tree:
    """A volume tree.

    Attributes:
        pool_id: the pool that it is in; during a move the one that it leaves.
        target_id: the pool that it moves to.
        pause_reason: the array's word for it.
        queue_position: its place among the trees that wait; 0 where the array does not say it.
        conversion: what the move changes; NONE also where the array does not say it.
    """

    id: str
    pool_id: str
    state: MoveState = MoveState.NONE
    target_id: str | None = None
    pause_reason: str | None = None
    queue_position: int = 0
    conversion: Conversion = Conversion.NONE


@dataclass(frozen=True, slots=True)
class TreeMember:
    """A volume, snapshot or clone in a tree. ``replicated`` says whether the array replicates it."""

    volume: Volume
    replicated: bool


@dataclass(frozen=True, slots=True)
class TreeUsage:
    """The data of a tree: the bytes that it takes, and the share of them that a move has moved, 0 to 1."""

    used: int
    moved: float


class MoveRunning(Busy):
    """The tree is moving already, to this pool or another one."""


class InPoolAlready(AlreadyExists):
    """The tree is in this pool already."""
