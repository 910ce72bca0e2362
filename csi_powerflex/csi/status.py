"""The gRPC code of each error of the driver.

A subclass without a row has the code of its base class. The sidecars take INTERNAL for a final failure, after
which nothing exists. So an unexpected error in a call that may have changed something becomes ABORTED: the
caller repeats the call, and the idempotent operation finds what exists.
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
    """The gRPC code of an error.

    Raises:
        TypeError: neither its class nor a base class has a row.
    """
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    raise TypeError(f"{type(error).__name__} has no row in csi.status.CODES")
