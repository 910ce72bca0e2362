"""The errors of the driver.

Each class is one kind of outcome that a caller has to treat differently. Only ``csi.status`` knows the gRPC
code of each class. Raise the most specific class, with a message that says what was asked, what was found and
what to do::

    DriverError
    ├── InvalidArgument       the request can never work
    ├── NotFound              the named object does not exist
    ├── AlreadyExists         the name or the path is used by something else
    ├── FailedPrecondition    the system is in the wrong state; the caller or an operator has to act first
    │   └── VolumeInUse       the volume is mapped or mounted where it must not be
    ├── OutOfRange            the requested size is not possible
    ├── ResourceExhausted     there is no free capacity, or a limit is reached
    ├── Busy                  another operation works on the object; try again
    ├── Expired               the page of a list is not kept any more; start the list again
    ├── Unavailable           the array, the gateway or a device does not answer now; try again
    │   └── ConnectFailed     no connection could be made, so nothing was changed
    ├── DeadlineExceeded      the time is over; the operation may or may not have happened
    ├── Unauthenticated       the array or the Kubernetes API refused the credentials
    ├── PermissionDenied      the user lacks a right on the array or in Kubernetes
    └── Unsupported           this driver or this array cannot do it

An unknown outcome, such as a connection that breaks after a write was sent, is DeadlineExceeded or
Unavailable. It is never a final error: a caller that is told "failed" forgets what may exist.
"""


class DriverError(Exception):
    """An error that the driver expects. The message is for the operator who reads the event."""


class InvalidArgument(DriverError):
    """The request can never work: a field is missing, malformed or contradicts another."""


class NotFound(DriverError):
    """The volume, node, pool or path that the request names does not exist."""


class AlreadyExists(DriverError):
    """The name or path is used by something that differs from the request."""


class FailedPrecondition(DriverError):
    """The system is in a state that does not allow this. Someone has to change that state first."""


class VolumeInUse(FailedPrecondition):
    """The volume is mapped or mounted elsewhere, and the operation would remove or share it."""


class OutOfRange(DriverError):
    """No size within the requested limits is possible."""


class ResourceExhausted(DriverError):
    """There is no free capacity, or a limit of the array or the node is reached."""


class Busy(DriverError):
    """Another operation works on the same object. The same call may succeed later."""


class Expired(DriverError):
    """The page or version of a list is unknown or not kept any more. The caller starts a new list."""


class Unavailable(DriverError):
    """A part that is needed does not answer now. The same call may succeed later."""


class ConnectFailed(Unavailable):
    """No connection could be made, so the request had no effect."""


class DeadlineExceeded(DriverError):
    """The time of this call is over. The operation may have happened: the same call finds out."""


class Unauthenticated(DriverError):
    """The array or the Kubernetes API refused the credentials."""


class PermissionDenied(DriverError):
    """The user of the array or of the Kubernetes API lacks a right that this needs."""


class Unsupported(DriverError):
    """This driver, or this version of the array, cannot do what was requested."""


_REPEATED = (Unavailable, DeadlineExceeded, Busy, Expired)


def is_final(error: DriverError) -> bool:
    """Whether a caller may give up after this error, and forget what the call has created."""
    return not isinstance(error, _REPEATED)
