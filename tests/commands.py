"""Commands of tests and their builds. Their output is shown if they fail."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_LAST_CHARACTERS = 8000


class CommandFailed(Exception):
    """A command failed. The message has its output."""


def output_of(
    command: Sequence[str | Path],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a command; returns its standard output without spaces at the ends.

    Args:
        command: the program and its arguments. Its standard input is empty.
        folder: its working directory, by default that of this process.
        environment: replaces the environment of this process.

    Raises:
        CommandFailed: it ended with another status than 0.
    """
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    checked(done)
    return done.stdout.strip()


def checked(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """A command that has ended, with its output.

    Raises:
        CommandFailed: it ended with another status than 0.
    """
    if done.returncode:
        printed = "\n".join(filter(None, (done.stdout.strip(), done.stderr.strip())))
        raise CommandFailed(
            f"`{' '.join(map(str, done.args))}` ended with status {done.returncode}:\n"
            f"{printed[-_LAST_CHARACTERS:] or 'it printed nothing'}"
        )
    return done
