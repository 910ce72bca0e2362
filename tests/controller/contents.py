"""What is in volumes, as a word for each, in place of the bytes of a data plane."""

from __future__ import annotations

from collections.abc import Sequence

from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.hosts.plane import NoData


class Contents(NoData):
    """The words by volume id. A new volume is empty, a copy has the word of its source."""

    def __init__(self, array: Array) -> None:
        self.words: dict[str, str] = {}
        array.plane = self

    def write(self, handle: str, word: str) -> None:
        """Let the owner of a volume write."""
        self.words[handle.partition("-")[2]] = word

    def read(self, handle: str) -> str:
        return self.words.get(handle.partition("-")[2], "")

    def snapshot(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.words |= {copy: self.words.get(source, "") for source, copy in pairs}

    def overwrite(self, source: str, target: str) -> None:
        self.words[target] = self.words.get(source, "")
