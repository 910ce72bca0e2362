"""SIGHUP does not end a process: it reads its configuration again, or says that there is none."""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator

import pytest

from csi_powerflex.app import hangup


@pytest.fixture(autouse=True)
def _usual_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


def test_it_is_ignored_with_a_line_where_there_is_nothing_to_read_again(text_log: io.StringIO) -> None:
    hangup.handle()
    signal.raise_signal(signal.SIGHUP)
    assert "SIGHUP ignored, this process has no file to read again" in text_log.getvalue()


def test_it_reads_the_configuration_again(text_log: io.StringIO) -> None:
    calls: list[int] = []
    hangup.handle(lambda: calls.append(1))
    signal.raise_signal(signal.SIGHUP)
    assert calls == [1]
    assert "SIGHUP received, the systems file is compared now" in text_log.getvalue()
