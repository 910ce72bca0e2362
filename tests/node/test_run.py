"""Running the host's tools, with a limit for every wait."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from csi_powerflex import call_context
from csi_powerflex.errors import DeadlineExceeded
from csi_powerflex.host import run as run_module
from csi_powerflex.host.run import (
    AtDeadline,
    CommandFailed,
    CommandTimedOut,
    ToolMissing,
    Tools,
    missing_tools,
    run,
    started,
)

SH = "/bin/sh"


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ended(pid: int) -> bool:
    until = time.monotonic() + 5
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not alive(pid)


def test_the_output_of_a_tool_is_returned() -> None:
    completed = run([SH, "-c", "echo out; echo err >&2; exit 3"], accept=(0, 3))
    assert (completed.code, completed.stdout, completed.stderr) == (3, "out\n", "err\n")


def test_a_failure_has_the_output_of_the_tool() -> None:
    with pytest.raises(CommandFailed, match="failed with code 5: disk is full") as failed:
        run([SH, "-c", "echo disk is full >&2; exit 5"])
    assert failed.value.code == 5


def test_a_tool_that_is_killed_is_a_failure_for_any_accepted_codes() -> None:
    with pytest.raises(CommandFailed, match="ended by signal 9"):
        run([SH, "-c", "kill -9 $$"], accept=range(256))


def test_tools_run_in_the_c_locale() -> None:
    assert run([SH, "-c", "echo $LC_ALL $HOME"]).stdout == "C\n"


def test_a_tool_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    began = time.monotonic()
    with pytest.raises(CommandTimedOut, match="was killed"):
        run([SH, "-c", f"sleep 60 & echo $! >> {pids}; echo $$ >> {pids}; wait"], cap=1.5)
    assert time.monotonic() - began < 30
    assert all(ended(int(pid)) for pid in pids.read_text().split())


def test_a_tool_runs_at_the_same_time_as_its_block(tmp_path: Path) -> None:
    reply = tmp_path / "reply"
    os.mkfifo(reply)
    with started([SH, "-c", f"read line < {reply}; echo $line; exit 3"], accept=(3,)) as wait:
        reply.write_text("read while it ran\n")
        completed = wait()
    assert (completed.code, completed.stdout) == (3, "read while it ran\n")


def test_a_tool_that_was_started_fails_where_its_end_is_waited_for() -> None:
    with (
        pytest.raises(CommandFailed, match="failed with code 5: disk is full"),
        started([SH, "-c", "echo disk is full >&2; exit 5"]) as wait,
    ):
        wait()


def test_a_tool_that_was_started_and_takes_too_long_is_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with (
        pytest.raises(CommandTimedOut, match="was killed"),
        started([SH, "-c", f"echo $$ > {pid}; exec sleep 60"], cap=1.5) as wait,
    ):
        wait()
    assert ended(int(pid.read_text()))


def test_a_tool_that_its_block_does_not_wait_for_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    script = f"sleep 60 & echo $! $$ > {ready}; wait"
    with started([SH, "-c", script]):
        pids = ready.read_text().split()
    assert len(pids) == 2
    assert all(ended(int(pid)) for pid in pids)


def test_a_tool_that_cannot_be_killed_does_not_keep_its_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that waits for a device without answer. A thread waits for its end."""
    end = tmp_path / "end"
    os.mkfifo(end)
    monkeypatch.setattr(os, "killpg", lambda *_: None)
    monkeypatch.setattr(run_module, "_KILLED_SECONDS", 0.01)
    with started([SH, "-c", f"echo $$; read line < {end}"]):
        pass
    reaper = next(thread for thread in threading.enumerate() if thread.name.startswith("reaper-"))
    end.write_text("\n")
    reaper.join(5)
    assert not reaper.is_alive()


def test_no_tool_is_started_after_the_deadline(tmp_path: Path) -> None:
    call = call_context.CallContext(rpc="NodeStageVolume", deadline=time.monotonic() - 1)
    with call_context.entered(call):
        with pytest.raises(DeadlineExceeded, match="the deadline of NodeStageVolume passed"):
            run([SH, "-c", f"touch {tmp_path}/started"])
        with (
            pytest.raises(DeadlineExceeded, match="the deadline of NodeStageVolume passed"),
            started([SH, "-c", f"touch {tmp_path}/started"]),
        ):
            pass
    assert list(tmp_path.iterdir()) == []


def test_work_that_must_not_be_interrupted_goes_on(tmp_path: Path) -> None:
    done = tmp_path / "done"
    with pytest.raises(CommandTimedOut, match="goes on by itself"):
        run([SH, "-c", f"sleep 0.4; echo done > {done}"], cap=0.1, at_deadline=AtDeadline.LEAVE)
    until = time.monotonic() + 5
    while not done.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert done.read_text() == "done\n"


def test_the_step_after_continued_work_is_done_under_the_same_lock(tmp_path: Path) -> None:
    """So no other process sees the work done without the step that follows it."""
    followed = threading.Event()
    lock = os.open(tmp_path, os.O_RDONLY)

    def follow() -> None:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        followed.set()

    other = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CommandTimedOut):
            run(
                [SH, "-c", "sleep 0.4"],
                cap=0.1,
                at_deadline=AtDeadline.LEAVE,
                keep_open=(lock,),
                afterwards=follow,
            )
        os.close(lock)
        assert followed.wait(5)
        fcntl.flock(other, fcntl.LOCK_EX)
    finally:
        os.close(other)


def test_no_step_follows_continued_work_that_failed() -> None:
    followed = threading.Event()
    for script in ("sleep 0.2; exit 1", "sleep 0.2; kill -9 $$"):
        with pytest.raises(CommandTimedOut):
            run([SH, "-c", script], cap=0.05, at_deadline=AtDeadline.LEAVE, afterwards=followed.set)
    with pytest.raises(CommandTimedOut):
        run([SH, "-c", "sleep 60"], cap=0.05, afterwards=followed.set)
    for thread in threading.enumerate():
        if thread.name.startswith("reaper-"):
            thread.join(5)
    assert not followed.is_set()


def test_the_deadline_of_the_call_is_a_limit() -> None:
    began = time.monotonic()
    with (
        call_context.entered(
            call_context.CallContext("NodeStageVolume", "x", deadline=began + 0.2)
        ) as current,
        pytest.raises(DeadlineExceeded),
    ):
        run([SH, "-c", "sleep 60"])
    assert time.monotonic() - began < 30
    assert current.counts == {"host_commands": 1}


def test_the_error_for_a_missing_tool_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "tools", Tools("/nowhere"))
    assert missing_tools(("mkfs.xfs",)) == ["mkfs.xfs (package xfsprogs)"]
    with pytest.raises(ToolMissing, match="install the package xfsprogs"):
        run(["mkfs.xfs"])


def test_a_tool_that_is_installed_later_is_found(tmp_path: Path) -> None:
    found = Tools(str(tmp_path))
    assert found.find("tool") is None
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o755)
    assert found.find("tool") == str(tmp_path / "tool")


def test_descriptors_are_inherited_only_if_requested(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    try:
        listing = [SH, "-c", f"test -e /proc/self/fd/{descriptor} && echo there || echo not"]
        assert run(listing).stdout == "not\n"
        assert run(listing, keep_open=(descriptor,)).stdout == "there\n"
    finally:
        os.close(descriptor)
