"""The data plane: the bytes of volumes. ``NoData`` stores none, for systems without simulated hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol


class DataPlane(Protocol):
    """The bytes of the volumes of one system. A volume that was never mapped to a host has no file.

    Sizes are bytes. ``description`` is for people.
    """

    description: str

    def file(self, volume_id: str, size: int) -> Path:
        """The file of a volume. It is created or grown to ``size`` if needed."""

    def snapshot(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Copy the bytes of the sources to new volumes. A pair is (source volume id, new volume id).

        All copies are of the same point in time, if the implementation can do this.
        """

    def overwrite(self, source: str, target: str) -> None:
        """Copy the bytes of ``source`` into ``target``, so that existing devices show them."""

    def remove(self, volume_id: str) -> None:
        """Delete the bytes of a volume."""

    def keep_only(self, volume_ids: set[str]) -> None:
        """Delete the bytes of all other volumes. An interrupted change can leave them."""

    def allocated(self) -> Mapping[str, int]:
        """The bytes that each volume takes on disk, for volumes with a file."""

    def close(self) -> None:
        """Release all resources. The bytes stay."""


class NoData:
    """A data plane for systems whose volumes are never read or written."""

    description = "volumes have no data"

    def file(self, volume_id: str, size: int) -> Path:
        """Raise an error: only hosts need files, and a system with hosts has another data plane.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(
            f"volume {volume_id} ({size} bytes) has no file: the system was started without data"
        )

    def snapshot(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Nothing to copy."""

    def overwrite(self, source: str, target: str) -> None:
        """Nothing to copy."""

    def remove(self, volume_id: str) -> None:
        """Nothing to delete."""

    def keep_only(self, volume_ids: set[str]) -> None:
        """Nothing to delete."""

    def allocated(self) -> Mapping[str, int]:
        """No volume takes any bytes."""
        return {}

    def close(self) -> None:
        """Nothing to release."""
