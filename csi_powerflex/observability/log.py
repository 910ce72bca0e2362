"""Structured logging on top of the standard library: an event, its fields, and the call it belongs to.

``log = Log(__name__)`` at the top of a module, then ``log.info("volume created", volume=handle)``. An
event is a short sentence in the past tense; everything that varies goes into fields. Lines are key=value
for people or JSON for machines. Whoever logs decides what may be printed: secrets never reach this module.
"""

from __future__ import annotations

import datetime
import enum
import json
import logging
import sys
from collections.abc import Mapping
from typing import TextIO

from csi_powerflex import call_context

_ROOT = "csi_powerflex"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:/@%+-,")


class Format(enum.StrEnum):
    """How a log line is written."""

    TEXT = "text"
    JSON = "json"


class Log:
    """The log of one module."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: object) -> None:
        """Say something that helps only while looking for a fault."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Say what happened in the ordinary course of things."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Say that something needs an operator's attention, though the driver goes on."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Say that something failed."""
        self._write(logging.ERROR, event, fields)

    def unexpected(self, event: str, error: BaseException, **fields: object) -> None:
        """Say that something failed in a way nobody foresaw, with the stack of ``error``."""
        self._write(logging.ERROR, event, fields, error=error)

    @property
    def debugging(self) -> bool:
        """Whether debug lines are written, for fields that cost something to compute."""
        return self._logger.isEnabledFor(logging.DEBUG)

    def _write(
        self, level: int, event: str, fields: Mapping[str, object], error: BaseException | None = None
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, exc_info=error, extra={"fields": fields})


def configure(*, level: str = "info", form: Format = Format.TEXT, stream: TextIO | None = None) -> None:
    """Send the driver's logs to ``stream`` (standard error by default), and libraries' warnings with them."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonLine() if form is Format.JSON else _TextLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(_ROOT).setLevel(level.upper())


def _facts(record: logging.LogRecord) -> dict[str, object]:
    facts: dict[str, object] = {}
    call = call_context.current()
    if call is not None:
        facts["request"] = call.request_id
        facts["rpc"] = call.rpc
    fields = getattr(record, "fields", None)
    if isinstance(fields, Mapping):
        facts.update(fields)
    return facts


def _time(record: logging.LogRecord) -> str:
    moment = datetime.datetime.fromtimestamp(record.created, tz=datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _TextLine(logging.Formatter):
    """``<time> <LEVEL> <event> key=value key="two words"``; a stack follows on lines that are indented."""

    def format(self, record: logging.LogRecord) -> str:
        words = [_time(record), f"{record.levelname:7}", _visible(record.getMessage())]
        words += [f"{key}={_value(value)}" for key, value in _facts(record).items()]
        line = " ".join(words)
        return f"{line}\n{_indented(self.formatException(record.exc_info))}" if record.exc_info else line


class _JsonLine(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **_facts(record),
        }
        if record.exc_info:
            facts["stack"] = self.formatException(record.exc_info)
        return json.dumps(facts, default=str)


def _value(value: object) -> str:
    text = str(value)
    # A field from a request may hold anything: quoting keeps one event on one line. JSON alone would leave
    # characters that end a line or steer a terminal although they are not ASCII, such as U+2028 and U+009B.
    if text and _PLAIN.issuperset(text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _visible(text: str) -> str:
    """``text`` with everything escaped that would end the line or steer a terminal."""
    return text if text.isprintable() else json.dumps(text)[1:-1]


def _indented(stack: str) -> str:
    # The text of an exception may look like a log line of its own, so no line of a stack starts like one.
    return "\n".join(f"    {_visible(line)}" for line in stack.splitlines())
