"""Trouble on demand: which requests meet it, how often, and what it does to them.

A fault is data, so that it can come from YAML, over the admin port or from Python. It says nothing of
sockets: it is turned into a :class:`Plan`, and the shell that serves the request carries the plan out.
"""

from __future__ import annotations

import itertools
import random
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec

from csi_powerflex.simulator.message import HTML, Request, Response
from csi_powerflex.simulator.refusal import CAUSES, Refusal
from csi_powerflex.simulator.routes import Route

_PAGE = b"""<html>
<head><title>%d %s</title></head>
<body><center><h1>%d %s</h1></center><hr><center>nginx</center></body>
</html>
"""

_REASONS = {
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Time-out",
}

_ids = itertools.count(1)


class Trouble(StrEnum):
    """What can be done to a request."""

    LATENCY = "latency"
    ERROR = "error"
    HTML = "html"
    RESET = "reset"
    LOST_REPLY = "lost_reply"
    ENDLESS = "endless"
    TRUNCATED = "truncated"
    WRONG_JSON = "wrong_json"
    FREEZE = "freeze"
    STALE = "stale"
    REVOKE = "revoke"


class Delay(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Seconds to wait: ``fixed`` plus a random part that is uniform up to ``uniform`` or has ``mean``.

    The part with a mean is exponential, or normal when ``deviation`` is given; it is never negative.
    """

    fixed: float = 0.0
    uniform: float = 0.0
    mean: float = 0.0
    deviation: float | None = None

    def draw(self, dice: random.Random) -> float:
        """One waiting time."""
        extra = dice.uniform(0, self.uniform) if self.uniform else 0.0
        if self.mean:
            if self.deviation is None:
                extra += dice.expovariate(1 / self.mean)
            else:
                extra += max(0.0, dice.gauss(self.mean, self.deviation))
        return self.fixed + extra


class Fault(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One trouble and the requests that meet it.

    ``route`` and ``path`` are patterns with ``*`` (``Volume.addMappedSdc``, ``*.create``); ``object`` is
    an id or name that has to occur in the path or the body. It strikes after ``skip`` matches, at most
    ``times`` times (None: until it is taken away), each time with ``probability``, drawn from ``seed``.
    ``code`` is an MDM error, ``status`` an HTTP status; ``after_effect`` lets an error come after the
    request was carried out. ``seconds`` is a number or a :class:`Delay`.
    """

    trouble: Trouble
    method: str = "*"
    route: str = "*"
    path: str = "*"
    object: str = ""
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None
    skip: Annotated[int, msgspec.Meta(ge=0)] = 0
    probability: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    seed: int = 0
    seconds: float | Delay = 0.0
    status: int = 500
    code: int = 0
    message: str | None = None
    after_effect: bool = False
    id: int = msgspec.field(default_factory=lambda: next(_ids))

    def concerns(self, route: Route, request: Request) -> bool:
        """Whether the request is one of those that may meet it."""
        return (
            fnmatchcase(request.method, self.method)
            and fnmatchcase(route.name, self.route)
            and fnmatchcase(request.path, self.path)
            and (not self.object or self.object in request.path or self.object.encode() in request.body)
        )

    def answer(self) -> Response:
        """The error that it answers instead."""
        if self.trouble is Trouble.HTML:
            reason = _REASONS.get(self.status, "Error").encode()
            return Response(self.status, _PAGE % (self.status, reason, self.status, reason), HTML)
        known = CAUSES.get(self.code)
        message = self.message or (known.text if known else "Injected error")
        return Refusal(self.status, self.code, message).response()


# Two threads that decode a type for the first time at once crash msgspec; here there is only one.
msgspec.json.Decoder(Fault)


@dataclass(slots=True)
class Plan:
    """What to do to one request, all the faults that struck it taken together."""

    faults: list[Fault] = field(default_factory=list)
    delay: float = 0.0

    def has(self, trouble: Trouble) -> Fault | None:
        """The first fault of this kind among them."""
        return next((fault for fault in self.faults if fault.trouble is trouble), None)

    @property
    def error(self) -> Fault | None:
        """The error to answer, if any."""
        return self.has(Trouble.ERROR) or self.has(Trouble.HTML)

    @property
    def names(self) -> tuple[str, ...]:
        """The kinds of trouble, for the request log."""
        return tuple(fault.trouble.value for fault in self.faults)


NO_TROUBLE = Plan()


class _Armed:
    """A fault with what is left of it."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.skip = fault.skip
        self.left = fault.times
        self.dice = random.Random(fault.seed)  # noqa: S311 - repeatable on purpose
        self.struck = 0

    def strikes(self) -> bool:
        if self.left == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.fault.probability < 1 and self.dice.random() >= self.fault.probability:
            return False
        if self.left is not None:
            self.left -= 1
        self.struck += 1
        return True


class Faults:
    """The faults of one gateway."""

    def __init__(self) -> None:
        self._armed: dict[int, _Armed] = {}
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> int:
        """Let a fault strike from now on; returns its id."""
        with self._lock:
            self._armed[fault.id] = _Armed(fault)
        return fault.id

    def remove(self, fault_id: int) -> bool:
        """Take a fault away; requests that it holds go on. False when there is no such fault."""
        with self._lock:
            return self._armed.pop(fault_id, None) is not None

    def clear(self) -> None:
        """Take all faults away."""
        with self._lock:
            self._armed.clear()

    def is_there(self, fault_id: int) -> bool:
        """Whether the fault has not been taken away."""
        return fault_id in self._armed

    def struck(self, fault_id: int) -> int:
        """How many requests the fault has met."""
        armed = self._armed.get(fault_id)
        return armed.struck if armed else 0

    def list(self) -> list[dict[str, object]]:
        """All faults, with how often each has struck."""
        with self._lock:
            armed = list(self._armed.values())
        return [{**msgspec.to_builtins(each.fault), "struck": each.struck} for each in armed]

    def plan(self, route: Route, request: Request) -> Plan:
        """What to do to a request; faults that strike are used up by it."""
        if not self._armed:
            return NO_TROUBLE
        plan = Plan()
        with self._lock:
            for armed in self._armed.values():
                fault = armed.fault
                if fault.concerns(route, request) and armed.strikes():
                    plan.faults.append(fault)
                    wait = fault.seconds
                    plan.delay += wait.draw(armed.dice) if isinstance(wait, Delay) else wait
        return plan


def parse(data: object) -> Fault:
    """A fault from decoded JSON or YAML.

    Raises:
        ValueError: it is not one; the text names the field.
    """
    return msgspec.convert(data, Fault)


def cut_short(response: Response) -> Response:
    """The response with the second half of its body missing: no JSON any more."""
    content = response.content()
    return Response(response.status, content[: len(content) // 2], response.content_type, response.headers)


def of_wrong_shape(response: Response) -> Response:
    """JSON, but not of the kind that was asked for."""
    return Response(
        response.status, b'{"unexpected":[null,"simulated"]}', response.content_type, response.headers
    )
