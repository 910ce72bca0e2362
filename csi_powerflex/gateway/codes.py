"""The array's error codes, and what each one means to the driver.

A refusal by the array (the MDM) comes as HTTP 500 with a code of its own (protocol notes, 3.1 and 3.3),
so the HTTP status alone says little. A code without a row is an error that nobody foresaw in the array:
it becomes Unavailable, which callers repeat, because a final answer on a guess could leak a volume.
"""

from __future__ import annotations

from csi_powerflex import errors
from csi_powerflex.model import array

ERRORS: dict[int, type[errors.DriverError]] = {
    3: errors.NotFound,
    28: errors.Busy,
    32: errors.Busy,
    33: errors.Busy,
    36: errors.Busy,
    58: errors.PermissionDenied,
    67: errors.ResourceExhausted,
    68: errors.Unavailable,
    69: errors.Unavailable,
    78: errors.NotFound,
    79: errors.NotFound,
    80: array.HostGone,
    81: array.AlreadyMapped,
    82: array.AlreadyMapped,
    84: array.NotMapped,
    86: errors.FailedPrecondition,
    87: errors.ResourceExhausted,
    88: errors.NotFound,
    90: array.HostGone,
    91: array.HostGone,
    96: errors.ResourceExhausted,
    97: errors.ResourceExhausted,
    99: array.NameInUse,
    104: array.VolumeMapped,
    133: errors.OutOfRange,
    142: array.PoolGone,
    145: errors.Busy,
    164: errors.Busy,
    168: errors.PermissionDenied,
    171: array.PoolGone,
    174: array.PoolGone,
    190: errors.OutOfRange,
    197: array.PoolGone,
    # A removal that is still running: the volume is going, but its name and space are not free yet.
    212: errors.Busy,
    213: errors.Unavailable,
    225: errors.OutOfRange,
    181: array.TreeFull,
    182: array.TreeFull,
    183: errors.NotFound,
    185: errors.NotFound,
    191: errors.ResourceExhausted,
    303: errors.ResourceExhausted,
    306: array.MappedElsewhere,
    309: errors.ResourceExhausted,
    331: array.HostNotApproved,
    346: errors.ResourceExhausted,
    4037: array.AlreadyMapped,
    4039: array.NotMapped,
}

_NOT_AN_ID = "must be a hexadecimal number"


def error_for(status: int, code: int, message: str) -> type[errors.DriverError]:
    """The kind of error that a refusal is: by the array's ``code``, else by what the gateway says itself."""
    if code in ERRORS:
        return ERRORS[code]
    if _NOT_AN_ID in message:
        return errors.NotFound
    # The gateway's own checks of a request (protocol notes, 3.1): it can never work as it stands.
    return errors.InvalidArgument if status == 400 else errors.Unavailable
