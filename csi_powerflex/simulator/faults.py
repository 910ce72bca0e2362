"""Faults: what they do to requests, to which requests, and how often.

A fault is plain data, so it can come from YAML, from the admin port or from Python. It knows nothing of
sockets. The faults of a request become a :class:`Plan`, and the server carries out the plan.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec

from csi_powerflex.simulator.api_error import MDM_ERRORS, ApiError
from csi_powerflex.simulator.message import HTML, Request, Response
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


class FaultKind(StrEnum):
    """What a fault does to a request."""

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
    CLOSED = "closed"
    NO_EVENT = "no_event"
    WRONG_NGUID = "wrong_nguid"
    ZERO_NGUID = "zero_nguid"
    WRONG_NQN = "wrong_nqn"


NVME_ROUTES = "Nvme."
"""How the routes of steps of NVMe/TCP begin. Only a fault that names such a route strikes them."""

NVME_STEPS = (
    "Nvme.accept",
    "Nvme.admin",
    "Nvme.connect",
    "Nvme.discard",
    "Nvme.discovery",
    "Nvme.event",
    "Nvme.flush",
    "Nvme.identify",
    "Nvme.io",
    "Nvme.keepAlive",
    "Nvme.read",
    "Nvme.write",
)
"""The routes of the steps of NVMe/TCP. ``Nvme.admin`` and ``Nvme.io`` are all commands without their own."""

_ONLY_NVME = (
    FaultKind.CLOSED,
    FaultKind.NO_EVENT,
    FaultKind.WRONG_NGUID,
    FaultKind.ZERO_NGUID,
    FaultKind.WRONG_NQN,
)


class Delay(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Seconds to wait: the sum of ``fixed``, a uniform random part up to ``uniform``, and one with ``mean``.

    The part with a mean has an exponential distribution, or a normal one if ``deviation`` is given. It is
    never negative.
    """

    fixed: float = 0.0
    uniform: float = 0.0
    mean: float = 0.0
    deviation: float | None = None

    def draw(self, rng: random.Random) -> float:
        """One waiting time."""
        extra = rng.uniform(0, self.uniform) if self.uniform else 0.0
        if self.mean:
            if self.deviation is None:
                extra += rng.expovariate(1 / self.mean)
            else:
                extra += max(0.0, rng.gauss(self.mean, self.deviation))
        return self.fixed + extra


@dataclass(frozen=True, slots=True)
class NvmeStep:
    """What a target of NVMe/TCP is about to do: the counterpart of a request.

    ``route`` is such as ``Nvme.connect``, ``portal`` such as ``127.0.0.1:4420``. ``subject`` has the host's
    NQN and id, and the id of the volume, as far as the step has them.
    """

    route: str
    portal: str
    subject: str = ""


