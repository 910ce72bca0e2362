"""Structured logging on top of the standard library: an event, its fields, and the call it belongs to.

SIGUSR1 turns debug lines on and off, see ``toggle_debug_by_signal``.

A module has ``log = Log(__name__)`` at its top and writes ``log.info("volume created", volume=handle)``. The
event is a short sentence in the past tense. What varies goes into fields. A line is key=value text for people
or JSON for machines. The caller decides what may be printed: secrets never reach this module.

A field never replaces what belongs to the line itself. One with a name of ``RESERVED`` is written as
``field_<name>``.

An event, a value and a line of a stack have at most ``MOST_CHARACTERS``. One that was longer ends with
``...(truncated, 12345 characters)``, the number of characters that it had.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import json
import logging
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import TextIO

from csi_powerflex import call_context

RESERVED = frozenset({"time", "level", "event", "logger", "stack", "request_id", "rpc", "task"})
"""The keys of a line that no field may have."""

MOST_CHARACTERS = 4096
"""How many characters of an event, a value or a line of a stack are written."""

_ROOT = "csi_powerflex"
_PLAIN = re.compile(r"[a-zA-Z0-9_.:/@%+,-]+")


class Format(enum.StrEnum):
    """How a log line is written."""

    TEXT = "text"
    JSON = "json"


class Log:
    """The log of one module."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: object) -> None:
        """Write what helps only to find a defect."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Write what happened in normal operation."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Write what needs an operator's attention, although the driver goes on."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Write what failed."""
        self._write(logging.ERROR, event, fields)

    def unexpected(self, event: str, error: BaseException, **fields: object) -> None:
        """Write an unexpected error, which is a defect of the driver, with the stack of ``error``."""
        self._write(logging.ERROR, event, fields, error=error)

    @property
    def debugging(self) -> bool:
        """Whether debug lines are written. Ask it before computing fields that take long."""
        return self._logger.isEnabledFor(logging.DEBUG)

    def _write(
        self, level: int, event: str, fields: Mapping[str, object], error: BaseException | None = None
    ) -> None:
        logger = self._logger
        if not logger.isEnabledFor(level):
            return
        # ``logger.log`` would look in the stack for the line of code that logs, and no log line shows it.
        failure = (type(error), error, error.__traceback__) if error is not None else None
        record = logging.LogRecord(logger.name, level, "", 0, event, (), failure)
        record.__dict__["fields"] = fields
        logger.handle(record)


def configure(*, level: str = "info", form: Format = Format.TEXT, stream: TextIO | None = None) -> None:
    """Write the driver's log and the warnings of libraries to ``stream``, standard error by default."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonLine() if form is Format.JSON else _TextLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # No line shows the thread or the process. Without these, logging does not look them up for each line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.getLogger(_ROOT).setLevel(level.upper())


def toggle_debug_by_signal() -> None:
    """Let SIGUSR1 switch the log level to debug and back. Call it in the main thread."""
    logger = logging.getLogger(_ROOT)
    usual = logger.level

    def toggle(_number: int, _frame: FrameType | None) -> None:
        logger.setLevel(usual if logger.level == logging.DEBUG else logging.DEBUG)
        Log(__name__).warning("log level changed", log_level=logging.getLevelName(logger.level).lower())

    signal.signal(signal.SIGUSR1, toggle)


def _facts(record: logging.LogRecord) -> dict[str, object]:
    """What the line says beyond its time, level and event: its call, then its fields."""
    facts: dict[str, object] = {}
    call = call_context.current()
    if call is not None and call.task:
        facts["task"] = call.task
    elif call is not None:
        facts |= {"request_id": call.request_id, "rpc": call.rpc}
    fields = getattr(record, "fields", None)
    if isinstance(fields, Mapping):
        if not RESERVED.isdisjoint(fields):
            fields = {f"field_{key}" if key in RESERVED else key: value for key, value in fields.items()}
        facts |= fields
    return facts


def _parts(value: object) -> dict[str, object] | None:
    """The fields of a dataclass that has no text of its own; None for any other value."""
    if isinstance(value, (str, int, type)) or not dataclasses.is_dataclass(value):
        return None
    if type(value).__str__ is not object.__str__:
        return None
    return {part.name: getattr(value, part.name) for part in dataclasses.fields(value)}


def _time(record: logging.LogRecord) -> str:
    """The time of a line in UTC, such as ``2026-01-31T12:00:00.123Z``."""
    second = int(record.created)
    return f"{_second(second)}.{int((record.created - second) * 1000):03}Z"


@functools.lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    """The text of a second since 1970, which lines of the same second share."""
    return datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")


class _TextLine(logging.Formatter):
    """``<time> <LEVEL> <event> key=value key="two words"``. The lines of a stack follow, indented."""

    def format(self, record: logging.LogRecord) -> str:
        words = [_time(record), f"{record.levelname:7}", _visible(_bounded(record.getMessage()))]
        for key, value in _facts(record).items():
            if isinstance(value, (str, int)):  # most values
                words.append(f"{key}={_value(value)}")
            else:
                words += _pairs(key, value)
        line = " ".join(words)
        if not record.exc_info:
            return line
        # The text of an exception may look like a log line. So each line of a stack is indented.
        stack = _stack(self.formatException(record.exc_info))
        return "\n".join([line, *(f"    {_visible(each)}" for each in stack)])


class _JsonLine(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": _bounded(record.getMessage()),
            "logger": record.name,
            **{key: _json_value(value) for key, value in _facts(record).items()},
        }
        if record.exc_info:
            facts["stack"] = "\n".join(_stack(self.formatException(record.exc_info)))
        return json.dumps(facts)


def _json_value(value: object) -> object:
    """``value`` as JSON can hold it, without what is too long."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (list, tuple, dict)):
        text = json.dumps(value, default=_json_value)
        return json.loads(text) if len(text) <= MOST_CHARACTERS else _bounded(text)
    parts = _parts(value)
    if parts is None:
        return _bounded(str(value))
    return {name: _json_value(part) for name, part in parts.items()}


def _pairs(key: str, value: object) -> Iterator[str]:
    """``key=value``, or ``key.part=value`` for each part of a dataclass."""
    parts = _parts(value)
    if parts is None:
        yield f"{key}={_value(value)}"
        return
    for name, part in parts.items():
        yield from _pairs(f"{key}.{name}", part)


def _value(value: object) -> str:
    text = _bounded(str(value))
    # A field from a request may hold anything. Quoting keeps one event on one line. JSON escapes only control
    # characters of ASCII, but others, such as U+2028 and U+009B, also end a line or control a terminal.
    if _PLAIN.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _visible(text: str) -> str:
    """``text`` with every character escaped that would end the line or control a terminal."""
    return text if text.isprintable() else json.dumps(text)[1:-1]


def _stack(text: str) -> list[str]:
    """The lines of a stack."""
    return [_bounded(line) for line in text.splitlines()]


def _bounded(text: str) -> str:
    """``text``, or its beginning and how long it was."""
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]}...(truncated, {len(text)} characters)"
