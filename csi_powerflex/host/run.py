"""Running the host's tools: the only place that starts processes.

Each command runs in a session of its own, so that it and whatever it started can be ended together, with the
C locale, so that its words can be read, and within the deadline of the call it serves. No shell is involved.

A process that waits for a dead device cannot be killed, and waiting for it would take the caller along. So
waiting is always bounded here; what does not end is left to a reaper thread.
"""

from __future__ import annotations

import enum
import functools
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex import call_context
from csi_powerflex.errors import DeadlineExceeded, DriverError, FailedPrecondition, Unavailable
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)

PACKAGES = {
    "mount": "mount",
    "umount": "mount",
    "blkid": "util-linux",
    "wipefs": "util-linux",
    "mkfs.ext4": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "resize2fs": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "xfs_growfs": "xfsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "btrfs": "btrfs-progs",
    "nsenter": "util-linux",
    "systemctl": "systemd",
    "modprobe": "kmod",
}
"""The tools that the driver runs, and the Debian package that brings each."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KILLED_SECONDS = 1.0
_WORDS = 600


class AtDeadline(enum.Enum):
    """What becomes of a command that has not ended when its time is up."""

    KILL = enum.auto()
    LEAVE = enum.auto()
    """It goes on by itself. For work that must not be cut short, such as a filesystem check."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended, and what it said."""

    code: int
    stdout: str
    stderr: str


class CommandFailed(Unavailable):
    """A tool ended with a code that means failure. ``code`` is negative for a signal; ``words`` is
    its stderr."""

    def __init__(self, command: Sequence[str], completed: Completed) -> None:
        self.code = completed.code
        self.words = _shortened(completed.stderr or completed.stdout)
        ended = f"was ended by signal {-self.code}" if self.code < 0 else f"failed with code {self.code}"
        super().__init__(f"`{' '.join(command)}` {ended}: {self.words or 'it said nothing'}")


class CommandTimedOut(DeadlineExceeded):
    """A command did not end in time."""


class ToolMissing(FailedPrecondition):
    """A tool that is needed is not installed."""


def missing_tools(tools: Collection[str] = tuple(PACKAGES)) -> list[str]:
    """What of ``tools`` is not installed, each with the package that brings it, for people."""
    return [f"{tool} (package {PACKAGES[tool]})" for tool in tools if _located(tool) is None]


def installed(tool: str) -> bool:
    """Whether ``tool``, a name or an absolute path, can be run."""
    return _located(tool) is not None


def run(
    command: Sequence[str],
    *,
    cap: float = 60.0,
    accept: Collection[int] = (0,),
    at_deadline: AtDeadline = AtDeadline.KILL,
    keep_open: Collection[int] = (),
    afterwards: Callable[[], None] | None = None,
) -> Completed:
    """Run ``command``, a tool and its arguments, and wait for its end.

    Args:
        command: the tool is one of ``PACKAGES`` or an absolute path.
        cap: seconds it may take; the deadline of the current call counts too.
        accept: the exit codes that do not mean failure.
        keep_open: file descriptors that the command inherits, and with them any lock they hold.
        afterwards: called when a command that was left to go on ended well after all; until it returns, this
            process holds ``keep_open`` open too.

    Raises:
        CommandFailed: any other exit code, or a signal.
        CommandTimedOut: it did not end in time.
        ToolMissing: it is not installed.
    """
    executable = _executable(command[0])
    limit = call_context.remaining(cap)
    call_context.count("host_commands")
    began = time.monotonic()
    result = "timeout"
    try:
        process = _start((executable, *command[1:]), keep_open)
        try:
            completed = _finish(process, command, limit, at_deadline)
        except CommandTimedOut:
            if process.returncode is None:
                _reap(process, [os.dup(descriptor) for descriptor in keep_open], afterwards)
            raise
        result = "ok" if completed.code in accept else "failed"
    finally:
        took = time.monotonic() - began
        metrics.COMMAND_DURATION.labels(Path(executable).name, result).observe(took)
    if log.debugging:
        log.debug("command ended", command=" ".join(command), code=completed.code, seconds=f"{took:.3f}")
    if completed.code not in accept:
        raise CommandFailed(command, completed)
    return completed


def _start(command: Sequence[str], keep_open: Collection[int]) -> subprocess.Popen[str]:
    """Start ``command`` in a session of its own. No preexec_fn: that would forbid vfork and upset gRPC."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=tuple(keep_open),
        env={"LC_ALL": "C", "PATH": _PATH},
        cwd="/",
    )


def _finish(
    process: subprocess.Popen[str], command: Sequence[str], limit: float, at_deadline: AtDeadline
) -> Completed:
    try:
        stdout, stderr = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        if at_deadline is AtDeadline.LEAVE:
            raise CommandTimedOut(
                f"`{' '.join(command)}` still runs after {limit:.1f} s and goes on by itself; repeat the call"
            ) from None
        ended = _killed(process)
        raise CommandTimedOut(
            f"`{' '.join(command)}` did not end within {limit:.1f} s and was killed"
            + ("" if ended else ", but cannot die: it waits for a device that does not answer")
        ) from None
    return Completed(code=process.returncode, stdout=stdout, stderr=stderr)


def _killed(process: subprocess.Popen[str]) -> bool:
    """Kill the command with all it started; whether it was gone within a moment."""
    os.killpg(process.pid, signal.SIGKILL)
    try:
        process.communicate(timeout=_KILLED_SECONDS)
    except subprocess.TimeoutExpired:
        log.warning("killed command does not end", pid=process.pid)
        return False
    return True


def _reap(
    process: subprocess.Popen[str], held: Collection[int], afterwards: Callable[[], None] | None
) -> None:
    """Collect the process whenever it ends, so that it does not stay as a zombie; close ``held`` then."""

    def wait() -> None:
        try:
            process.communicate()
            log.info("command that was left has ended", pid=process.pid, code=process.returncode)
            if process.returncode == 0 and afterwards is not None:
                afterwards()
        except DriverError as error:
            log.warning("what was to follow a command failed", pid=process.pid, error=error)
        finally:
            for descriptor in held:
                os.close(descriptor)

    threading.Thread(target=wait, name=f"reaper-{process.pid}", daemon=True).start()


def _executable(tool: str) -> str:
    path = _located(tool)
    if path is None:
        package = PACKAGES.get(tool)
        hint = f"install the package {package}" if package else "is the path right?"
        raise ToolMissing(f"{tool} is not installed on this host or in this image: {hint}")
    return path


@functools.lru_cache(maxsize=64)
def _found(tool: str) -> str | None:
    return shutil.which(tool, path=_PATH)


def _located(tool: str) -> str | None:
    path = _found(tool)
    if path is None:
        _found.cache_clear()  # it may be installed later
    return path


def _shortened(words: str) -> str:
    line = "; ".join(part.strip() for part in words.splitlines() if part.strip())
    return line if len(line) <= _WORDS else f"{line[: _WORDS // 2]} ... {line[-_WORDS // 2 :]}"
