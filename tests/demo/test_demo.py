"""The demo, as users run it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csi_powerflex.demo import leftovers

DEMO = [sys.executable, "-m", "csi_powerflex", "demo", "--mebibytes=4"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A new folder for temporary files, so that a test can see what the demo leaves.

    Its path is short, because paths of sockets are limited. All users may write to it.
    """
    with tempfile.TemporaryDirectory(prefix="d-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"TMPDIR": str(folder), "COLUMNS": "120"}


def processes_of(folder: Path) -> list[str]:
    """The command lines of running processes that contain the folder's path."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # the process has ended
        if str(folder) in text:
            found.append(text)
    return found


def assert_nothing_left(folder: Path) -> None:
    assert not leftovers.below(folder)
    assert processes_of(folder) == []
    assert list(folder.iterdir()) == []


@pytest.mark.needs("devices")
def test_the_demo_completes_and_leaves_nothing(folder: Path) -> None:
    done = subprocess.run(DEMO, env=environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for text in (
        "CreateVolume",
        "NodeStageVolume",
        "equal",
        "FAILED_PRECONDITION",
        "NOT_FOUND",
        "Nothing is left",
    ):
        assert text in done.stdout
    assert_nothing_left(folder)


def until(condition: Callable[[], bool], demo: subprocess.Popen[bytes]) -> None:
    """Wait until the condition is true while the demo runs."""
    deadline = time.monotonic() + 100
    while not condition():
        assert demo.poll() is None, "the demo ended before the condition was true"
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.needs("devices")
def test_a_demo_whose_terminal_is_closed_leaves_nothing(folder: Path) -> None:
    control, terminal = os.openpty()
    demo = subprocess.Popen(
        ["setsid", "--ctty", *DEMO[:-1], "--mebibytes=256"],
        env=environment(folder),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    os.set_blocking(control, False)

    def is_mounted() -> bool:
        with contextlib.suppress(BlockingIOError):
            os.read(control, 65536)  # the demo would block if the terminal's output were not read
        return bool(leftovers.below(folder).mounts)

    until(is_mounted, demo)
    os.close(control)
    demo.wait(60)
    assert_nothing_left(folder)


@pytest.mark.needs("devices")
def test_a_demo_with_nohup_continues_when_its_terminal_is_closed(folder: Path) -> None:
    demo = subprocess.Popen(
        ["nohup", *DEMO], env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    until(lambda: bool(leftovers.below(folder).mounts), demo)
    demo.send_signal(signal.SIGHUP)
    output, _ = demo.communicate(timeout=100)
    assert demo.returncode == 0, output.decode()
    assert b"Nothing is left" in output


def test_a_temporary_folder_that_is_too_long_for_sockets_is_not_used(folder: Path) -> None:
    too_long = folder / ("x" * 70)
    too_long.mkdir(mode=0o777)
    done = subprocess.run(DEMO, env=environment(too_long), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "below /tmp/csi-powerflex-demo-" in done.stdout
    assert list(too_long.iterdir()) == []


@pytest.mark.needs("devices")
@pytest.mark.parametrize("state", ["simulate", "controller", "by-id/emc-vol", "globalmount"])
def test_an_interrupted_demo_leaves_nothing(folder: Path, state: str) -> None:
    """Ctrl-C during the start, and while the volume is mapped or mounted."""
    demo = subprocess.Popen(
        [*DEMO[:-1], "--mebibytes=256"],
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    reached: Callable[[], bool] = {
        "simulate": lambda: any(" simulate " in line for line in processes_of(folder)),
        "controller": lambda: any(" controller " in line for line in processes_of(folder)),
        "by-id/emc-vol": lambda: any(folder.glob("*/array/hosts/*/by-id/emc-vol-*")),
        "globalmount": lambda: bool(leftovers.below(folder).mounts),
    }[state]
    until(reached, demo)
    demo.send_signal(signal.SIGINT)
    output, errors = demo.communicate(timeout=60)
    assert demo.returncode == 130, (output + errors).decode()
    assert b"Traceback" not in output + errors
    assert_nothing_left(folder)


def test_without_devices_it_shows_only_the_controller_and_says_what_it_left_out(folder: Path) -> None:
    """As root, the demo loses the right to mount, as in a container."""
    without_mounts = (
        ["setpriv", "--inh-caps=-sys_admin", "--bounding-set=-sys_admin"] if os.geteuid() == 0 else []
    )
    done = subprocess.run(
        [*without_mounts, *DEMO],
        env=environment(folder) | {"HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Left out: devices, filesystems and mounts on the nodes, because" in done.stdout
    assert "ControllerPublishVolume" in done.stdout
    assert "NodeStageVolume" not in done.stdout
    assert_nothing_left(folder)
