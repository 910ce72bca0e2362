"""The state of a system on disk. Every change is one transaction, so a kill at any time does no harm."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from csi_powerflex.simulator import model

_TYPES: dict[str, type[model.Object]] = {
    object_type.__name__: object_type
    for object_type in (
        model.System,
        model.ProtectionDomain,
        model.StoragePool,
        model.VTree,
        model.Volume,
        model.Host,
        model.Sdt,
        model.Sds,
        model.Device,
        model.FaultSet,
        model.SnapshotPolicy,
        model.User,
    )
}

# Created while the module is imported: msgspec crashes if two threads are the first to decode a type.
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in _TYPES.items()}

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS {} (kind TEXT, id TEXT, body BLOB, PRIMARY KEY (kind, id)) WITHOUT ROWID"
)


class Storage(Protocol):
    """The storage of an array's objects."""

    def load(self) -> Iterator[model.Object]:
        """All objects of the last commit."""

    def commit(self, changed: Iterable[model.Object], dropped: Iterable[model.Object]) -> None:
        """Store ``changed`` and delete ``dropped``, all or nothing."""

    def initial_state(self) -> Iterator[model.Object]:
        """The objects at the first start, if they were remembered."""


class Copied:
    """Copies of objects, for stale reads. They are never stored."""

    def __init__(self, items: Iterable[model.Object]) -> None:
        self._items = [msgspec.json.decode(msgspec.json.encode(item), type=type(item)) for item in items]

    def load(self) -> Iterator[model.Object]:
        """The copies."""
        return iter(self._items)

    def commit(self, changed: Iterable[model.Object], dropped: Iterable[model.Object]) -> None:
        """Store nothing. Reads may change the copies, for example when a migration ends."""

    def initial_state(self) -> Iterator[model.Object]:
        """Nothing: copies are not reset."""
        return iter(())


class Store:
    """The objects of one system in an SQLite file, or in memory when ``path`` is None.

    Commits are not flushed to the disk. They survive a kill of the process, but not a crash of the machine.
    """

    def __init__(self, path: Path | None) -> None:
        self._db = sqlite3.connect(
            ":memory:" if path is None else path, isolation_level=None, check_same_thread=False
        )
        if path is not None:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = OFF")
        for table in ("objects", "initial"):
            self._db.execute(_SCHEMA.format(table))
        self._volatile = path is None
        self._is_new = self._db.execute("SELECT 1 FROM objects LIMIT 1").fetchone() is None

    def load(self) -> Iterator[model.Object]:
        """All objects of the last commit."""
        for name, body in self._db.execute("SELECT kind, body FROM objects"):
            yield _DECODERS[name].decode(body)

    def commit(self, changed: Iterable[model.Object], dropped: Iterable[model.Object]) -> None:
        """Store ``changed`` and delete ``dropped``, all or nothing."""
        if self._volatile:
            return
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?)",
            [(type(item).__name__, item.id, msgspec.json.encode(item)) for item in changed],
        )
        self._db.executemany(
            "DELETE FROM objects WHERE kind = ? AND id = ?",
            [(type(item).__name__, item.id) for item in dropped],
        )
        self._db.execute("COMMIT")

    def keep_initial_state(self) -> None:
        """Remember the objects of the last commit for a reset, if the system is a new one."""
        if self._is_new:
            self._db.execute("INSERT OR REPLACE INTO initial SELECT * FROM objects")

    def initial_state(self) -> Iterator[model.Object]:
        """The remembered objects."""
        for name, body in self._db.execute("SELECT kind, body FROM initial"):
            yield _DECODERS[name].decode(body)

    def close(self) -> None:
        """Close the file."""
        self._db.close()
