"""Watching the files of the configuration for changes.

The files are read every few seconds. Kubernetes changes a mounted Secret by renaming a symbolic link two
folders up, editors rename over files, and network filesystems send no events. Reading the files detects all
of these.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from csi_powerflex.background import FIRST_PAUSE_SECONDS, Loop
from csi_powerflex.config.systems import loader
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.errors import FailedPrecondition, InvalidArgument
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)

Contents = dict[str, tuple[bytes | None, ...]]
"""By system, the contents of the files that its settings name; they are only compared."""


class SystemsWatch:
    """Reads the systems file again when it, or a password or CA file that it names, has another content.

    Args:
        path: the systems file.
        systems: the settings in use.
        changed: gets the new settings, and the labels of systems whose files changed while their settings did
            not. If it fails, the same change is given to it again.
        seconds: how often to read the files.
        first_pause: seconds to wait after an unexpected error, see ``background.Loop``.

    A file that cannot be used changes nothing, and is logged once.
    """

    def __init__(
        self,
        path: Path,
        systems: tuple[SystemSettings, ...],
        changed: Callable[[tuple[SystemSettings, ...], frozenset[str]], None],
        *,
        seconds: float,
        first_pause: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._path = path
        self._systems = systems
        self._changed = changed
        self._seconds = seconds
        # The content from which ``systems`` were read is not known, so the first look always reads the file.
        self._looked = False
        self._file: bytes | None = None
        self._contents = _contents(systems)
        self._loop = Loop("configuration", self._step, first_pause=first_pause)

    def start(self) -> None:
        """Begin to watch in the background."""
        self._loop.start()

    def stop(self) -> None:
        """Stop watching, and wait until that has ended."""
        self._loop.stop()

    def wake(self) -> None:
        """Look at the files now instead of after the present pause."""
        self._loop.wake()

    def _step(self) -> float:
        self.look()
        return self._seconds

    def look(self) -> None:
        """Read the files once, and apply a change."""
        file = _content(self._path)
        contents = _contents(self._systems)
        if self._looked and (file, contents) == (self._file, self._contents):
            return
        touched = frozenset(
            label for label, content in contents.items() if self._contents.get(label) != content
        )
        try:
            systems = loader.load(self._path)
            changed = self._looked or systems != self._systems or bool(touched)
            if changed:
                self._changed(systems, touched)
        except (InvalidArgument, FailedPrecondition) as error:
            # The second is a file that was removed or damaged after it was checked.
            self._looked, self._file, self._contents = True, file, contents
            log.error("configuration not changed", reason=error)
            metrics.CONFIGURATION_VALID.set(0)
            metrics.CONFIGURATION_RELOADS.labels("refused").inc()
            return
        metrics.CONFIGURATION_VALID.set(1)
        if changed:
            log.info("configuration changed", systems=", ".join(system.label for system in systems))
            metrics.CONFIGURATION_RELOADS.labels("ok").inc()
        self._looked, self._file, self._systems = True, file, systems
        # A file that changed since it was read above is seen at the next look.
        self._contents = {
            label: contents.get(label, content) for label, content in _contents(systems).items()
        }


def _contents(systems: tuple[SystemSettings, ...]) -> Contents:
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
