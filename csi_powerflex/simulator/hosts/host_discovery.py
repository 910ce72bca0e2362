"""Host discovery: a new folder in the folder of hosts becomes a host of that name while the simulator runs.

It is for orchestrators that learn their hosts only when these start, and share a filesystem with the
simulator.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from pathlib import Path

log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 0.2


class HostDiscovery:
    """Looks for new folders in ``folder``, in its own thread, and calls ``add_host`` once for each name."""

    def __init__(self, folder: Path, add_host: Callable[[str], None]) -> None:
        self._folder = folder
        self._add_host = add_host
        self._known: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="host-discovery", daemon=True)

    def existing(self, known: Collection[str]) -> list[str]:
        """The names of the folders that exist now, without ``known``. ``add_host`` is not called for them."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._known |= set(known)
        found = self._new()
        self._known |= set(found)
        return found

    def start(self) -> None:
        """Start to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop and wait until the thread has ended."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _new(self) -> list[str]:
        entries = sorted(self._folder.iterdir())
        return [entry.name for entry in entries if entry.name not in self._known and entry.is_dir()]

    def _run(self) -> None:
        while not self._stopping.wait(_INTERVAL_SECONDS):
            try:
                for name in self._new():
                    self._add_host(name)
                    self._known.add(name)
                    log.info("host %s added", name)
            except OSError:
                log.exception("a host could not be added, trying again")
