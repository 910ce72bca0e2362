"""The fields of a request body, in every form in which clients send them.

Clients send numbers and booleans as JSON values or as strings ("8", "TRUE", "True", "true"). Both are
accepted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Self

from csi_powerflex.simulator.api_error import malformed, missing_one_of, missing_parameters

_MOST = 2**53 - 1
"""The largest number that JSON keeps everywhere."""


class Body:
    """A JSON object that a client sent."""

    __slots__ = ("fields",)

    def __init__(self, fields: dict[str, object]) -> None:
        self.fields = fields

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read a request body. An empty body counts as an empty object.

        Raises:
            ApiError: it is not a JSON object.
        """
        if not raw.strip():
            return cls({})
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):  # the latter for lists or objects that are nested too deeply
            value = None
        if not isinstance(value, dict):
            raise malformed("Request message is not valid: the request body must be a JSON object.")
        return cls(value)

    def has(self, name: str) -> bool:
        """Whether the body has the field. An empty string counts, as in ``"allSdcs": ""``."""
        return self.fields.get(name) is not None

    def text(self, name: str) -> str | None:
        """A string, or None when it is missing or empty."""
        value = self.fields.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, dict | list):
            raise malformed(f"Request message is not valid: {name} must be a string.")
        return str(value)

    def required(self, name: str) -> str:
        """A string.

        Raises:
            ApiError: it is missing or empty.
        """
        value = self.text(name)
        if value is None:
            raise missing_parameters(name)
        return value

    def alternative(self, *names: str) -> tuple[str, str]:
        """The first of the fields ``names`` that is not missing or empty, as (name, value).

        Raises:
            ApiError: all are missing or empty.
        """
        for name in names:
            value = self.text(name)
            if value is not None:
                return name, value
        raise missing_one_of(*names)

    def number(self, name: str) -> int | None:
        """An integer, or None when it is missing."""
        value = self.text(name)
        if value is None:
            return None
        try:
            number = int(value)
        except ValueError:
            raise malformed(f"{name} ({value}) must be a number") from None
        if abs(number) > _MOST:
            raise malformed(f"{name} ({value}) is too large")
        return number

    def flag(self, name: str) -> bool | None:
        """A boolean, or None when it is missing."""
        value = self.text(name)
        if value is None:
            return None
        match value.lower():
            case "true":
                return True
            case "false":
                return False
        raise malformed(f"{name} should be TRUE or FALSE, but its value is {value}")

    def choice(self, name: str, allowed: Iterable[str]) -> str | None:
        """One of the values ``allowed``, or None when it is missing."""
        value = self.text(name)
        options = tuple(allowed)
        if value is not None and value not in options:
            raise malformed(
                f"{name} should get one of the following values: {', '.join(options)}, "
                f"but its value is {value}"
            )
        return value

    def texts(self, name: str) -> list[str]:
        """A list of strings; empty when it is missing."""
        return [str(item) for item in self._items(name)]

    def parts(self, name: str) -> list[Body]:
        """A list of objects; empty when it is missing."""
        items = self._items(name)
        if not all(isinstance(item, dict) for item in items):
            raise malformed(f"Request message is not valid: {name} must be a list of objects.")
        return [Body(item) for item in items if isinstance(item, dict)]

    def _items(self, name: str) -> list[object]:
        value = self.fields.get(name)
        if value is None or value == "":
            return []
        if not isinstance(value, list):
            raise malformed(f"Request message is not valid: {name} must be a list.")
        return value
