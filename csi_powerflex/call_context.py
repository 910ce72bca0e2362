"""The call being served: its RPC, its request id and its deadline.

One context variable. The gRPC interceptor sets it. The code that waits (the gateway client and the command
runner) and the log read it, so that no layer between them has to pass a deadline on. Background work has a
context too. This module does not know gRPC.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from csi_powerflex.errors import DeadlineExceeded

SLOW_CALL_SECONDS = 5.0
"""A call that changes nothing is logged at level info from this duration on, by default."""


@dataclass(slots=True)
class CallContext:
    """One call that is being served, or one piece of background work.

    Attributes:
        rpc: the name of the RPC; empty for background work.
        request_id: the id that all log lines of the call carry; empty for background work.
        deadline: a value of ``time.monotonic()``; None for no limit.
        counts: what the call cost (gateway requests, host commands), for its last log line.
        task: the name of the background work; empty for a call.
    """

    rpc: str = ""
    request_id: str = ""
    deadline: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    task: str = ""


_current: contextvars.ContextVar[CallContext | None] = contextvars.ContextVar("call_context", default=None)


def current() -> CallContext | None:
    """The call that this thread serves; None outside a call."""
    return _current.get()


Token = contextvars.Token[CallContext | None]
"""What ``leave`` needs: the context before."""


def enter(context: CallContext) -> Token:
    """Make ``context`` the current one until ``leave``."""
    return _current.set(context)


def leave(token: Token) -> None:
    """Undo ``enter``, in the same thread."""
    _current.reset(token)


@contextlib.contextmanager
def entered(context: CallContext) -> Iterator[CallContext]:
    """Make ``context`` the current one inside the block."""
    token = enter(context)
    try:
        yield context
    finally:
        leave(token)


@contextlib.contextmanager
def background(task: str, seconds: float | None = None) -> Iterator[None]:
    """Run the block as background work named ``task``, for at most ``seconds``; None for no limit."""
    deadline = None if seconds is None else time.monotonic() + seconds
    with entered(CallContext(task=task, deadline=deadline)):
        yield


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give the block at most ``seconds`` of the time that the current call has left."""
    context = _current.get()
    if context is None:
        yield
        return
    sooner = time.monotonic() + seconds
    deadline = sooner if context.deadline is None else min(context.deadline, sooner)
    with entered(dataclasses.replace(context, deadline=deadline)):
        yield


def remaining(cap: float) -> float:
    """The seconds that the current call has left, at most ``cap``.

    Raises:
        DeadlineExceeded: none are left.
    """
    context = _current.get()
    if context is None or context.deadline is None:
        return cap
    left = context.deadline - time.monotonic()
    if left <= 0:
        if context.task:
            raise DeadlineExceeded(f"the background task {context.task} did not end in time")
        raise DeadlineExceeded(f"the deadline of {context.rpc} passed; repeat the call")
    return min(left, cap)


def count(what: str) -> None:
    """Add one to a count of the current call, such as ``gateway_requests``."""
    context = _current.get()
    if context is not None:
        context.counts[what] = context.counts.get(what, 0) + 1
