"""What happens around every RPC, in one place: scope, validation, locks, limits, logs, metrics, errors.

The servicers inside know none of it. They raise ``errors``; the only ``context.abort`` of the driver is here.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import grpc
from google.protobuf.message import Message

from csi_powerflex import call_context, errors
from csi_powerflex.csi import policy, redact, status
from csi_powerflex.csi.locks import Locks
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)

# Kept back from the caller's deadline, so that our own answer, which says what was waited for, arrives first.
_ANSWER_SECONDS = 0.05

# gRPC carries the message in a header, and breaks the call where that takes more than 8 KiB; a character
# outside of ASCII takes up to three times its bytes there.
_MAX_DETAIL_BYTES = 2000
# gRPC says "no deadline" as a moment in the far future.
_NO_DEADLINE_SECONDS = 10 * 365 * 86400.0

Handler = Callable[[Any, grpc.ServicerContext], Any]


class Interceptor(grpc.ServerInterceptor):
    """Wraps each method once and reuses the wrapper."""

    def __init__(self, *, slow_slots: int) -> None:
        self._locks = Locks()
        self._places = threading.BoundedSemaphore(slow_slots)
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Called by gRPC on its one serving thread: only wraps, the work happens in the wrapper."""
        name = handler_call_details.method
        if name not in self._wrapped:
            handler = continuation(handler_call_details)
            if handler is None or handler.unary_unary is None:
                return handler
            self._wrapped[name] = grpc.unary_unary_rpc_method_handler(
                self._around(name.rpartition("/")[2], handler.unary_unary),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        return self._wrapped[name]

    def _around(self, rpc: str, handle: Handler) -> Handler:
        guard = policy.POLICIES.get(rpc, policy.UNKNOWN)

        def call(request: Message, context: grpc.ServicerContext) -> object:
            with (
                call_context.entered(_scope_of(rpc, context)) as current,
                _reported(current, request) as outcome,
            ):
                try:
                    _require(request, guard.required)
                    with self._locks.holding(guard.locks(request), rpc), self._place(guard):
                        answer: object = handle(request, context)
                except Exception as error:  # noqa: BLE001 - whatever it is, it must become a gRPC status
                    outcome.code, detail = _judge(error, current, guard, context)
                    _show_cost(context, current)
                    _abort(context, outcome.code, detail)
                _show_cost(context, current)
                return answer

        return call

    @contextlib.contextmanager
    def _place(self, guard: policy.Policy) -> Iterator[None]:
        """One of the limited places for calls that wait, so that quick ones always find a thread."""
        if not guard.waits:
            yield
            return
        if not self._places.acquire(blocking=False):
            raise errors.Unavailable(
                "every place for calls that wait for the array is taken; try again later"
            )
        try:
            with metrics.RPC_SLOW_SLOTS_IN_USE.track_inprogress():
                yield
        finally:
            self._places.release()


class _Outcome:
    """The code a call ended with."""

    def __init__(self) -> None:
        self.code = grpc.StatusCode.OK


def _scope_of(rpc: str, context: grpc.ServicerContext) -> call_context.CallContext:
    left = context.time_remaining()
    deadline = None
    if left < _NO_DEADLINE_SECONDS:
        deadline = time.monotonic() + left - min(_ANSWER_SECONDS, left / 10)
    return call_context.CallContext(rpc=rpc, request_id=secrets.token_hex(4), deadline=deadline)


@contextlib.contextmanager
def _reported(current: call_context.CallContext, request: Message) -> Iterator[_Outcome]:
    """One log line in, one out, and the metrics. Probes come every few seconds, so only debug says them."""
    say = log.debug if current.rpc in ("Probe", "GetPluginInfo") else log.info
    subject = {
        field: getattr(request, field)
        for field in ("name", "volume_id", "node_id", "staging_target_path", "target_path")
        if getattr(request, field, "")
    }
    say("call began", **subject)
    if log.debugging:
        log.debug("call asked", message=redact.text(request))
    began = time.monotonic()
    outcome = _Outcome()
    try:
        yield outcome
    finally:
        took = time.monotonic() - began
        metrics.RPC_DURATION.labels(current.rpc, outcome.code.name).observe(took)
        say("call ended", code=outcome.code.name, seconds=f"{took:.3f}", **subject, **current.counts)


def _require(request: Message, fields: tuple[str, ...]) -> None:
    set_fields = {descriptor.name for descriptor, _ in request.ListFields()}
    missing = [field for field in fields if field not in set_fields]
    if missing:
        raise errors.InvalidArgument(f"{', '.join(missing)} must be set")


def _judge(
    error: Exception, current: call_context.CallContext, guard: policy.Policy, context: grpc.ServicerContext
) -> tuple[grpc.StatusCode, str]:
    """The code and message that ``error`` becomes for the caller."""
    rpc = current.rpc
    if isinstance(error, errors.DriverError):
        code = status.code_of(error)
        log.warning("call failed", code=code.name, error=str(error))
        return code, str(error)
    # A servicer that lacks the method sets the code and then raises this; from elsewhere it is a fault.
    answered = context.code()  # type: ignore[attr-defined]  # the stubs lack it
    if isinstance(error, NotImplementedError) and answered is grpc.StatusCode.UNIMPLEMENTED:
        return grpc.StatusCode.UNIMPLEMENTED, f"{rpc} is not implemented by this driver"
    metrics.RPC_UNEXPECTED_ERRORS.labels(rpc).inc()
    log.unexpected("call met an unforeseen error", error)
    # Its text may hold anything, so it stays in the log.
    detail = (
        f"unforeseen {type(error).__name__} in {rpc}; the driver's log has the details under request id "
        f"{current.request_id}"
    )
    return (grpc.StatusCode.ABORTED if guard.changes else grpc.StatusCode.INTERNAL), detail


def _show_cost(context: grpc.ServicerContext, current: call_context.CallContext) -> None:
    """Tell the caller, in trailing metadata, under which id to look in the log and what the call cost."""
    counts = [(f"x-{what.replace('_', '-')}", str(count)) for what, count in current.counts.items()]
    context.set_trailing_metadata((("x-request-id", current.request_id), *counts))


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, detail: str) -> NoReturn:
    context.abort(code, _clipped(detail))
    raise AssertionError("abort returned")


def _clipped(detail: str) -> str:
    """``detail`` as gRPC can send it: not too long, and without the half characters of undecodable paths."""
    content = detail.encode("utf-8", "backslashreplace")
    if len(content) > _MAX_DETAIL_BYTES:
        content = content[:_MAX_DETAIL_BYTES] + b"..."
    return content.decode("utf-8", "ignore")
