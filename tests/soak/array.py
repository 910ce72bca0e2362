"""A simulated array in its own process, with its faults."""

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

# Each fault strikes an equal share of the requests. The second group strikes only requests about objects: a
# login never answers that the MDM is busy.
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
    """The array, as its ready file describes it, with calls to its admin port.

    ``pid`` is the id of its process.
    """

    ready: dict[str, Any]
    pid: int

    def node(self, name: str) -> str:
        """The CSI node id of one of the array's SDCs."""
        return f"sdc:{self.ready['hosts'][name]['guid']}"

    def systems_file(self, path: Path, *, request_seconds: float) -> Path:
        """Write the systems file of a driver that uses this array."""
        keys = ("username", "password", "caFile", "protectionDomain", "storagePool")
        system = {key: self.ready[key] for key in keys}
        system |= {"name": "array", "endpoints": [self.ready["url"]], "requestTimeout": request_seconds}
        path.write_text(json.dumps({"systems": [system]}))
        return path

    def inject_faults(self, share: float, seed: int) -> None:
        """Let faults strike this share of all requests. ``seed`` makes them repeatable."""
        kinds = len(_ANYWHERE) + len(_AT_OBJECTS)
        faults = [dict(fault) for fault in _ANYWHERE]
        faults += [{**fault, "path": "/api/[it]*"} for fault in _AT_OBJECTS]
        numbers = itertools.count(seed)
        self._admin("POST", "faults", {
            "faults": [{**fault, "probability": share / kinds, "seed": next(numbers)} for fault in faults]
        })  # fmt: skip

    def delay(self, seconds: float) -> None:
        """Let each answer take so much longer from now on."""
        self._admin("DELETE", "faults")
        if seconds:
            self._admin("POST", "faults", {"kind": "latency", "seconds": seconds, "path": "/api/*"})

    def connections(self, since: int) -> frozenset[str]:
        """The clients' ends of the connections of all requests after the one with the number ``since``."""
        found = self._admin("GET", f"requests?since={since}")["requests"]
        return frozenset(entry["connection"] for entry in found)

    def remove_faults(self) -> dict[str, int]:
        """Remove all faults. Returns how many requests each kind has struck."""
        struck: dict[str, int] = {}
        for fault in self._admin("GET", "faults"):
            kind = str(fault["kind"])
            struck[kind] = struck.get(kind, 0) + int(fault["struck"])
        self._admin("DELETE", "faults")
        return struck

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Answer no request during the block."""
        (fault,) = self._admin("POST", "faults", {"kind": "freeze"})["ids"]
        try:
            yield
        finally:
            self._admin("DELETE", f"faults/{fault}")

    def end_sessions(self) -> None:
        """End the sessions of all clients."""
        self._admin("POST", "revoke", {})

    def volumes(self) -> int:
        """The number of volumes and snapshots."""
        return int(self._admin("GET", "")["volumes"])

    def requests(self) -> int:
        """The number of requests so far."""
        return int(self._admin("GET", "")["requests"])

    def routes(self, since: int) -> dict[str, int]:
        """How many requests there were after the one with the number ``since``, by their route."""
        found: dict[str, int] = self._admin("GET", f"requests/count?since={since}")["routes"]
        return found

    def sessions(self) -> int:
        """How many tokens are valid now. After a renewal, the old one is valid for some minutes."""
        return int(self._admin("GET", "")["sessions"])

    def connect(self, name: str, *, connected: bool) -> None:
        """Connect or disconnect one of the array's SDCs."""
        self._admin("POST", f"hosts/{name}", {"connected": connected})

    def _admin(self, method: str, path: str, body: object = None) -> Any:
        url = f"{self.ready['adminUrl']}/{path}".rstrip("/")
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=content, method=method)  # noqa: S310 - the array's own
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the array's own
            return json.loads(answer.read())


@contextlib.contextmanager
def serving(folder: Path, version: str) -> Iterator[SoakedArray]:
    """An array with its files below ``folder``, for the block."""
    ready = folder / "array.json"
    arguments = ["simulate", f"--state={folder / 'array'}", f"--ready-file={ready}", f"--version={version}"]
    arguments += [f"--sdc={name}" for name in NODES]
    with ended(Process("simulate", arguments, folder / "array.log")) as process:
        process.start(ready.exists, seconds=60)
        assert process._child is not None
        yield SoakedArray(json.loads(ready.read_text()), process._child.pid)
