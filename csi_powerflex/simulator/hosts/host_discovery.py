"""Hosts that join while the simulator runs: whoever makes a folder for a name becomes a host of that name.

For orchestrators that know their hosts only when these start, and share a filesystem with the simulator.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from pathlib import Path

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2


class HostDiscovery:
    """Looks, in a thread, for new folders in ``folder`` and hands each name to ``welcome`` once."""

    def __init__(self, folder: Path, welcome: Callable[[str], None]) -> None:
        self._folder = folder
        self._welcome = welcome
        self._known: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="newcomers", daemon=True)

    def take(self, known: Collection[str]) -> list[str]:
        """The names that have a folder now, without ``known``; all of them count as known from now on."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._known |= set(known)
        found = self._new()
        self._known |= set(found)
        return found

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking and wait for it."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _new(self) -> list[str]:
        entries = sorted(self._folder.iterdir())
        return [entry.name for entry in entries if entry.name not in self._known and entry.is_dir()]

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                for name in self._new():
                    self._welcome(name)
                    self._known.add(name)
                    log.info("host %s joined", name)
            except OSError:
                log.exception("a host could not join; trying again")
