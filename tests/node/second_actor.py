"""Other processes on the host that hold a volume: what a container or an administrator does."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.node.loophost import Volume, command


@contextlib.contextmanager
def copy_of_mounts() -> Iterator[int]:
    """A process with a private copy of all mounts, as a monitoring container has. Yields its id."""
    with _running(["unshare", "--mount", "--propagation", "private", "sleep", "600"]) as process:
        own = Path("/proc/thread-self/ns/mnt").readlink()
        _wait(lambda: Path(f"/proc/{process}/comm").read_text() == "sleep\n")
        assert Path(f"/proc/{process}/ns/mnt").readlink() != own
        yield process


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[int]:
    """A process whose working folder is ``folder``. Yields its id."""
    with _running(["sleep", "600"], folder) as process:
        yield process


@contextlib.contextmanager
def mount_in_another_namespace(volume: Volume) -> Iterator[Path]:
    """The volume, mounted in the namespace of another process only. Yields a path to its content."""
    script = f"mount {volume.path} /mnt && exec sleep 600"
    with _running(["unshare", "--mount", "--propagation", "private", "sh", "-c", script]) as process:
        _wait(lambda: Path(f"/proc/{process}/comm").read_text() == "sleep\n")
        yield Path(f"/proc/{process}/root/mnt")


def on_another_node(volume: Volume, folder: Path) -> Path:
    """What another node would see of the volume now. It is mounted below ``folder``."""
    point = Path(tempfile.mkdtemp(dir=folder))
    image = point.with_suffix(".img")
    command("cp", "--sparse=always", volume.image, image)
    # The UUID and the id are those of the volume, which may still be mounted here.
    kind = command("blkid", "--probe", "--output", "value", "--match-tag", "TYPE", image).strip()
    if kind == "btrfs":
        command("btrfstune", "-f", "-m", image)
    command("mount", "-o", "loop,nouuid" if kind == "xfs" else "loop", image, point)
    return point


@contextlib.contextmanager
def _running(arguments: list[str], folder: Path | None = None) -> Iterator[int]:
    process = subprocess.Popen(arguments, cwd=folder)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
