"""A check around each call that creates something: after a final error, the arrays are as before the call.

A caller may forget what it asked for after a final error. So no one would ever delete what is left.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import grpc

_CREATING = (
    "CreateVolume",
    "CreateSnapshot",
    "CreateVolumeGroupSnapshot",
    "ControllerExpandVolume",
    "ControllerModifyVolume",
)
_NOT_FINAL = (
    grpc.StatusCode.OK,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
)


class FinalCodes:
    """The calls of all clients of the same arrays. ``state`` describes the arrays.

    ``checked`` is the number of final errors after which the arrays were as before.
    """

    def __init__(self, state: Callable[[], object]) -> None:
        self.state = state
        self._lock = threading.Lock()
        self._begun = 0
        self._running = 0
        self.checked = 0

    def begin(self) -> tuple[int, object]:
        """Note that a call begins."""
        with self._lock:
            self._begun += 1
            self._running += 1
            return (self._begun if self._running == 1 else 0), self.state()

    def end(self, begun: tuple[int, object], rpc: str, call: grpc.Call) -> None:
        """Check the arrays, unless another call ran at the same time."""
        code = call.code()
        with self._lock:
            self._running -= 1
            alone = begun[0] == self._begun
        if alone and rpc in _CREATING and code not in _NOT_FINAL:
            assert self.state() == begun[1], f"{rpc} ended with {code.name} and left something behind"
            self.checked += 1


class Checked(grpc.UnaryUnaryClientInterceptor):
    """Puts the check around the calls of one client."""

    def __init__(self, final_codes: FinalCodes) -> None:
        self._final_codes = final_codes

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        begun = self._final_codes.begin()
        call = continuation(details, request)
        self._final_codes.end(begun, details.method.rpartition("/")[2], call)
        return call
