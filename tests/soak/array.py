"""A simulated array as a process of its own, and the trouble that it is told to make."""

from __future__ import annotations

import contextlib
import itertools
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csi_powerflex.demo.processes import Process, ended

NODES = tuple(f"node{number}" for number in range(8))

# Each takes an equal part of the troubled requests. Those of the array's own kind come to its objects only:
# a login does not answer that a volume is busy.
_ANYWHERE: tuple[dict[str, Any], ...] = (
    {"kind": "error", "status": 503},
    {"kind": "html", "status": 502},
    {"kind": "html", "status": 502, "after_effect": True},
    {"kind": "reset"},
    {"kind": "lost_reply"},
    {"kind": "truncated"},
    {"kind": "wrong_json"},
    {"kind": "latency", "seconds": {"mean": 0.3}},
)
_AT_OBJECTS: tuple[dict[str, Any], ...] = (
    {"kind": "error", "code": 28},
    {"kind": "error", "code": 28, "after_effect": True},
    {"kind": "revoke"},
)


@dataclass(frozen=True)
class SoakedArray:
    """The array's admin port, and what it serves."""

    ready: dict[str, Any]

    def node(self, name: str) -> str:
        """The CSI node id of one of its SDCs."""
        return f"sdc:{self.ready['hosts'][name]['guid']}"

    def systems_file(self, path: Path, *, request_seconds: float) -> Path:
        """Write the systems file that makes a driver use this array."""
        keys = ("username", "password", "caFile", "protectionDomain", "storagePool")
        system = {key: self.ready[key] for key in keys}
        system |= {"name": "array", "endpoints": [self.ready["url"]], "requestTimeout": request_seconds}
        path.write_text(json.dumps({"systems": [system]}))
        return path

    def trouble(self, share: float, seed: int) -> None:
        """Let this share of all requests meet one of the faults, drawn from ``seed``."""
        kinds = len(_ANYWHERE) + len(_AT_OBJECTS)
        faults = [dict(fault) for fault in _ANYWHERE]
        faults += [{**fault, "path": "/api/[it]*"} for fault in _AT_OBJECTS]
        numbers = itertools.count(seed)
        self._admin("POST", "faults", {
            "faults": [{**fault, "probability": share / kinds, "seed": next(numbers)} for fault in faults]
        })  # fmt: skip

    def calm(self) -> dict[str, int]:
        """End all trouble; how many requests met each kind."""
        met: dict[str, int] = {}
        for fault in self._admin("GET", "faults"):
            kind = str(fault["kind"])
            met[kind] = met.get(kind, 0) + int(fault["struck"])
        self._admin("DELETE", "faults")
        return met

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Answer nothing for the block."""
        (fault,) = self._admin("POST", "faults", {"kind": "freeze"})["ids"]
        try:
            yield
        finally:
            self._admin("DELETE", f"faults/{fault}")

    def end_sessions(self) -> None:
        """End the sessions of all clients."""
        self._admin("POST", "revoke", {})

    def volumes(self) -> int:
        """How many volumes and snapshots there are."""
        return int(self._admin("GET", "")["volumes"])

    def requests(self) -> int:
        """How many requests there were."""
        return int(self._admin("GET", "")["requests"])

    def _admin(self, method: str, path: str, body: object = None) -> Any:
        url = f"{self.ready['adminUrl']}/{path}".rstrip("/")
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=content, method=method)  # noqa: S310 - the array's own
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the array's own
            return json.loads(answer.read())


@contextlib.contextmanager
def serving(folder: Path, version: str) -> Iterator[SoakedArray]:
    """An array below ``folder`` for the block."""
    ready = folder / "array.json"
    arguments = ["simulate", f"--state={folder / 'array'}", f"--ready-file={ready}", f"--version={version}"]
    arguments += [f"--sdc={name}" for name in NODES]
    with ended(Process("simulate", arguments, folder / "array.log")) as process:
        process.start(ready.exists, seconds=60)
        yield SoakedArray(json.loads(ready.read_text()))
