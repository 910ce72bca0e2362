"""System calls that Python has no function for, and ioctls."""

from __future__ import annotations

import ctypes
import fcntl
import os
from pathlib import Path

from csi_powerflex.errors import Unavailable

LIBC = ctypes.CDLL(None, use_errno=True)


def last_error(call: str) -> OSError:
    """The error of the last call through ``LIBC`` in this thread. ``call`` is its name."""
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")


def ioctl(path: Path, request: int, argument: bytes, *, kind: str) -> bytes:
    """Make an ioctl on the file or directory ``path``, and return the argument as the kernel left it.

    Args:
        kind: what ``path`` is, for the error message, such as "block device".

    Raises:
        Unavailable: the kernel answered with an error.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            buffer = bytearray(argument)  # above 1024 bytes, only a buffer that can be changed is allowed
            fcntl.ioctl(descriptor, request, buffer)
            return bytes(buffer)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unavailable(f"the {kind} {path} does not answer: {error.strerror}") from error
