"""The systems file of a world, with the password in a file of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from csi_powerflex.config.systems import loader
from csi_powerflex.observability import metrics
from tests.controller.world import World


def loads(result: str) -> float:
    """How often a changed systems file was read with this result: "ok" or "refused"."""
    return float(metrics.CONFIGURATION_RELOADS.labels(result)._value.get())


def replace(path: Path, content: str | bytes) -> None:
    """Change a file in one step, as a mounted Secret does. A watch never reads a part of it."""
    new = path.with_name("new")
    new.write_bytes(content if isinstance(content, bytes) else content.encode())
    new.replace(path)


class SystemsFile:
    """The file is valid at first. ``entries`` are its systems; ``write`` replaces it by them."""

    def __init__(self, world: World) -> None:
        self.folder = world.folder / "configuration"
        self.folder.mkdir()
        self.path = self.folder / "systems.yaml"
        self.password = self.folder / "password"
        self.password.write_text("Simulated1!")
        self.entries: list[dict[str, Any]] = [
            {
                "name": settings.name,
                "endpoints": list(settings.endpoints),
                "username": settings.username,
                "passwordFile": str(self.password),
                "caFile": settings.ca_file,
                "protectionDomain": "pd1",
                "storagePool": "sp1",
            }
            for settings in world.systems
        ]
        self.write()
        world.systems = loader.load(self.path)

    def write(self) -> None:
        replace(self.path, json.dumps({"systems": self.entries}))
