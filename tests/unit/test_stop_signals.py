"""Waiting for a signal."""

import signal
import subprocess
import sys
import threading

import pytest

from csi_powerflex.stop_signals import deferred, wait_for_signals

SCRIPT = """
import os, signal, sys, threading
from csi_powerflex.stop_signals import wait_for_signals
with wait_for_signals(signal.SIGTERM) as arrived:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    waiting = threading.Event()
    def take():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        waiting.wait(20)
    threading.Thread(target=take, daemon=True).start()
    print(arrived().name)
"""


def test_a_signal_that_does_not_interrupt_the_main_thread_ends_the_wait() -> None:
    """It is delivered to another thread here, so that it cannot: as if it came just before the wait."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("SIGTERM\n", "", 0)


def test_a_signal_that_came_before_the_wait_ends_it() -> None:
    with wait_for_signals(signal.SIGUSR2) as arrived:
        signal.raise_signal(signal.SIGUSR2)
        assert arrived() is signal.SIGUSR2


def test_other_signals_do_not_end_the_wait() -> None:
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: seen.append(number))
    try:
        with wait_for_signals(signal.SIGUSR2) as arrived:
            signal.raise_signal(signal.SIGUSR1)
            threading.Timer(0.1, signal.raise_signal, (signal.SIGUSR2,)).start()
            assert arrived() is signal.SIGUSR2
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_was_before_is_put_back(handler: signal.Handlers) -> None:
    before = signal.signal(signal.SIGUSR2, handler)
    try:
        with wait_for_signals(signal.SIGUSR2):
            assert signal.getsignal(signal.SIGUSR2) is not handler
        assert signal.getsignal(signal.SIGUSR2) is handler
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.signal(signal.SIGUSR2, before)


@pytest.mark.usefixtures("ctrl_c")
def test_a_deferred_signal_takes_effect_after_the_block_and_once() -> None:
    steps = []

    def interrupted() -> None:
        with deferred(signal.SIGINT):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            steps.append("both steps done")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert steps == ["both steps done"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_deferred_signal_that_was_ignored_before_is_ignored_again() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred(signal.SIGINT):
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_than_the_main_one_nothing_has_to_be_deferred() -> None:
    handlers = []

    def look() -> None:
        with deferred(signal.SIGINT):
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]
