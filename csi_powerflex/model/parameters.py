"""The parameters of a StorageClass: one line for each.

Names are those of Dell's driver where it has one, so that StorageClasses carry over. Reading, unknown-key
hints and documentation all come from the fields of ``VolumeParameters``.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.model.array import Provisioning

# The sidecars' own keys: they act on these themselves and pass some of them on.
_SIDECAR_PREFIX = "csi.storage.k8s.io/"


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _provisioning(value: str) -> Provisioning:
    try:
        return Provisioning(value.lower())
    except ValueError as error:
        raise ValueError(f"must be one of {', '.join(Provisioning)}") from error


def _parameter(key: str, meaning: str, read: Callable[[str], object], default: Any) -> Any:
    """A field that is read from ``key`` by ``read``, which raises ValueError for a value it cannot take."""
    return dataclasses.field(default=default, metadata={"key": key, "meaning": meaning, "read": read})


@dataclasses.dataclass(frozen=True, slots=True)
class VolumeParameters:
    """What a StorageClass asks of a new volume."""

    system: str | None = _parameter("systemID", "Id or name of the PowerFlex system", _text, None)
    domain: str | None = _parameter("protectiondomain", "Name or id of the protection domain", _text, None)
    pool: str | None = _parameter("storagepool", "Name or id of the storage pool", _text, None)
    provisioning: Provisioning = _parameter(
        "provisioning", "How the volume takes space: thin or thick", _provisioning, Provisioning.THIN
    )

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        """Read a StorageClass's parameters.

        Raises:
            InvalidArgument: an unknown key, with the closest known one, or a value that cannot be read.
        """
        fields = {field.metadata["key"]: field for field in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        for key, value in parameters.items():
            if key.startswith(_SIDECAR_PREFIX):
                continue
            if key not in fields:
                raise InvalidArgument(f"unknown parameter {key!r}; {_hint(key, fields)}")
            try:
                values[fields[key].name] = fields[key].metadata["read"](value)
            except ValueError as error:
                raise InvalidArgument(f"parameter {key}={value!r}: {error}") from error
        return cls(**values)


def _hint(key: str, known: Iterable[str]) -> str:
    by_lower_case = {name.lower(): name for name in known}
    close = difflib.get_close_matches(key.lower(), by_lower_case, n=1)
    if close:
        return f"did you mean {by_lower_case[close[0]]!r}?"
    return f"known are: {', '.join(by_lower_case.values())}"
