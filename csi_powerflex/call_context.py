"""The call being served: its RPC, its request id and its deadline.

One context variable, entered by the gRPC interceptor and read at the leaves that wait (the gateway
client and the command runner), so that no layer between them has to carry a deadline around. It does
not know gRPC.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from csi_powerflex.errors import DeadlineExceeded


@dataclass(slots=True)
class CallContext:
    """One call under way. ``deadline`` is a value of ``time.monotonic()``, None for no limit.

    ``counts`` collects what the call cost (gateway requests, host commands), for its closing log line.
    """

    rpc: str
    request_id: str
    deadline: float | None = None
    counts: dict[str, int] = field(default_factory=dict)


_current: contextvars.ContextVar[CallContext | None] = contextvars.ContextVar("scope", default=None)


def current() -> CallContext | None:
    """The call being served by this thread, or None outside of one."""
    return _current.get()


@contextlib.contextmanager
def entered(scope: CallContext) -> Iterator[CallContext]:
    """Make ``scope`` the current one for the duration of the block."""
    token = _current.set(scope)
    try:
        yield scope
    finally:
        _current.reset(token)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let the block take at most ``seconds`` of the current call's time."""
    scope = _current.get()
    if scope is None:
        yield
        return
    sooner = time.monotonic() + seconds
    with entered(
        dataclasses.replace(scope, deadline=sooner if scope.deadline is None else min(scope.deadline, sooner))
    ):
        yield


def remaining(cap: float) -> float:
    """Seconds left for the current call, at most ``cap``.

    Raises:
        DeadlineExceeded: nothing is left.
    """
    scope = _current.get()
    if scope is None or scope.deadline is None:
        return cap
    left = scope.deadline - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded(f"the deadline of {scope.rpc} passed; repeat the call")
    return min(left, cap)


def count(what: str) -> None:
    """Note that the current call made one more ``what``, such as a gateway request."""
    scope = _current.get()
    if scope is not None:
        scope.counts[what] = scope.counts.get(what, 0) + 1
