"""What a resource's package offers to ``rounds``: one step with one object, and what came of it."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from csi_powerflex.operator.api import Definition, Resource, Status

NOW = 0.0
"""The pause before a further step that can be done at once."""

UNTIL_CHANGED = math.inf
"""The pause if there is nothing to do until the object changes."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An object in the namespace of the object that is led, for its Events."""

    api_version: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Happening:
    """What an Event tells the users of an object.

    Attributes:
        reason: in one word, in CamelCase.
        text: in sentences.
        warning: whether someone has to look.
        also: another object whose users are told too.
    """

    reason: str
    text: str
    warning: bool = False
    also: Reference | None = None


S = TypeVar("S", bound=Status)
S_contra = TypeVar("S_contra", bound=Status, contravariant=True)
R = TypeVar("R", bound=Resource)


@dataclass(frozen=True, slots=True)
class Change(Generic[S]):
    """What came of a step.

    Attributes:
        status: the status that the object gets.
        pause: the seconds until the next step.
        finalizer: whether the object has the operator's finalizer afterwards; None to leave it as it is. One
            is added before anything is done that has to be taken back, and removed after the status is there.
        happenings: what to tell.
    """

    status: S
    pause: float = NOW
    finalizer: bool | None = None
    happenings: tuple[Happening, ...] = ()


class Save(Protocol[S_contra]):
    """Writes the status of the object at once, for what must be known before a step begins.

    If the object has changed since it was read, nothing is written and the round ends, by an exception that
    is no DriverError. So a step goes on only if the status is there.

    Raises:
        DriverError: it may not be written.
    """

    def __call__(self, status: S_contra, /) -> None: ...


class Work(Protocol[R, S]):
    """The work on the objects of one resource. Each object is led by one thread at a time."""

    @property
    def definition(self) -> Definition:
        """Its resource."""
        ...

    @property
    def kind(self) -> type[R]:
        """The type of its objects."""
        ...

    def advance(self, found: R, save: Save[S]) -> Change[S]:
        """Do the next step. The same step may have been interrupted anywhere before.

        Args:
            found: the object as it is now.
            save: writes a status before the step goes on.

        Raises:
            DriverError: the step failed in a way that changes nothing in the status; it is repeated.
        """
        ...


Clock = Callable[[], datetime.datetime]
"""The present time, with a time zone, in whole seconds."""
