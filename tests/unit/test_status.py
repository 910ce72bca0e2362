"""The gRPC codes of the driver's errors."""

import grpc
import pytest

from csi_powerflex import errors
from csi_powerflex.csi import status


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.InvalidArgument, "INVALID_ARGUMENT"),
        (errors.NotFound, "NOT_FOUND"),
        (errors.AlreadyExists, "ALREADY_EXISTS"),
        (errors.FailedPrecondition, "FAILED_PRECONDITION"),
        (errors.VolumeInUse, "FAILED_PRECONDITION"),
        (errors.OutOfRange, "OUT_OF_RANGE"),
        (errors.ResourceExhausted, "RESOURCE_EXHAUSTED"),
        (errors.Busy, "ABORTED"),
        (errors.Unavailable, "UNAVAILABLE"),
        (errors.DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (errors.Unauthenticated, "UNAUTHENTICATED"),
        (errors.PermissionDenied, "PERMISSION_DENIED"),
        (errors.Unsupported, "UNIMPLEMENTED"),
    ],
)
def test_each_error_has_its_code(kind: type[errors.DriverError], code: str) -> None:
    assert status.code_of(kind("x")) is grpc.StatusCode[code]


def test_the_base_of_all_errors_has_no_code_of_its_own() -> None:
    with pytest.raises(TypeError, match="DriverError has no row"):
        status.code_of(errors.DriverError("too vague"))
