"""A list of objects, decoded while it is read.

The list of all volumes of a full array has more than 100 MB of JSON. So it is decoded in parts: of the body,
only the part that was read last and the beginning of an object are in memory.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import msgspec

from csi_powerflex import units
from csi_powerflex.gateway.payloads import UNREADABLE

P = TypeVar("P")
K = TypeVar("K")

# A volume that is mapped to 1,024 hosts has about 300 KB.
_LONGEST_ELEMENT = 4 * units.MIB
# Twice the volumes and snapshots of a full array.
_MOST_ELEMENTS = 262_144

# Decoding creates many objects for a short time. It waits for nothing, so one list at a time is decoded: a
# system that sends its list slowly does not hold the lock while it does so.
_DECODING = threading.Lock()

_BLANK = b" \t\n\r"
_COMMA = re.compile(rb"[ \t\n\r]*,")
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_STRING = re.compile(rb'"[^"]*(?:"|$)')
_NO_STRUCTURE = bytes(set(range(256)) - set(b'"{}[]'))
_CLOSE_IN_STRING = b"!"


class Elements(Generic[P, K]):
    """The objects of one JSON array. ``begin`` it, ``add`` each part of the body, then ``finish``.

    Args:
        payload: the type of each object.
        keep: takes some decoded objects and returns what is kept of them.
        max_bytes: the longest body.
    """

    def __init__(self, payload: type[P], keep: Callable[[list[P]], Iterable[K]], *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._decoder: msgspec.json.Decoder[list[P]] = msgspec.json.Decoder(
            list[payload],  # type: ignore[valid-type]  # msgspec takes types at run time
            strict=False,
        )
        self._keep = keep
        self.begin()

    def begin(self) -> None:
        """Forget everything that was added: the request is sent again."""
        self._kept: list[K] = []
        self._buffer = bytearray()
        self._error: Exception | None = None
        # Whether the array's bracket was read, an object after it, and a comma after that object.
        self._opened = self._any = self._comma = False

    def add(self, part: bytes) -> bool:
        """Decode the objects that end in ``part``. Returns False if no further part is of use."""
        self._buffer += part
        try:
            self._decode_complete()
        except UNREADABLE as error:
            self._error = error
        return self._error is None

    def finish(self) -> list[K]:
        """What was kept of all objects.

        Raises:
            msgspec.MsgspecError, RecursionError: the body is no array of such objects.
        """
        if self._error is not None:
            raise self._error
        if not self._opened:
            # It is no array. The error of the decoder says what it is.
            return list(self._keep(self._decoder.decode(self._buffer)))
        rest = self._buffer.strip(_BLANK)
        if self._any and not self._comma and rest != b"]":
            raise msgspec.DecodeError("Input data was truncated" if not rest else _MALFORMED)
        self._decode(rest)
        if self._comma:
            raise msgspec.DecodeError(_MALFORMED)
        return self._kept

    def _decode_complete(self) -> None:
        if not self._opened:
            self._open()
        if self._any and not self._comma:
            self._skip_comma()
        if self._opened and (self._comma or not self._any):
            end = end_of_last_object(self._buffer)
            if end:
                self._decode(self._buffer[:end] + b"]")
                del self._buffer[:end]
                self._any, self._comma = True, False
                self._skip_comma()
        if len(self._buffer) > _LONGEST_ELEMENT:
            raise msgspec.DecodeError(f"an element is longer than {_LONGEST_ELEMENT // units.MIB} MiB")

    def _open(self) -> None:
        self._buffer = self._buffer.lstrip(_BLANK)
        if self._buffer.startswith(b"["):
            self._opened = True
            del self._buffer[:1]

    def _skip_comma(self) -> None:
        found = _COMMA.match(self._buffer)
        if found is not None:
            end = found.end()
            del found
            del self._buffer[:end]
            self._comma = True

    def _decode(self, elements: bytes | bytearray) -> None:
        """Decode elements with commas between them and the array's closing bracket behind them."""
        with _DECODING:
            self._kept += self._keep(self._decoder.decode(b"[" + elements))
        if len(self._kept) > _MOST_ELEMENTS:
            raise msgspec.DecodeError(f"there are more than {_MOST_ELEMENTS} elements")


_MALFORMED = "JSON is malformed: a comma, an element or the end of the array is missing"


def end_of_last_object(data: bytes | bytearray) -> int:
    """Where the last complete object ends in a part of a JSON array; 0 if no object is complete.

    ``data`` begins between two elements. It need not be valid JSON: the decoder checks that.
    """
    plain = _ESCAPE.sub(b"..", data) if b"\\" in data else data
    structure = plain.translate(None, _NO_STRUCTURE).replace(b'""', b"")
    if b'"' in structure:
        structure = _STRING.sub(lambda found: _CLOSE_IN_STRING * found[0].count(b"}"), structure)
    depth = sum(map(structure.count, (b"{", b"["))) - sum(map(structure.count, (b"}", b"]")))
    end = len(data)
    for character in reversed(structure):
        if character in b"}!":
            end = data.rindex(b"}", 0, end)
        if character == ord("}") and depth == 0:
            return end + 1
        depth += (character in b"}]") - (character in b"{[")
    return 0
