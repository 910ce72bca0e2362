"""The volume context: what CreateVolume tells each later call about a volume.

The controller writes it once. Kubernetes keeps it in the PersistentVolume, where it cannot be changed. The
keys are those of the class parameters, so controller and node use one definition.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.model import parameters as class_parameters
from csi_powerflex.model.parameters import VolumeParameters
from csi_powerflex.model.qos import NOTHING_REQUESTED, QosRequest
from csi_powerflex.model.transport import AUTO

ORIGIN_KEY = "origin"
"""The key that holds the Origin."""


class Origin(enum.StrEnum):
    """Whether a volume was created empty or as a copy. Only a volume that was created empty is formatted."""

    EMPTY = "empty"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class VolumeContext:
    """A volume's context: one field for each class parameter that is marked to travel, and two more.

    Attributes:
        origin: how the volume was created; None in a context that was not written by this driver.
        qos: the limits that the StorageClass requests.
        transport: the transport that the StorageClass requests, or "auto".
        filesystem: the filesystem for claims that name none.
        mkfs_options: the options for mkfs, separated by spaces.
        delete_after: how many seconds the volume is kept after its deletion; None as the system says.
        snapshot_policy: the snapshot policy that it was put into when it was created.
        delete_policy_snapshots: whether the snapshots that a policy takes of it are deleted with it.
    """

    origin: Origin | None
    qos: QosRequest = NOTHING_REQUESTED
    transport: str = AUTO
    filesystem: str | None = None
    mkfs_options: str | None = None
    delete_after: int | None = None
    snapshot_policy: str | None = None
    delete_policy_snapshots: bool = False

    @classmethod
    def of_new_volume(cls, origin: Origin, parameters: VolumeParameters) -> Self:
        """The context of a volume that was created with these parameters."""
        travelling: dict[str, Any] = {
            field.name: getattr(parameters, field.name) for field in class_parameters.travelling()
        }
        return cls(origin=origin, qos=parameters.qos_request, **travelling)

    @classmethod
    def parse(cls, context: Mapping[str, str]) -> Self:
        """Read the result of ``to_dict``. Other keys, such as those of Kubernetes, are ignored.

        Raises:
            InvalidArgument: a value cannot be read. An unknown origin is an error, because a copy that is
                taken for an empty volume could be formatted.
        """
        text = context.get(ORIGIN_KEY)
        try:
            origin = None if text is None else Origin(text)
        except ValueError as error:
            raise _no_origin(text) from error
        travelling: dict[str, Any] = {
            field.name: class_parameters.read(field, context[field.metadata["key"]])
            for field in class_parameters.travelling()
            if field.metadata["key"] in context
        }
        return cls(origin=origin, qos=QosRequest.parse(context), **travelling)

    def to_dict(self) -> dict[str, str]:
        """The context as CSI sends it, without the values that are defaults."""
        values = {
            field.metadata["key"]: str(value).lower() if isinstance(value, bool) else str(value)
            for field in class_parameters.travelling()
            if (value := getattr(self, field.name)) != field.default
        }
        origin = {} if self.origin is None else {ORIGIN_KEY: self.origin.value}
        return origin | values | self.qos.to_parameters()

    def require_origin(self) -> Origin:
        """The origin.

        Raises:
            InvalidArgument: the context has none.
        """
        if self.origin is None:
            raise _no_origin("")
        return self.origin


def _no_origin(found: str | None) -> InvalidArgument:
    return InvalidArgument(
        f"volume_context says {ORIGIN_KEY}={found!r}; it must be the one that CreateVolume returned "
        f"({ORIGIN_KEY} is one of {', '.join(Origin)})"
    )
