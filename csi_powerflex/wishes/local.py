"""Wishes in a small database file of our own, for use outside Kubernetes."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.quality import Wish


class LocalWishes:
    """Wishes in an SQLite file, or in memory where ``path`` is None; safe to share between threads."""

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(
                path or ":memory:", check_same_thread=False, isolation_level=None
            )
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS wishes (volume TEXT PRIMARY KEY, parameters TEXT NOT NULL)"
            )
        except sqlite3.Error as error:
            raise FailedPrecondition(f"cannot keep state in {path}: {error}") from error

    def current(self, handle: VolumeHandle) -> Wish:
        """See ``Wishes.current``."""
        with self._lock:
            row = self._database.execute(
                "SELECT parameters FROM wishes WHERE volume = ?", (str(handle),)
            ).fetchone()
        return Wish.parse(json.loads(row[0])) if row else Wish()

    def remember(self, handle: VolumeHandle, wish: Wish) -> None:
        """See ``Wishes.remember``."""
        with self._lock:
            self._database.execute(
                "INSERT OR REPLACE INTO wishes VALUES (?, ?)", (str(handle), json.dumps(wish.to_parameters()))
            )

    def forget(self, handle: VolumeHandle) -> None:
        """See ``Wishes.forget``."""
        with self._lock:
            self._database.execute("DELETE FROM wishes WHERE volume = ?", (str(handle),))

    def close(self) -> None:
        """Close the file."""
        self._database.close()
