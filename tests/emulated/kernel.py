"""What this machine's kernel has of NVMe, and programs that use it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CONTROLLERS = Path("/sys/class/nvme")
_SUBSYSTEMS = Path("/sys/class/nvme-subsystem")
PATIENCE = 240.0
"""The longest wait in seconds. An emulated machine is slow, and its host may be busy."""


@dataclass(frozen=True, slots=True)
class Host:
    """An identity for NVMe."""

    nqn: str
    host_id: str

    @classmethod
    def numbered(cls, digit: str) -> Host:
        """One with a UUID that consists of a digit."""
        text = f"{digit * 8}-{digit * 4}-4{digit * 3}-8{digit * 3}-{digit * 12}"
        return cls(f"nqn.2014-08.org.nvmexpress:uuid:{text}", text)

    def write_files(self, folder: Path) -> None:
        """Write hostnqn and hostid."""
        folder.mkdir()
        (folder / "hostnqn").write_text(f"{self.nqn}\n")
        (folder / "hostid").write_text(f"{self.host_id}\n")


def controllers(host: Host | None = None) -> dict[str, str]:
    """The NVMe controllers of a host, or of all: the state of each by its name."""
    found = {}
    for folder in _CONTROLLERS.iterdir():
        try:
            if host is None or _text(folder / "hostnqn") == host.nqn:
                found[folder.name] = _text(folder / "state")
        except OSError:  # it has just vanished
            continue
    return found


def loss_timeout(name: str) -> str:
    """The seconds after which the kernel gives a lost connection up; "off" for never."""
    return _text(_CONTROLLERS / name / "ctrl_loss_tmo")


def delete(host: Host | None = None) -> None:
    """Remove all connections of a host, or of all. What is mounted over them fails then."""
    for name in controllers(host):
        try:
            (_CONTROLLERS / name / "delete_controller").write_text("1")
        except OSError:
            continue


def device(nguid: str) -> Path | None:
    """The device of a volume; None if there is none."""
    for file in _SUBSYSTEMS.glob("*/nvme*n*/nguid"):
        try:
            if _text(file).replace("-", "") == nguid:
                return Path("/dev") / file.parent.name
        except OSError:
            continue
    return None


def _text(file: Path) -> str:
    return file.read_text().strip()


def wait(what: str, condition: Callable[[], Any], seconds: float = PATIENCE) -> float:
    """Wait until a condition is true. Returns the seconds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - began


def run(*words: str) -> str:
    """The output of a program that must succeed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, f"{' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def nvme(*words: str, host: Host | None = None) -> Any:
    """The JSON that nvme-cli prints; None if it prints nothing."""
    identity = () if host is None else (f"--hostnqn={host.nqn}", f"--hostid={host.host_id}")
    text = run("nvme", *words, *identity, "--output-format=json")
    return json.loads(text) if text.strip() else None


def sleeping_without_end(pid: int) -> Sequence[str]:
    """The names of a process's threads that wait for a device and cannot be interrupted."""
    found = []
    for folder in Path(f"/proc/{pid}/task").iterdir():
        try:
            name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:  # the thread has ended
            continue
        if rest.split()[0] == "D":
            found.append(name)
    return found


def is_mounted(path: Path) -> bool:
    """Whether something is mounted there. It does not touch the filesystem, which may not answer."""
    return f" {path} " in Path("/proc/self/mountinfo").read_text()


def kernel_log() -> str:
    """The kernel's messages."""
    return run("dmesg")


def write_file(path: Path, text: str) -> None:
    """Write a file and wait until the device has it, in a process of its own.

    This process serves the device. It must not wait for itself.
    """
    run("sh", "-c", 'printf %s "$2" > "$1" && sync "$1"', "sh", os.fspath(path), text)


def read_file(path: Path) -> str:
    """The content of a file, read in a process of its own from the device."""
    return run("cat", os.fspath(path))
