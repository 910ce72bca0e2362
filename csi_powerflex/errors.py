"""What can go wrong, as the rest of the driver says it.

Each class is one kind of outcome that a caller has to treat differently; ``csi.status`` alone knows
which gRPC code each one becomes. Raise the most telling class with a message that says what was
asked, what was found and what to do::

    DriverError
    ├── InvalidArgument       the request can never work as it stands
    ├── NotFound              the named object does not exist
    ├── AlreadyExists         the name or the place is taken by something else
    ├── FailedPrecondition    the system is not in the state this needs; the caller has to act first
    │   └── VolumeInUse       the volume is mapped or mounted where it must not be
    ├── OutOfRange            a size that cannot be had
    ├── ResourceExhausted     no room, or a limit is reached
    ├── Busy                  something else is under way for this object; try again
    ├── Expired               a page of a list that is no longer kept; start the list again
    ├── Unavailable           the array, the gateway or a device does not answer just now; try again
    │   └── NotSent           no connection could be made, so surely nothing was changed
    ├── DeadlineExceeded      the time is up; what was begun may or may not have happened
    ├── Unauthenticated       the array refused the credentials
    ├── PermissionDenied      the array's user may not do this
    └── Unsupported           this driver or this array cannot do it

An outcome that is not known, such as a cut connection after a write was sent, is DeadlineExceeded or
Unavailable and never a final error: a caller that believes "failed" forgets what may exist.
"""


class DriverError(Exception):
    """Something this driver foresaw. The message is meant for the operator who reads the event."""


class InvalidArgument(DriverError):
    """The request can never work as it stands: a field is missing, malformed or contradictory."""


class NotFound(DriverError):
    """The volume, node, pool or path that the request names does not exist."""


class AlreadyExists(DriverError):
    """The name or path is taken by something that differs from what was asked."""


class FailedPrecondition(DriverError):
    """The system is not in a state that allows this; someone has to change it first."""


class VolumeInUse(FailedPrecondition):
    """The volume is mapped or mounted somewhere, and this would take it away or share it."""


class OutOfRange(DriverError):
    """No size within the asked limits can be had."""


class ResourceExhausted(DriverError):
    """No capacity left, or a limit of the array or the node is reached."""


class Busy(DriverError):
    """Another operation on the same object is under way; the same call may work later."""


class Expired(DriverError):
    """The token of a list that is not kept, or not any more; the caller starts again without one."""


class Unavailable(DriverError):
    """A part that is needed does not answer just now; the same call may work later."""


class ConnectFailed(Unavailable):
    """No connection could be made, so the request surely had no effect."""


class DeadlineExceeded(DriverError):
    """The time for this call is up. What was begun may have happened: repeat the call to find out."""


class Unauthenticated(DriverError):
    """The array refused the user name or password."""


class PermissionDenied(DriverError):
    """The array's user lacks the role that this needs."""


class Unsupported(DriverError):
    """This driver, or this version of the array, cannot do what was asked."""
