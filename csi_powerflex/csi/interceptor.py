"""What surrounds every RPC, in one place: call context, validation, locks, limits, logs, metrics, errors.

The servicers know none of it. They raise ``errors``. The driver calls ``context.abort`` only here.
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

Handler = Callable[[Any, grpc.ServicerContext], Any]


class Interceptor(grpc.ServerInterceptor):
    """Wraps each method once, and uses the wrapper again for later calls."""

    def __init__(self, *, slow_slots: int) -> None:
        self._locks = Locks()
        self._slots = threading.BoundedSemaphore(slow_slots)
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """gRPC calls this in its only serving thread. So it only wraps; the wrapper does the work.

        Raises:
            TypeError: the method is of a kind that this interceptor does not wrap, see ``require_guarded``.
        """
        name = handler_call_details.method
        if name not in self._wrapped:
            handler = continuation(handler_call_details)
            if handler is None:
                return None
            require_guarded(name, handler)
            self._wrapped[name] = self._wrap(name.rpartition("/")[2], handler)
        return self._wrapped[name]

    def _wrap(self, rpc: str, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(rpc, handler.unary_unary),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        stream: Any = handler.unary_stream
        return grpc.unary_stream_rpc_method_handler(
            self._stream(rpc, stream),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _unary(self, rpc: str, handle: Handler) -> Handler:
        def call(request: Message, context: grpc.ServicerContext) -> object:
            with self._guarded(rpc, request, context):
                return handle(request, context)

        return call

    def _stream(self, rpc: str, handle: Handler) -> Handler:
        def call(request: Message, context: grpc.ServicerContext) -> Iterator[object]:
            with self._guarded(rpc, request, context):
                yield from handle(request, context)

        return call

    @contextlib.contextmanager
    def _guarded(self, rpc: str, request: Message, context: grpc.ServicerContext) -> Iterator[None]:
        """Do around the block what the row of this RPC says.

        An error of the block ends the call with the gRPC code of that error.
        """
        guard = policy.POLICIES.get(rpc, policy.UNKNOWN)
        current = _call_context(rpc, context)
        with call_context.entered(current), _reported(current, request) as outcome:
            try:
                _require(request, guard.required)
                with self._locks.holding(guard.locks(request), rpc), self._slot(guard):
                    yield
            except GeneratorExit:
                # The caller ended the call before the end of the stream.
                outcome.code = grpc.StatusCode.CANCELLED
                raise
            except Exception as error:  # noqa: BLE001 - each error must become a gRPC status
                outcome.code, detail = _status_of(error, current, guard, context)
                _send_counts(context, current)
                _abort(context, outcome.code, detail)
            _send_counts(context, current)

    @contextlib.contextmanager
    def _slot(self, guard: policy.Policy) -> Iterator[None]:
        """Hold one of the slots for calls that wait, if this is such a call (``Policy.waits``).

        Raises:
            Unavailable: all slots are in use.
        """
        if not guard.waits:
            yield
            return
        if not self._slots.acquire(blocking=False):
            raise errors.Unavailable("too many calls wait for the array or for a device; try again later")
        try:
            with metrics.RPC_SLOW_SLOTS_IN_USE.track_inprogress():
                yield
        finally:
            self._slots.release()


def require_guarded(name: str, handler: grpc.RpcMethodHandler[Any, Any]) -> None:
    """Check that the interceptor wraps this kind of method: one request, and one answer or a stream of them.

    Raises:
        TypeError: it does not wrap it. The method would run without locks, limits, logs and error codes.
    """
    if handler.unary_unary is None and handler.unary_stream is None:
        raise TypeError(f"{name} takes a stream of requests, which csi.interceptor does not support")


class _Outcome:
    """The gRPC code of a call."""

    def __init__(self) -> None:
        self.code = grpc.StatusCode.OK


def _call_context(rpc: str, context: grpc.ServicerContext) -> call_context.CallContext:
    left = context.time_remaining()
    deadline = None
    if left < _NO_DEADLINE_SECONDS:
        deadline = time.monotonic() + left - min(_ANSWER_SECONDS, left / 10)
    return call_context.CallContext(rpc=rpc, request_id=secrets.token_hex(4), deadline=deadline)


@contextlib.contextmanager
def _reported(current: call_context.CallContext, request: Message) -> Iterator[_Outcome]:
    """Log the begin and the end of a call, and set its metrics. Probes are logged only at debug level."""
    log_call = log.debug if current.rpc in ("Probe", "GetPluginInfo") else log.info
    subject = {
        field: getattr(request, field)
        for field in ("name", "volume_id", "node_id", "staging_target_path", "target_path")
        if getattr(request, field, "")
    }
    subject |= requested_for(getattr(request, "parameters", {}))
    log_call("call began", **subject)
    if log.debugging:
        log.debug("request received", message=redact.text(request))
    began = time.monotonic()
    outcome = _Outcome()
    try:
        yield outcome
    finally:
        took = time.monotonic() - began
        metrics.RPC_DURATION.labels(current.rpc, outcome.code.name).observe(took)
        log_call("call ended", code=outcome.code.name, seconds=f"{took:.3f}", **subject, **current.counts)


def _require(request: Message, fields: tuple[str, ...]) -> None:
    set_fields = {descriptor.name for descriptor, _ in request.ListFields()}
    missing = [field for field in fields if field not in set_fields]
    if missing:
        raise errors.InvalidArgument(f"{', '.join(missing)} must be set")


def _status_of(
    error: Exception, current: call_context.CallContext, guard: policy.Policy, context: grpc.ServicerContext
) -> tuple[grpc.StatusCode, str]:
    """The gRPC code and the message for an error."""
    rpc = current.rpc
    if isinstance(error, errors.DriverError):
        code = status.code_of(error)
        log.warning("call failed", code=code.name, error=str(error))
        return code, str(error)
    # A servicer without this method sets the code and raises NotImplementedError. Any other one is a defect.
    answered = context.code()  # type: ignore[attr-defined]  # the stubs lack it
    if isinstance(error, NotImplementedError) and answered is grpc.StatusCode.UNIMPLEMENTED:
        return grpc.StatusCode.UNIMPLEMENTED, f"{rpc} is not implemented by this driver"
    metrics.RPC_UNEXPECTED_ERRORS.labels(rpc).inc()
    log.unexpected("call failed with an unexpected error", error)
    # The text of the error may contain anything, so only the log gets it.
    detail = (
        f"unexpected {type(error).__name__} in {rpc}; the driver's log has the details under request id "
        f"{current.request_id}"
    )
    return (grpc.StatusCode.ABORTED if guard.changes else grpc.StatusCode.INTERNAL), detail


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
