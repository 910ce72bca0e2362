"""What surrounds every RPC, in one place: call context, validation, locks, limits, logs, metrics, errors.

The servicers know none of it. They raise ``errors``. The driver calls ``context.abort`` only here.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from types import TracebackType
from typing import Any, NoReturn

import grpc
from google.protobuf.message import Message

from csi_powerflex import call_context, errors
from csi_powerflex.csi import policy, redact, status
from csi_powerflex.csi.locks import Locks
from csi_powerflex.model.parameters import requested_for
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)

# Reserved at the end of the caller's deadline, so that the error arrives. It says what the call waited for.
_ANSWER_SECONDS = 0.05

# gRPC sends the message in a header, and a header of more than 8 KiB breaks the call. A character that is not
# ASCII takes up to three times its bytes there.
_MAX_DETAIL_BYTES = 2000
# gRPC reports "no deadline" as a time in the far future.
_NO_DEADLINE_SECONDS = 10 * 365 * 86400.0
# The fields of requests that say what a call is about.
_SUBJECTS = (
    "name",
    "volume_id",
    "snapshot_id",
    "group_snapshot_id",
    "source_volume_id",
    "node_id",
    "staging_target_path",
    "target_path",
)
_LOG_HAS_MORE = 'the driver\'s log has its stack after the words "call failed with an unexpected error"'

Handler = Callable[[Any, grpc.ServicerContext], Any]


class Interceptor:
    """Wraps the handlers of methods when they are added to a server.

    It is no ``grpc.ServerInterceptor``: gRPC would look for the handler through it in each call.

    Args:
        slow_slots: how many calls may wait for the array or for a device at the same time.
        slow_call_seconds: a call that changes nothing is logged at level info if it takes at least this long.
    """

    def __init__(self, *, slow_slots: int, slow_call_seconds: float) -> None:
        self._limits = _Limits(slow_slots, slow_call_seconds)

    def wrap(
        self, service: str, rpc: str, handler: grpc.RpcMethodHandler[Any, Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """The handler of a method, with all that surrounds it.

        Raises:
            TypeError: the method takes a stream of requests. It would run without locks, limits, logs and
                error codes.
        """
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(_Method(rpc), handler.unary_unary),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        if handler.unary_stream is None:
            raise TypeError(
                f"{service}/{rpc} takes a stream of requests, which csi.interceptor does not support"
            )
        stream: Any = handler.unary_stream
        return grpc.unary_stream_rpc_method_handler(
            self._stream(_Method(rpc), stream),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _unary(self, method: _Method, handle: Handler) -> Handler:
        def call(request: Message, context: grpc.ServicerContext) -> object:
            with _Guarded(self._limits, method, request, context):
                return handle(request, context)

        return call

    def _stream(self, method: _Method, handle: Handler) -> Handler:
        def call(request: Message, context: grpc.ServicerContext) -> Iterator[object]:
            with _Guarded(self._limits, method, request, context):
                yield from handle(request, context)

        return call


class _Limits:
    """What all calls share. The arguments are those of ``Interceptor``."""

    def __init__(self, slow_slots: int, slow_call_seconds: float) -> None:
        self.locks = Locks()
        self.slots = threading.BoundedSemaphore(slow_slots)
        self.slow_call_seconds = slow_call_seconds


class _Method:
    """One RPC: its row, and what would take time to look up in each call."""

    def __init__(self, rpc: str) -> None:
        self.rpc = rpc
        self.guard = policy.POLICIES.get(rpc, policy.UNKNOWN)
        self._subjects: tuple[str, ...] | None = None
        self._durations: dict[grpc.StatusCode, Callable[[float], None]] = {}

    def observe(self, code: grpc.StatusCode, seconds: float) -> None:
        """Count a call that ended with this code after ``seconds``."""
        if code not in self._durations:
            self._durations[code] = metrics.RPC_DURATION.labels(self.rpc, code.name).observe
        self._durations[code](seconds)

    def subject(self, request: Message) -> dict[str, object]:
        """What a call is about, as fields of its log line."""
        if self._subjects is None:
            fields = request.DESCRIPTOR.fields_by_name
            self._subjects = tuple(field for field in _SUBJECTS if field in fields)
        named = {field: value for field in self._subjects if (value := getattr(request, field))}
        return named | requested_for(getattr(request, "parameters", {}))


class _Guarded:
    """Does around a block what the row of its RPC says. The block is the method of the servicer.

    An error of the block ends the call with the gRPC code of that error. This is a class, because
    generators that serve as context managers took a part of each call that could be measured.
    """

    def __init__(
        self, limits: _Limits, method: _Method, request: Message, context: grpc.ServicerContext
    ) -> None:
        self._limits = limits
        self._method = method
        self._request = request
        self._context = context
        self._current = _call_context(method.rpc, context)
        self._held: Collection[str] = ()
        self._has_slot = False

    def __enter__(self) -> None:
        self._token = call_context.enter(self._current)
        self._began = time.monotonic()
        try:
            self._begin()
        except Exception as error:  # noqa: BLE001 - each error must become a gRPC status
            self._end(error)

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._end(error)

    def _begin(self) -> None:
        """Log and check the request, and take its locks and its slot (``Policy.waits``).

        Raises:
            InvalidArgument: a required field is missing.
            Busy: another call holds one of the locks.
            Unavailable: all slots are in use.
        """
        if log.debugging:
            log.debug("call began", **self._method.subject(self._request))
            log.debug("request received", message=redact.text(self._request))
        guard = self._method.guard
        _require(self._request, guard.required)
        self._held = self._limits.locks.take(guard.locks(self._request), self._method.rpc)
        if guard.waits:
            if not self._limits.slots.acquire(blocking=False):
                raise errors.Unavailable("too many calls wait for the array or for a device; try again later")
            self._has_slot = True
            metrics.RPC_SLOW_SLOTS_IN_USE.inc()

    def _release(self) -> None:
        if self._has_slot:
            metrics.RPC_SLOW_SLOTS_IN_USE.dec()
            self._limits.slots.release()
        self._limits.locks.release(self._held)

    def _end(self, error: BaseException | None) -> None:
        """Release what the call holds, report how it ended, and end it with a code if it failed."""
        self._release()
        outcome = _Outcome()
        try:
            if isinstance(error, Exception):
                self._fail(outcome, error)
            elif isinstance(error, GeneratorExit):
                # The caller ended the call before the end of the stream.
                outcome.code = grpc.StatusCode.CANCELLED
            if error is None or isinstance(error, Exception):
                _send_counts(self._context, self._current)
            self._report(outcome)
        finally:
            call_context.leave(self._token)
        if isinstance(error, Exception):
            _abort(self._context, outcome.code, outcome.detail)

    def _fail(self, outcome: _Outcome, error: Exception) -> None:
        rpc = self._method.rpc
        outcome.code, outcome.detail = _status_of(error, rpc, self._method.guard, self._context)
        if _is_unexpected(error, outcome.code):
            metrics.RPC_UNEXPECTED_ERRORS.labels(rpc).inc()
            outcome.unexpected = error

    def _report(self, outcome: _Outcome) -> None:
        """Set the metrics of the call, and write its one line. A line that no one sees is not made."""
        took = time.monotonic() - self._began
        self._method.observe(outcome.code, took)
        important = self._method.guard.changes or took >= self._limits.slow_call_seconds
        if important or outcome.detail or log.debugging:
            subject = self._method.subject(self._request)
            fields = {"code": outcome.code.name, "seconds": f"{took:.3f}", **subject, **self._current.counts}
            _log_end(outcome, fields, important=important)


class _Outcome:
    """How a call ended: its gRPC code, the message for the caller, and the error if it was unexpected."""

    def __init__(self) -> None:
        self.code = grpc.StatusCode.OK
        self.detail = ""
        self.unexpected: Exception | None = None


def _call_context(rpc: str, context: grpc.ServicerContext) -> call_context.CallContext:
    left = context.time_remaining()
    deadline = None
    if left < _NO_DEADLINE_SECONDS:
        deadline = time.monotonic() + left - min(_ANSWER_SECONDS, left / 10)
    return call_context.CallContext(rpc=rpc, request_id=secrets.token_hex(4), deadline=deadline)


def _log_end(outcome: _Outcome, fields: dict[str, object], *, important: bool) -> None:
    """Write the line of a call that ended.

    Args:
        outcome: how it ended.
        fields: the fields of the line.
        important: whether the line is written at level info if the call succeeded, and else at debug.
    """
    if outcome.unexpected is not None:
        log.unexpected("call failed with an unexpected error", outcome.unexpected, **fields)
    elif outcome.detail:
        log.warning("call failed", **fields, error=outcome.detail)
    else:
        log_call = log.info if important else log.debug
        log_call("call ended", **fields)


def _require(request: Message, fields: tuple[str, ...]) -> None:
    if not fields:
        return
    set_fields = {descriptor.name for descriptor, _ in request.ListFields()}
    missing = [field for field in fields if field not in set_fields]
    if missing:
        raise errors.InvalidArgument(f"{', '.join(missing)} must be set")


def _status_of(
    error: Exception, rpc: str, guard: policy.Policy, context: grpc.ServicerContext
) -> tuple[grpc.StatusCode, str]:
    """The gRPC code and the message for an error.

    The message is the same whenever the same error occurs again: without the request id and without a time.
    Kubernetes counts an event with an equal message, and writes a new one otherwise (ADR 14).
    """
    if isinstance(error, errors.DriverError):
        return status.code_of(error), str(error)
    # A servicer without this method sets the code and raises NotImplementedError. Any other one is a defect.
    answered = context.code()  # type: ignore[attr-defined]  # the stubs lack it
    if isinstance(error, NotImplementedError) and answered is grpc.StatusCode.UNIMPLEMENTED:
        return grpc.StatusCode.UNIMPLEMENTED, f"{rpc} is not implemented by this driver"
    # The text of the error may contain anything, so only the log gets it.
    detail = f"unexpected {type(error).__name__} in {rpc}; {_LOG_HAS_MORE}"
    return (grpc.StatusCode.ABORTED if guard.changes else grpc.StatusCode.INTERNAL), detail


def _is_unexpected(error: Exception, code: grpc.StatusCode) -> bool:
    """Whether the error is a defect. The code tells a method that is not implemented from any other error."""
    return not isinstance(error, errors.DriverError) and code is not grpc.StatusCode.UNIMPLEMENTED


def _send_counts(context: grpc.ServicerContext, current: call_context.CallContext) -> None:
    """Send the request id and the counts of the call, such as gateway requests, as trailing metadata."""
    counts = [(f"x-{what.replace('_', '-')}", str(count)) for what, count in current.counts.items()]
    context.set_trailing_metadata((("x-request-id", current.request_id), *counts))


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, detail: str) -> NoReturn:
    context.abort(code, _clipped(detail))
    raise AssertionError("abort returned")


def _clipped(detail: str) -> str:
    """``detail`` as gRPC can send it: shortened, with escapes for bytes of paths that are not UTF-8."""
    content = detail.encode("utf-8", "backslashreplace")
    if len(content) > _MAX_DETAIL_BYTES:
        content = content[:_MAX_DETAIL_BYTES] + b"..."
    return content.decode("utf-8", "ignore")
