"""The errors of an array that has no capacity for a size, or does not have the size at all.

The array says only that a pool is full. Here the error gets the pool and its figures, which cost one request
after the failure.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from csi_powerflex import call_context, units
from csi_powerflex.errors import DriverError
from csi_powerflex.model.array import Pool, PoolCapacity, PoolFull, SizeTooLarge
from csi_powerflex.model.ports import Array

# The most seconds that the figures may take. The error is returned without them otherwise.
_FIGURES_SECONDS = 3.0


@contextlib.contextmanager
def explained(array: Array, pool: Callable[[], Pool], what: str) -> Iterator[None]:
    """The block makes ``what`` in a pool. An error about the size gets ``what``, and the figures.

    Args:
        array: the system.
        pool: returns the pool. It is called only after such an error.
        what: the object that was asked for, with its names and its size.

    Raises:
        PoolFull: the pool is full.
        SizeTooLarge: the array has no volumes of this size.
    """
    try:
        yield
    except PoolFull as error:
        raise type(error)(f"no space for {what}: {error}{_figures(array, pool)}") from error
    except SizeTooLarge as error:
        raise type(error)(f"{what} is not possible: {error}{_largest(array)}") from error


def _figures(array: Array, pool: Callable[[], Pool]) -> str:
    try:
        with call_context.within(_FIGURES_SECONDS):
            found = pool()
            return f". {_described(found, array.pool_capacity(found))}"
    except DriverError:
        return ""


def _described(pool: Pool, capacity: PoolCapacity) -> str:
    """The pool and its figures in a sentence."""
    text = (
        f"Pool {pool} has {_rounded(capacity.total)}, of which {_rounded(capacity.unused)} are not written; "
        f"{_rounded(capacity.provisioned)} are provisioned in it"
    )
    if capacity.total > 0:
        text += f", {capacity.provisioned / capacity.total:.1f} times its capacity"
    if capacity.largest_thin < units.INT64_MAX:
        text += (
            f"; the array allows at most {_rounded(capacity.largest_thin)} for one more thin volume and "
            f"{_rounded(capacity.largest_thick)} for a thick one"
        )
    return text


def _largest(array: Array) -> str:
    try:
        with call_context.within(_FIGURES_SECONDS):
            return (
                f". The largest volume of system {array.label} has {units.readable(array.largest_volume())}"
            )
    except DriverError:
        return ""


def _rounded(size: int) -> str:
    """``size`` for people, in GiB with at most one digit after the point."""
    return f"{size / units.GIB:.1f} GiB".replace(".0 ", " ")
