"""Waiting for a signal in the main thread without ever missing one, and letting one wait."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def caught(*numbers: signal.Signals) -> Iterator[Callable[[], signal.Signals]]:
    """Catch these signals for the block, which gets a function that waits for one of them.

    Their numbers come through a socket that the interpreter's C handler writes to. A queue that a handler
    in Python fills could wait for ever: a signal that comes just before the main thread begins to wait
    interrupts nothing, and its handler does not run until something else wakes that thread.
    """
    reader, writer = socket.socketpair()
    with contextlib.closing(reader), contextlib.closing(writer):
        writer.setblocking(False)

        def wait() -> signal.Signals:
            while True:
                number = reader.recv(1)[0]
                if number in numbers:  # others that have a handler come here too
                    return signal.Signals(number)

        previous = {number: signal.signal(number, lambda _number, _frame: None) for number in numbers}
        descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield wait
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in previous.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def held(*numbers: signal.Signals) -> Iterator[None]:
    """Let these signals take effect after the block and not in it.

    For what must not be cut in two, such as to start a process and to note that it was started. Other threads
    than the main one never run handlers, and need nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    previous = {number: signal.signal(number, lambda held, _frame: came.append(held)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for late in dict.fromkeys(came):
            signal.raise_signal(late)