class Fault(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One fault: its kind, the requests that it applies to, and how often it strikes.

    ``route`` and ``path`` are patterns with ``*`` (``Volume.addMappedSdc``, ``*.create``). ``object`` is an
    id or name that must occur in the path or the body. The fault skips the first ``skip`` matching
    requests. It strikes at most ``times`` times (None: until it is removed), each time with
    ``probability``. ``seed`` is for the random numbers. ``code`` is an MDM error, ``status`` an HTTP
    status. With ``after_effect`` the request has its effect before the client gets the error. ``seconds``
    is a number or a :class:`Delay`.

    Steps of NVMe/TCP have routes such as ``Nvme.connect``. For these, ``path`` is a pattern for the portal,
    ``object`` is a host's NQN or id, or a volume's id, and ``code`` is the NVMe status of an error.
    """

    kind: FaultKind
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
        """Whether the fault applies to the request."""
        return (
            self.kind not in _ONLY_NVME
            and fnmatchcase(request.method, self.method)
            and fnmatchcase(route.name, self.route)
            and fnmatchcase(request.path, self.path)
            and (not self.object or self.object in request.path or self.object.encode() in request.body)
        )

    def concerns_step(self, step: NvmeStep) -> bool:
        """Whether the fault applies to a step of NVMe/TCP."""
        return (
            (self.kind in _ONLY_NVME or self.route.startswith(NVME_ROUTES))
            and fnmatchcase(step.route, self.route)
            and fnmatchcase(step.portal, self.path)
            and self.object in step.subject
        )

    def answer(self) -> Response:
        """The error response that the client gets."""
        if self.kind is FaultKind.HTML:
            reason = _REASONS.get(self.status, "Error").encode()
            return Response(self.status, _PAGE % (self.status, reason, self.status, reason), HTML)
        known = MDM_ERRORS.get(self.code)
        message = self.message or (known.text if known else "Injected error")
        return ApiError(self.status, self.code, message).response()


# msgspec crashes if two threads are the first to decode a type. Here only one thread runs.
msgspec.json.Decoder(Fault)


@dataclass(slots=True)
class Plan:
    """What to do to one request: all faults that strike it, and the sum of their delays in seconds."""

    faults: list[Fault] = field(default_factory=list)
    delay: float = 0.0

    def has(self, kind: FaultKind) -> Fault | None:
        """The first fault of this kind; None if there is none."""
        return next((fault for fault in self.faults if fault.kind is kind), None)

    @property
    def error(self) -> Fault | None:
        """The fault that replaces the response by an error; None if there is none."""
        return self.has(FaultKind.ERROR) or self.has(FaultKind.HTML)

    @property
    def names(self) -> tuple[str, ...]:
        """The kinds of the faults, for the request log."""
        return tuple(fault.kind.value for fault in self.faults)


NO_FAULTS = Plan()


class _ActiveFault:
    """A fault and how often it may still skip and strike."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.skip = fault.skip
        self.left = fault.times
        self.rng = random.Random(fault.seed)  # noqa: S311 - it must be repeatable
        self.struck = 0

    def strikes(self) -> bool:
        if self.left == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.fault.probability < 1 and self.rng.random() >= self.fault.probability:
            return False
        if self.left is not None:
            self.left -= 1
        self.struck += 1
        return True


class Faults:
    """The faults of one gateway."""

    def __init__(self) -> None:
        self._active: dict[int, _ActiveFault] = {}
        self._lock = threading.Lock()
        self.listeners: list[Callable[[], None]] = []

    def add(self, fault: Fault) -> int:
        """Let a fault strike from now on; returns its id."""
        with self._lock:
            self._active[fault.id] = _ActiveFault(fault)
        self._notify()
        return fault.id

    def remove(self, fault_id: int) -> bool:
        """Remove a fault. Frozen requests continue. False when there is no such fault."""
        with self._lock:
            removed = self._active.pop(fault_id, None)
        self._notify()
        return removed is not None

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._active.clear()
        self._notify()

    def _notify(self) -> None:
        for listener in self.listeners:
            listener()

    @property
    def active(self) -> bool:
        """Whether there is any fault."""
        return bool(self._active)

    def is_there(self, fault_id: int) -> bool:
        """Whether the fault exists and was not removed."""
        return fault_id in self._active

    def struck(self, fault_id: int) -> int:
        """How many requests the fault has struck."""
        active = self._active.get(fault_id)
        return active.struck if active else 0

    def list(self) -> list[dict[str, object]]:
        """All faults. ``struck`` is how many requests each has struck."""
        with self._lock:
            active = list(self._active.values())
        return [{**msgspec.to_builtins(each.fault), "struck": each.struck} for each in active]

    def plan(self, route: Route, request: Request) -> Plan:
        """What to do to a request. Faults that strike it count this."""
        if not self._active:
            return NO_FAULTS
        return self._plan(lambda fault: fault.concerns(route, request))

    def plan_step(self, step: NvmeStep) -> Plan:
        """What to do to a step of NVMe/TCP. Faults that strike it count this."""
        if not self._active:
            return NO_FAULTS
        return self._plan(lambda fault: fault.concerns_step(step))

    def _plan(self, concerns: Callable[[Fault], bool]) -> Plan:
        plan = Plan()
        with self._lock:
            for active in self._active.values():
                if concerns(active.fault) and active.strikes():
                    plan.faults.append(active.fault)
                    wait = active.fault.seconds
                    plan.delay += wait.draw(active.rng) if isinstance(wait, Delay) else wait
        return plan

    def closes(self, portal: str) -> bool:
        """Whether a fault keeps a portal such as ``127.0.0.1:4420`` closed. This counts no strike."""
        with self._lock:
            faults = [active.fault for active in self._active.values()]
        return any(fault.kind is FaultKind.CLOSED and fnmatchcase(portal, fault.path) for fault in faults)


def parse(data: object) -> Fault:
    """A fault from decoded JSON or YAML.

    Raises:
        ValueError: it is not a valid fault. The text names the field.
    """
    fault = msgspec.convert(data, Fault)
    if fault.route.startswith(NVME_ROUTES) and not any(fnmatchcase(s, fault.route) for s in NVME_STEPS):
        raise ValueError(f"route {fault.route} is none of {', '.join(NVME_STEPS)}")
    return fault


def truncated(response: Response) -> Response:
    """The response without the second half of its body, so that the body is not valid JSON."""
    content = response.content()
    return Response(response.status, content[: len(content) // 2], response.content_type, response.headers)


def wrong_json(response: Response) -> Response:
    """A response with valid JSON of an unexpected shape."""
    return Response(
        response.status, b'{"unexpected":[null,"simulated"]}', response.content_type, response.headers
    )
