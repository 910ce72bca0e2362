"""SIGHUP, which many programs take as the order to read their configuration again."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

from csi_powerflex.observability.log import Log

log = Log(__name__)


def handle(reload: Callable[[], None] | None = None) -> None:
    """Let SIGHUP call ``reload``; without it, only log the signal. Call it in the main thread.

    By default the signal would end the process without a line. A reload that fails is logged where it fails.
    """

    def act(_number: int, _frame: FrameType | None) -> None:
        if reload is None:
            log.info("SIGHUP ignored, this process has no file to read again")
        else:
            log.info("SIGHUP received, the systems file is compared now")
            reload()

    signal.signal(signal.SIGHUP, act)
