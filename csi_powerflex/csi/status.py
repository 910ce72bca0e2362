"""The one table from the driver's errors to gRPC codes.

Looked up along the class's ancestry, so that a more telling subclass needs no row of its own. INTERNAL
is final for the sidecars ("it failed, forget it"), so an error that nobody foresaw in a call that changes
something becomes ABORTED: repeat it, and the idempotent operation finds out what happened.
"""

from __future__ import annotations

import grpc

from csi_powerflex import errors

CODES: dict[type[errors.DriverError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Busy: grpc.StatusCode.ABORTED,
    errors.Expired: grpc.StatusCode.ABORTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Unsupported: grpc.StatusCode.UNIMPLEMENTED,
}


def code_of(error: errors.DriverError) -> grpc.StatusCode:
    """The gRPC code for a foreseen error."""
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    raise TypeError(f"{type(error).__name__} has no row in csi.status.CODES")
