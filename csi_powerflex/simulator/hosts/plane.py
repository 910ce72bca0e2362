"""Where the bytes of volumes live. ``NoData`` keeps none, for systems without simulated hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol


class DataPlane(Protocol):
    """The bytes of the volumes of one system; a volume that was never written has no file.

    Sizes are bytes. ``copy`` pairs are (source volume id, new volume id).
    """

    description: str

    def file(self, volume_id: str, size: int) -> Path:
        """The file of a volume, made or grown to ``size`` when need be."""

    def snapshot(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Freeze the bytes of all sources at one moment, as the content of the new volumes."""

    def overwrite(self, source: str, target: str) -> None:
        """Give ``target`` the bytes of ``source``, in place: devices on it see them."""

    def remove(self, volume_id: str) -> None:
        """Delete the bytes of a volume."""

    def keep_only(self, volume_ids: set[str]) -> None:
        """Delete the bytes of all other volumes: leftovers of an interrupted change."""

    def allocated(self) -> Mapping[str, int]:
        """How many bytes each volume that was ever written takes."""

    def close(self) -> None:
        """Let go of everything but the bytes."""


class NoData:
    """A plane for systems whose volumes nobody reads or writes."""

    description = "volumes have no data"

    def file(self, volume_id: str, size: int) -> Path:
        """There is none.

        Raises:
            RuntimeError: always: only hosts ask for files, and a system with hosts has a data plane.
        """
        raise RuntimeError(
            f"volume {volume_id} ({size} bytes) has no file: the system was started without data"
        )

    def snapshot(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Nothing to freeze."""

    def overwrite(self, source: str, target: str) -> None:
        """Nothing to copy."""

    def remove(self, volume_id: str) -> None:
        """Nothing to delete."""

    def keep_only(self, volume_ids: set[str]) -> None:
        """Nothing to delete."""

    def allocated(self) -> Mapping[str, int]:
        """Nothing is written."""
        return {}

    def close(self) -> None:
        """Nothing is held."""
