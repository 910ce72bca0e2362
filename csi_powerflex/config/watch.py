"""Watching the files of the configuration for changes.

By looking at them every few seconds: Kubernetes swaps a mounted Secret by renaming a symbolic link two
folders up, editors rename over files, and network filesystems tell nobody; a look sees all of these alike.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from csi_powerflex.config import systems as systems_file
from csi_powerflex.config.systems import SystemSettings
from csi_powerflex.errors import InvalidArgument
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)

Contents = tuple[bytes | None, ...]


class SystemsWatch:
    """Reads the systems file anew when it, or a password or CA file it names, has other content.

    ``changed`` gets the new settings and the labels of systems whose files changed though their settings did
    not. A file that cannot be used changes nothing, and is said once.
    """

    def __init__(
        self,
        path: Path,
        systems: tuple[SystemSettings, ...],
        changed: Callable[[tuple[SystemSettings, ...], frozenset[str]], None],
        *,
        seconds: float,
    ) -> None:
        self._path = path
        self._systems = systems
        self._changed = changed
        self._seconds = seconds
        # Its content when ``systems`` were read is not known: it may have changed since, so the first look
        # reads it in any case.
        self._looked = False
        self._file: bytes | None = None
        self._contents = _contents(systems)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="configuration", daemon=True)

    def start(self) -> None:
        """Begin to watch, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching and wait for it."""
        self._stopping.set()
        self._thread.join()

    def look(self) -> None:
        """Look once; called by the thread, and by whoever cannot wait for it."""
        file = _content(self._path)
        contents = _contents(self._systems)
        if self._looked and (file, contents) == (self._file, self._contents):
            return
        first, self._looked = not self._looked, True
        before, self._file, self._contents = self._contents, file, contents
        try:
            systems = systems_file.load(self._path)
        except InvalidArgument as error:
            metrics.CONFIGURATION_LOADS.labels("refused").inc()
            log.error("configuration not changed", reason=error)
            return
        touched = frozenset(label for label, content in contents.items() if before.get(label) != content)
        if first and systems == self._systems and not touched:
            return
        self._systems, self._contents = systems, _contents(systems)
        self._changed(systems, touched)
        # Counted once the change is in effect: who sees the count may rely on it.
        metrics.CONFIGURATION_LOADS.labels("OK").inc()
        log.info("configuration changed", systems=", ".join(system.label for system in systems))

    def _watch(self) -> None:
        while not self._stopping.wait(self._seconds):
            self.look()


def _contents(systems: tuple[SystemSettings, ...]) -> dict[str, Contents]:
    """By system, the content of the files that its settings name; a content is kept to be compared."""
    return {
        system.label: tuple(
            _content(Path(name)) if name else None for name in (system.password_file, system.ca_file)
        )
        for system in systems
    }


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
