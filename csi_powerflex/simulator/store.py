"""The state of a system on disk: every change is one transaction, so a kill at any moment is harmless."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from csi_powerflex.simulator import model

_TYPES: dict[str, type[model.Object]] = {
    kind.__name__: kind
    for kind in (
        model.System,
        model.ProtectionDomain,
        model.StoragePool,
        model.VTree,
        model.Volume,
        model.Host,
        model.Sdt,
        model.Sds,
        model.Device,
        model.SnapshotPolicy,
        model.User,
    )
}

# Made while the module is imported: two threads that decode a type for the first time at once crash msgspec.
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in _TYPES.items()}

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS objects (kind TEXT, id TEXT, body BLOB, PRIMARY KEY (kind, id)) WITHOUT ROWID"
)


class Storage(Protocol):
    """Where an array keeps its objects."""

    def load(self) -> Iterator[model.Object]:
        """All objects, as they were last committed."""

    def commit(self, changed: Iterable[model.Object], dropped: Iterable[model.Object]) -> None:
        """Store ``changed`` and forget ``dropped``, all or nothing."""


class Copied:
    """Copies of objects as they are now, for a view of the past; nothing is stored there."""

    def __init__(self, items: Iterable[model.Object]) -> None:
        self._items = [msgspec.json.decode(msgspec.json.encode(item), type=type(item)) for item in items]

    def load(self) -> Iterator[model.Object]:
        """The copies."""
        return iter(self._items)

    def commit(self, changed: Iterable[model.Object], dropped: Iterable[model.Object]) -> None:
        """The past is not stored: what brings it up to date, such as an ended migration, is only shown."""


class Store:
    """The objects of one system in an SQLite file, or in memory when ``path`` is None.

    Commits are not flushed to the disk: they survive the end of the process, however sudden, but not
    the end of the machine.
    """

    def __init__(self, path: Path | None) -> None:
        self._db = sqlite3.connect(
            ":memory:" if path is None else path, isolation_level=None, check_same_thread=False
        )
        if path is not None:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute(_SCHEMA)
        self._volatile = path is None

    def load(self) -> Iterator[model.Object]:
        """All objects, as they were last committed."""
        for kind, body in self._db.execute("SELECT kind, body FROM objects"):
            yield _DECODERS[kind].decode(body)

    def commit(self, changed: Iterable[model.Object], dropped: Iterable[model.Object]) -> None:
        """Store ``changed`` and forget ``dropped``, all or nothing."""
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

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
