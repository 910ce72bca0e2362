"""What the data mover tells the process that started it: exit codes, progress and the termination message.

The mover runs in an image of its own. This module has no other part of it, so the operator can import it.
All sizes are bytes.
"""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass

import msgspec

from csi_powerflex.units import whole_percent

TERMINATION_BYTES = 4096
"""The most that Kubernetes keeps of a container's termination message."""


class Exit(enum.IntEnum):
    """The exit status of the mover. Only ``UNAVAILABLE`` and ``STOPPED`` are worth a repetition as it is."""

    DONE = 0
    FAILED = 1
    """An unexpected error: a defect of the mover."""
    USAGE = 2
    """The options contradict each other, or a file that they name cannot be used."""
    REFUSED = 10
    """The source is not acceptable. Another source is needed."""
    TARGET = 11
    """The target is too small, in use, or has content that this job did not write."""
    UNAVAILABLE = 12
    """A server, a device or free capacity is missing now. The same job may succeed later."""
    DIFFERENT = 13
    """What was written is not what was read. The result must not be used."""
    STOPPED = 143
    """SIGTERM ended the mover. The same job continues where it was."""

    @property
    def is_worth_repeating(self) -> bool:
        """Whether the same job may succeed without any change."""
        return self in (Exit.UNAVAILABLE, Exit.STOPPED)


class Phase(enum.StrEnum):
    """What the mover does at a time, in the order of a whole import."""

    DOWNLOADING = "Downloading"
    UNPACKING = "Unpacking"
    CHECKING = "Checking"
    CONVERTING = "Converting"
    WRITING = "Writing"
    VERIFYING = "Verifying"
    UPLOADING = "Uploading"
    ENDED = "Ended"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is. The mover writes it to standard output, one JSON object in each line.

    Attributes:
        phase: what it does now.
        bytes: how far it is in what it reads or writes in this phase.
        total: the value of ``bytes`` at the end of the phase; None if it is not known.
        speed: the mean of this phase, per second.
    """

    phase: Phase
    bytes: int
    total: int | None
    speed: int

    @property
    def percent(self) -> int | None:
        """From 0 to 100, rounded down; None if the total is not known."""
        return None if self.total is None else whole_percent(self.bytes, self.total)

    def line(self) -> str:
        """The progress as one line of JSON, with ``percent``."""
        return msgspec.json.encode({**asdict(self), "percent": self.percent}).decode()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended. It is the termination message of the container, and the last line of standard output.

    Attributes:
        exit: the exit status.
        message: what was done, or what was asked, what was found and what to do.
        size: the virtual size of the disk; 0 if it is not known.
        written: the bytes that were written to the target by this process.
        seconds: how long this process worked.
        speed: ``size`` for each second of this process; 0 if it did not finish.
        format: the format of the source or, in an export, of the result; may be empty.
        digest: ``sha256:`` and the hexadecimal digest of the downloaded or written file; may be empty.
    """

    exit: Exit
    message: str
    size: int = 0
    written: int = 0
    seconds: int = 0
    speed: int = 0
    format: str = ""
    digest: str = ""

    @property
    def percent(self) -> int:
        """100 if the job is done, else 0."""
        return 100 if self.exit is Exit.DONE else 0

    def text(self) -> str:
        """The outcome as one line of JSON of at most ``TERMINATION_BYTES``. A long message is truncated."""
        message = self.message
        while True:
            fields = {**asdict(self), "message": message, "percent": self.percent, "phase": Phase.ENDED}
            encoded = msgspec.json.encode(fields)
            if len(encoded) <= TERMINATION_BYTES:
                return encoded.decode()
            message = message[: len(message) // 2]


class _OutcomeFields(msgspec.Struct):
    exit: int
    message: str
    size: int = 0
    written: int = 0
    seconds: int = 0
    speed: int = 0
    format: str = ""
    digest: str = ""


class UnreadableMessage(ValueError):
    """A termination message is not one of the mover, as when the kernel killed it."""


def read_outcome(text: str) -> Outcome:
    """The outcome in a termination message.

    An image or a server may have put control characters into the words, which would act on terminals. They
    become question marks.

    Raises:
        UnreadableMessage: it has none.
    """
    try:
        fields = msgspec.json.decode(text, type=_OutcomeFields)
        found = {name: getattr(fields, name) for name in _OTHERS}
        words = {name: _printable(found[name]) for name in _WORDS}
        return Outcome(Exit(fields.exit), **{**found, **words})
    except (msgspec.DecodeError, ValueError) as error:
        raise UnreadableMessage(f"the mover left no outcome: {error}") from error


_OTHERS = ("message", "size", "written", "seconds", "speed", "format", "digest")
_WORDS = ("message", "format", "digest")


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
