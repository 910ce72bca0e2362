"""Waiting in the main thread for the signals that end a process, without missing one, and deferring them.

SIGUSR1, which changes the log level, is handled in ``observability.log``.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def wait_for_signals(*numbers: signal.Signals) -> Iterator[Callable[[], signal.Signals]]:
    """Catch these signals inside the block, and yield a function that waits for one of them.

    Their numbers come through a socket that the interpreter's C handler writes to. A queue that a Python
    handler fills could block without end: a signal that comes just before the main thread begins to wait
    interrupts nothing, and its handler does not run until something else wakes that thread.
    """
    reader, writer = socket.socketpair()
    with contextlib.closing(reader), contextlib.closing(writer):
        writer.setblocking(False)

        def wait() -> signal.Signals:
            while True:
                number = reader.recv(1)[0]
                if number in numbers:  # the socket also gets other signals that have a handler
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
def deferred(*numbers: signal.Signals) -> Iterator[None]:
    """Let these signals take effect after the block and not inside it.

    Use it for steps that belong together, such as starting a process and recording that it was started. Only
    the main thread runs signal handlers, so in any other thread the block runs as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    previous = {number: signal.signal(number, lambda late, _frame: came.append(late)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for late in dict.fromkeys(came):
            signal.raise_signal(late)
