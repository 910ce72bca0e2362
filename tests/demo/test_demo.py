"""The demo, as a user runs it."""

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
    """A folder of the test's own for temporary files, so that what the demo leaves can be told.

    Its path is short, as a socket's has to be, and open to the ordinary user that one test becomes.
    """
    with tempfile.TemporaryDirectory(prefix="d-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"TMPDIR": str(folder), "COLUMNS": "120"}


def processes_of(folder: Path) -> list[str]:
    """The command lines of living processes that name the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if str(folder) in text:
            found.append(text)
    return found


def assert_nothing_left(folder: Path) -> None:
    assert not leftovers.below(folder)
    assert processes_of(folder) == []
    assert list(folder.iterdir()) == []


@pytest.mark.needs("devices")
def test_the_demo_walks_a_volume_through_its_life_and_leaves_nothing(folder: Path) -> None:
    done = subprocess.run(DEMO, env=environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "CreateVolume",
        "NodeStageVolume",
        "equal",
        "FAILED_PRECONDITION",
        "NOT_FOUND",
        "Nothing is left",
    ):
        assert words in done.stdout
    assert_nothing_left(folder)


def until(reached: Callable[[], bool], demo: subprocess.Popen[bytes]) -> None:
    """Wait until the demo has come to a moment."""
    deadline = time.monotonic() + 100
    while not reached():
        assert demo.poll() is None, "the demo ended before it got there"
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.needs("devices")
def test_a_demo_whose_terminal_is_closed_leaves_nothing(folder: Path) -> None:
    ours, its = os.openpty()
    demo = subprocess.Popen(
        ["setsid", "--ctty", *DEMO[:-1], "--mebibytes=256"],
        env=environment(folder),
        stdin=its,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    os.set_blocking(ours, False)

    def is_mounted() -> bool:
        with contextlib.suppress(BlockingIOError):
            os.read(ours, 65536)  # a terminal that nobody reads would stop the demo
        return bool(leftovers.below(folder).mounts)

    until(is_mounted, demo)
    os.close(ours)
    demo.wait(60)
    assert_nothing_left(folder)


@pytest.mark.needs("devices")
def test_a_demo_that_is_to_outlive_its_terminal_does(folder: Path) -> None:
    demo = subprocess.Popen(
        ["nohup", *DEMO], env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    until(lambda: bool(leftovers.below(folder).mounts), demo)
    demo.send_signal(signal.SIGHUP)
    output, _ = demo.communicate(timeout=100)
    assert demo.returncode == 0, output.decode()
    assert b"Nothing is left" in output


def test_a_temporary_folder_that_is_too_long_for_sockets_is_not_used(folder: Path) -> None:
    folder = folder / ("x" * 70)
    folder.mkdir(mode=0o777)
    done = subprocess.run(
        DEMO, env=environment(folder) | {"TMPDIR": str(folder)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "below /tmp/csi-powerflex-demo-" in done.stdout
    assert list(folder.iterdir()) == []


@pytest.mark.needs("devices")
@pytest.mark.parametrize("moment", ["simulate", "controller", "by-id/emc-vol", "globalmount"])
def test_an_interrupted_demo_leaves_nothing(folder: Path, moment: str) -> None:
    """Ctrl-C while things start, and while the volume is mapped or mounted."""
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
    }[moment]
    until(reached, demo)
    demo.send_signal(signal.SIGINT)
    output, errors = demo.communicate(timeout=60)
    assert demo.returncode == 130, (output + errors).decode()
    assert b"Traceback" not in output + errors
    assert_nothing_left(folder)


def test_without_devices_it_shows_the_controllers_half_and_says_what_it_left_out(folder: Path) -> None:
    """As in a container that may not mount, which root's own process becomes for this."""
    time_limit = (
        ["setpriv", "--inh-caps=-sys_admin", "--bounding-set=-sys_admin"] if os.geteuid() == 0 else []
    )
    done = subprocess.run(
        [*time_limit, *DEMO],
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
