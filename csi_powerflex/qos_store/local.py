"""What was requested for volumes, in a small database file, for use outside Kubernetes."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from csi_powerflex.errors import FailedPrecondition, InvalidArgument, Unavailable
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.qos import QosRequest


class LocalQosStore:
    """A QosStore in an SQLite file, or in memory if ``path`` is None. Threads may share it.

    Every method raises Unavailable while the file cannot be read or written. A volume with wrong limits would
    be worse than one that waits.

    Raises:
        FailedPrecondition: the file cannot be used.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(
                path or ":memory:", check_same_thread=False, isolation_level=None
            )
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS qos_requests (volume TEXT PRIMARY KEY, parameters TEXT NOT NULL)"
            )
            self._database.execute("CREATE TABLE IF NOT EXISTS moved_volumes (volume TEXT PRIMARY KEY)")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS policies (volume TEXT PRIMARY KEY, deletes INTEGER NOT NULL)"
            )
        except sqlite3.Error as error:
            raise FailedPrecondition(
                f"cannot keep state in {path}: {error}; name another --state-file, or move this one away "
                "(the limits that were requested after volumes were created are then lost)"
            ) from error

    def start(self, changed: Callable[[VolumeHandle], None]) -> None:
        """Do nothing: only this process changes the file, so no change is made elsewhere."""

    def current(self, handle: VolumeHandle) -> QosRequest:
        """See ``QosStore.current``."""
        rows = self._execute("SELECT parameters FROM qos_requests WHERE volume = ?", str(handle))
        if not rows:
            return QosRequest()
        try:
            return QosRequest.parse(msgspec.json.decode(rows[0][0], type=dict[str, str]))
        except (msgspec.MsgspecError, InvalidArgument) as error:
            raise Unavailable(
                f"the state file {self._path} has no usable limits for volume {handle}: {error}"
            ) from error

    def set_initial(self, handle: VolumeHandle, qos_request: QosRequest) -> None:
        """See ``QosStore.set_initial``."""
        self._execute("INSERT OR IGNORE INTO qos_requests VALUES (?, ?)", str(handle), _text(qos_request))

    def set(self, handle: VolumeHandle, qos_request: QosRequest) -> None:
        """See ``QosStore.set``."""
        self._execute("INSERT OR REPLACE INTO qos_requests VALUES (?, ?)", str(handle), _text(qos_request))

    def record_move(self, handles: Collection[VolumeHandle]) -> None:
        """See ``QosStore.record_move``."""
        for handle in handles:
            self._execute("INSERT OR IGNORE INTO moved_volumes VALUES (?)", str(handle))

    def may_have_moved(self, handle: VolumeHandle) -> bool:
        """See ``QosStore.may_have_moved``."""
        return bool(self._execute("SELECT volume FROM moved_volumes WHERE volume = ?", str(handle)))

    def record_policy(self, handle: VolumeHandle, *, deletes_snapshots: bool) -> None:
        """See ``QosStore.record_policy``."""
        statement = "INSERT OR REPLACE" if deletes_snapshots else "INSERT OR IGNORE"
        self._execute(f"{statement} INTO policies VALUES (?, ?)", str(handle), int(deletes_snapshots))

    def names_policy(self, handle: VolumeHandle) -> bool:
        """See ``PolicyNeeds.names_policy``."""
        return bool(self._execute("SELECT volume FROM policies WHERE volume = ?", str(handle)))

    def deletes_policy_snapshots(self, handle: VolumeHandle) -> bool:
        """See ``PolicyNeeds.deletes_policy_snapshots``."""
        rows = self._execute("SELECT volume FROM policies WHERE volume = ? AND deletes", str(handle))
        return bool(rows)

    def delete(self, handle: VolumeHandle) -> None:
        """See ``QosStore.delete``."""
        for table in ("qos_requests", "moved_volumes", "policies"):
            self._execute(f"DELETE FROM {table} WHERE volume = ?", str(handle))  # noqa: S608 - constants

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _execute(self, statement: str, *values: str | int) -> list[tuple[str]]:
        with self._lock:
            try:
                return self._database.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise Unavailable(f"the state file {self._path} cannot be used: {error}") from error


def _text(qos_request: QosRequest) -> str:
    return msgspec.json.encode(qos_request.to_parameters()).decode()
