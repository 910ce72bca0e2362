"""Wishes in a small database file of our own, for use outside Kubernetes."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import msgspec

from csi_powerflex.errors import FailedPrecondition, InvalidArgument, Unavailable
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.qos import QosRequest


class LocalQosStore:
    """Wishes in an SQLite file, or in memory where ``path`` is None; safe to share between threads.

    Every call raises Unavailable while the file cannot be read or written: a volume with the wrong limits
    would be worse than one that waits.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(
                path or ":memory:", check_same_thread=False, isolation_level=None
            )
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS wishes (volume TEXT PRIMARY KEY, parameters TEXT NOT NULL)"
            )
        except sqlite3.Error as error:
            raise FailedPrecondition(
                f"cannot keep state in {path}: {error}; name another --state-file, or move this one away "
                "(limits asked for since volumes were made are then forgotten)"
            ) from error

    def current(self, handle: VolumeHandle) -> QosRequest:
        """See ``Wishes.current``."""
        rows = self._execute("SELECT parameters FROM wishes WHERE volume = ?", str(handle))
        try:
            return (
                QosRequest.parse(msgspec.json.decode(rows[0][0], type=dict[str, str]))
                if rows
                else QosRequest()
            )
        except (msgspec.MsgspecError, InvalidArgument) as error:
            raise Unavailable(
                f"the state file {self._path} has no limits for volume {handle}: {error}"
            ) from error

    def begin(self, handle: VolumeHandle, qos_request: QosRequest) -> None:
        """See ``Wishes.begin``."""
        self._execute("INSERT OR IGNORE INTO wishes VALUES (?, ?)", str(handle), _text(qos_request))

    def remember(self, handle: VolumeHandle, qos_request: QosRequest) -> None:
        """See ``Wishes.remember``."""
        self._execute("INSERT OR REPLACE INTO wishes VALUES (?, ?)", str(handle), _text(qos_request))

    def forget(self, handle: VolumeHandle) -> None:
        """See ``Wishes.forget``."""
        self._execute("DELETE FROM wishes WHERE volume = ?", str(handle))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _execute(self, statement: str, *values: str) -> list[tuple[str]]:
        with self._lock:
            try:
                return self._database.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise Unavailable(f"the state file {self._path} cannot be used: {error}") from error


def _text(qos_request: QosRequest) -> str:
    return msgspec.json.encode(qos_request.to_parameters()).decode()
