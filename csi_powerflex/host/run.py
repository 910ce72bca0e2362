"""Running the host's tools. No other module starts processes.

A command runs in its own session, so that it can be ended together with all it started. It gets the C locale,
so that its output can be parsed, and the deadline of the call that it serves. No shell is involved.

A process that waits for a device without answer cannot be killed. So every wait here has a limit, and a
thread waits for the end of a process that is left running.
"""

from __future__ import annotations

import contextlib
import enum
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex import call_context, units
from csi_powerflex.errors import DeadlineExceeded, DriverError, FailedPrecondition, Unavailable
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)

PACKAGES = {
    "mount": "mount",
    "umount": "mount",
    "blkid": "util-linux",
    "wipefs": "util-linux",
    "fsfreeze": "util-linux",
    "blockdev": "util-linux",
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

MOVER_PACKAGES = {
    "prlimit": "util-linux",
    "qemu-img": "qemu-utils",
    "zstd": "zstd",
}
"""The tools that the data mover runs, in an image of its own, and the Debian package that brings each."""

_KILLED_SECONDS = 1.0
_MEANWHILE_SECONDS = 0.5
_EXCERPT = 600
"""Characters of a tool's output that an error message repeats."""


class AtDeadline(enum.Enum):
    """What happens to a command that has not ended at its deadline."""

    KILL = enum.auto()
    LEAVE = enum.auto()
    """It continues. For work that must not be interrupted, such as a filesystem check."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the kernel allows a command that reads input of strangers. It writes no core file.

    Attributes:
        memory: its address space, in bytes.
        processor: its time on processors, in seconds.
        file: the longest file that it may write, in bytes.
    """

    memory: int
    processor: int
    file: int

    def before(self, command: Sequence[str]) -> tuple[str, ...]:
        """The command line that runs ``command`` with these limits."""
        limited = f"--as={self.memory}", f"--cpu={self.processor}", f"--fsize={self.file}", "--core=0"
        return _executable("prlimit"), *limited, "--", *command


@dataclass(frozen=True, slots=True)
class Completed:
    """The exit code and the output of a command."""

    code: int
    stdout: str
    stderr: str


class CommandFailed(Unavailable):
    """A tool failed.

    Args:
        command: the command.
        completed: how it ended.
        kernel: what the kernel said meanwhile about the device that the command used; may be empty.

    Attributes:
        code: its exit code; negative for the signal that ended it.
        stderr: an excerpt of its standard error, on one line.
    """

    def __init__(self, command: Sequence[str], completed: Completed, kernel: str = "") -> None:
        self.code = completed.code
        self.stderr = _excerpt(completed.stderr or completed.stdout)
        self._command = command
        self._completed = completed
        ended = f"was ended by signal {-self.code}" if self.code < 0 else f"failed with code {self.code}"
        reason = f". The kernel says: {kernel}" if kernel else ""
        super().__init__(f"`{' '.join(command)}` {ended}: {self.stderr or 'no output'}{reason}")

    def with_kernel_lines(self, kernel: str) -> CommandFailed:
        """The same error with what the kernel said."""
        return CommandFailed(self._command, self._completed, kernel)


class CommandTimedOut(DeadlineExceeded):
    """A command did not end in time."""


class ToolMissing(FailedPrecondition):
    """A tool that is needed is not installed."""


class Tools:
    """Finds tools in the folders of ``path``, which is in the form of ``$PATH``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._found: dict[str, str] = {}

    def find(self, tool: str) -> str | None:
        """The executable of ``tool``, a name or an absolute path; None where it is not installed."""
        if tool not in self._found:
            executable = shutil.which(tool, path=self.path)
            if executable is None:
                return None  # not remembered: it may be installed later
            self._found[tool] = executable
        return self._found[tool]


tools = Tools("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
"""The tools of this host."""


def missing_tools(names: Collection[str] = tuple(PACKAGES)) -> list[str]:
    """Those of ``names`` that are not installed, each with the package that contains it."""
    return [f"{name} (package {PACKAGES[name]})" for name in names if tools.find(name) is None]


def installed(tool: str) -> bool:
    """Whether ``tool``, a name or an absolute path, can be run."""
    return tools.find(tool) is not None


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
        cap: the most seconds it may take, within the deadline of the current call.
        accept: the exit codes that do not mean failure.
        keep_open: file descriptors that the command inherits, and with them any lock they carry.
        afterwards: called when a command that was left running has succeeded. Until it returns, this process
            keeps ``keep_open`` open too.

    Raises:
        CommandFailed: it ended with another exit code, or by a signal.
        CommandTimedOut: it did not end in time.
        ToolMissing: it is not installed.
    """
    limit = call_context.remaining(cap)
    running = _Running(command, accept, keep_open)
    try:
        return running.result(limit, at_deadline)
    except CommandTimedOut:
        if running.process.returncode is None:
            _reap(running.process, [os.dup(descriptor) for descriptor in keep_open], afterwards)
        raise


@contextlib.contextmanager
def started(
    command: Sequence[str], *, cap: float = 60.0, accept: Collection[int] = (0,)
) -> Iterator[Callable[[], Completed]]:
    """Run ``command``, which only reads, at the same time as the block.

    Yields a function that waits for its end, once. It returns and raises what ``run`` does. A command that
    the block has not waited for is killed.

    Args:
        command: as for ``run``.
        cap: the most seconds that the function waits, within the deadline of the current call.
        accept: as for ``run``.

    Raises:
        DeadlineExceeded: the deadline of the current call has passed.
        ToolMissing: it is not installed.
    """
    call_context.remaining(cap)
    running = _Running(command, accept)
    try:
        yield lambda: running.result(call_context.remaining(cap))
    finally:
        process = running.process
        if process.returncode is None and not _kill(process):
            _reap(process, (), None)


def run_limited(
    command: Sequence[str],
    *,
    limits: Limits,
    cap: float,
    accept: Collection[int] = (0,),
    meanwhile: Callable[[], None] = lambda: None,
) -> Completed:
    """Run ``command``, which reads input that may be hostile, and wait for its end.

    Args:
        command: the tool is one of ``MOVER_PACKAGES``.
        limits: what the kernel allows the command.
        cap: the most seconds it may take, within the deadline of the current call.
        accept: the exit codes that do not mean failure.
        meanwhile: called twice each second until the command ends. If it raises an error, the command is
            killed, and the error passes.

    Raises:
        CommandFailed: it ended with another exit code, or by a signal.
        CommandTimedOut: it did not end in time, and was killed.
        ToolMissing: it is not installed.
    """
    limit = call_context.remaining(cap)
    running = _Running(command, accept, before=limits.before)
    process = running.process

    def finished() -> Completed:
        until = time.monotonic() + limit
        while (left := until - time.monotonic()) > _MEANWHILE_SECONDS:
            try:
                stdout, stderr = process.communicate(timeout=min(left, _MEANWHILE_SECONDS))
            except subprocess.TimeoutExpired:
                _kill_if_it_fails(process, meanwhile)
            else:
                return Completed(code=process.returncode, stdout=stdout, stderr=stderr)
        return _finish(process, command, max(left, 0), AtDeadline.KILL)

    return running.measured(finished)


def _kill_if_it_fails(process: subprocess.Popen[str], step: Callable[[], None]) -> None:
    try:
        step()
    except BaseException:
        _kill(process)
        raise


class _Running:
    """A command that has been started, with the command line that ``before`` makes of it."""

    def __init__(
        self,
        command: Sequence[str],
        accept: Collection[int],
        keep_open: Collection[int] = (),
        before: Callable[[Sequence[str]], Sequence[str]] = tuple,
    ) -> None:
        self._command = command
        self._accept = accept
        self._tool = _executable(command[0])
        call_context.count("host_commands")
        self._began = time.monotonic()
        self.process = _start(before((self._tool, *command[1:])), keep_open)

    def result(self, limit: float, at_deadline: AtDeadline = AtDeadline.KILL) -> Completed:
        """Wait for the end, at most ``limit`` seconds, see ``run``."""
        return self.measured(lambda: _finish(self.process, self._command, limit, at_deadline))

    def measured(self, finished: Callable[[], Completed]) -> Completed:
        """What ``finished``, which waits for the end, returns. It is measured and logged.

        Raises:
            CommandFailed: its exit code is not accepted.
        """
        result = "timeout"
        try:
            completed = finished()
            result = "ok" if completed.code in self._accept else "failed"
        finally:
            took = time.monotonic() - self._began
            metrics.COMMAND_DURATION.labels(Path(self._tool).name, result).observe(took)
        if log.debugging:
            command = " ".join(self._command)
            log.debug("command ended", command=command, code=completed.code, seconds=f"{took:.3f}")
        if completed.code not in self._accept:
            raise CommandFailed(self._command, completed)
        return completed


def _start(command: Sequence[str], keep_open: Collection[int]) -> subprocess.Popen[str]:
    """Start ``command`` in its own session. A preexec_fn would prevent vfork and disturb gRPC."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=tuple(keep_open),
        env={"LC_ALL": "C", "PATH": tools.path},
        cwd="/",
    )


def _finish(
    process: subprocess.Popen[str], command: Sequence[str], limit: float, at_deadline: AtDeadline
) -> Completed:
    try:
        stdout, stderr = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        text, lasted = f"`{' '.join(command)}`", units.seconds(limit)
        if at_deadline is AtDeadline.LEAVE:
            message = f"{text} still runs after {lasted} and goes on by itself; repeat the call"
        elif _kill(process):
            message = f"{text} did not end within {lasted} and was killed"
        else:
            message = f"{text} did not end within {lasted}; it waits for a device and cannot be killed"
        raise CommandTimedOut(message) from None
    return Completed(code=process.returncode, stdout=stdout, stderr=stderr)


def _kill(process: subprocess.Popen[str]) -> bool:
    """Kill the command and all it started. Returns whether it ended within a second."""
    os.killpg(process.pid, signal.SIGKILL)
    try:
        process.communicate(timeout=_KILLED_SECONDS)
    except subprocess.TimeoutExpired:
        log.warning("killed command did not end", pid=process.pid)
        return False
    return True


def _reap(
    process: subprocess.Popen[str], descriptors: Collection[int], afterwards: Callable[[], None] | None
) -> None:
    """Wait in a thread for the end of the process, so that no zombie stays; then close ``descriptors``."""

    def wait() -> None:
        try:
            process.communicate()
            log.info("command ended after its call", pid=process.pid, code=process.returncode)
            if process.returncode == 0 and afterwards is not None:
                afterwards()
        except DriverError as error:
            log.warning("step after a command failed", pid=process.pid, error=error)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    threading.Thread(target=wait, name=f"reaper-{process.pid}", daemon=True).start()


def _executable(tool: str) -> str:
    executable = tools.find(tool)
    if executable is None:
        package = (PACKAGES | MOVER_PACKAGES).get(tool)
        hint = f"install the package {package}" if package else "is the path right?"
        raise ToolMissing(f"{tool} is not installed on this host or in this image: {hint}")
    return executable


def _excerpt(output: str) -> str:
    line = "; ".join(part.strip() for part in output.splitlines() if part.strip())
    return line if len(line) <= _EXCERPT else f"{line[: _EXCERPT // 2]} ... {line[-_EXCERPT // 2 :]}"
