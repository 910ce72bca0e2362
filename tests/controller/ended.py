"""A command that ends at a request to the array or the cluster, as by SIGKILL, in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from csi_powerflex.gateway.http import Http
from csi_powerflex.kube.http import Http as KubeHttp


class Killed(BaseException):
    """Nothing that the process would do after it has an effect."""


class Life:
    """Ends the process at a request to the array or the cluster: from then on it sends nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = -1
        self.dead = False
        self._after = False
        # From the request on whose URL ends with this, of which so many are to come.
        self._first, self._to_come = "", 0
        for kind, name in ((Http, "send"), (KubeHttp, "request")):
            monkeypatch.setattr(kind, name, self._wrapped(getattr(kind, name)))

    def _wrapped(self, send: Callable[..., Any]) -> Callable[..., Any]:
        def sent(*arguments: Any, **given: Any) -> Any:
            if self.dead:
                raise Killed
            if self._to_come:
                self._to_come -= str(getattr(arguments[1], "url", "")).endswith(self._first)
                return send(*arguments, **given)
            due, self.left = self.left == 0, self.left - 1
            self.dead = due
            if due and not self._after:
                raise Killed
            if due and send.__name__ == "request":
                with send(*arguments, **given) as response:
                    response.body(1 << 20)
                raise Killed
            answer = send(*arguments, **given)
            if due:
                raise Killed
            return answer

        return sent

    def end_at(self, position: int, *, after: bool) -> None:
        self.left, self._after, self.dead = position, after, False

    def end_after(self, url: str, count: int, position: int, *, after: bool) -> None:
        """As ``end_at``, counted from the request after ``count`` ones whose URL ends with ``url``."""
        self.end_at(position, after=after)
        self._first, self._to_come = url, count

    def begin_again(self) -> None:
        self.left, self.dead, self._to_come = -1, False, 0
