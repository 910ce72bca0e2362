"""A stand-in for the gateway client that answers with lists, and lets a test stop a read in the middle."""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

SDCS = "/api/types/Sdc/instances"
POOLS = "/api/types/StoragePool/instances"
DOMAINS = "/api/types/ProtectionDomain/instances"
SDTS = "/api/types/Sdt/instances"


class Lists:
    """Answers with ``rows``, by path. An answer has what there was when its request began.

    ``errors`` are raised by the next requests, one each. A request for the path ``held`` does not end before
    ``release``. ``asked`` are the paths of all requests so far.
    """

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[str] = []
        self.errors: list[Exception] = []
        self.held = ""
        self.state = object()
        self.system_nqn = "nqn.1988-11.com.dell:powerflex:00:5a1b2c3d4e5f600f"
        self._lock = threading.Lock()
        self._released = threading.Semaphore(0)

    def get_list(self, path: str, payload: type[T], *, about: str = "") -> list[T]:
        """As ``Client.get_list``."""
        assert not about
        with self._lock:
            rows = list(self.rows.get(path, []))
            error = self.errors.pop(0) if self.errors else None
            self.asked.append(path)
        if path == self.held:
            assert self._released.acquire(timeout=60)
        if error is not None:
            raise error
        return msgspec.convert(rows, list[payload], strict=False)  # type: ignore[valid-type]  # it is a type

    def get(self, path: str, answer: type[T]) -> T:
        """As ``Client.get``. Only the version is asked for."""
        with self._lock:
            self.asked.append(path)
        return msgspec.convert("4.5.0", answer)

    def release(self, requests: int = 1) -> None:
        """Let so many held requests end."""
        self._released.release(requests)

    def reads(self, path: str) -> int:
        """How many requests have begun."""
        return self.asked.count(path)
