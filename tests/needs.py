"""What tests need of a machine, and the table of skipped tests.

A test names its needs with ``@pytest.mark.needs("devices", "xfs")``. If a need is not met, the test is
skipped with the reason. The run ends with a table: how many tests were skipped, which command provides what
is missing, and why. A skip without a reason fails the run.
"""

from __future__ import annotations

import collections
import ctypes
import errno
import functools
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from csi_powerflex.operations.node import filesystem_growth
from tests import memory_group, tools
from tests.chart import helm
from tests.commands import output_of

BY_ROOT = "sudo make test"
BY_TOOLS = "make tools"
BY_EMULATION = "make test-emulated"

_BASIC = ("util-linux", "mount", "e2fsprogs")  # all tests with devices need these
_TELLS_COPIES_APART = (6, 7)
_NO_REASON = ("", "Skipped", "unconditional skip")  # the reasons of pytest if a test gives none
_PROPERTY = "brought by"
_LOOPBACK = "127.0.0.1,localhost,::1"
_LONGEST_TMPDIR = 20  # a socket path has at most 107 bytes, and the folders of tests have long names


@dataclass(frozen=True, slots=True)
class Lack:
    """Why a need is not met on this machine, and the command that provides it; "-" if none does."""

    reason: str
    remedy: str


def _devices() -> Lack | None:
    if os.geteuid() != 0:
        return Lack("block devices and mounts need root, and this run has another user", BY_ROOT)
    return _commands(*_BASIC) or _mounts() or _loop_devices()


def _commands(*packages: str) -> Lack | None:
    lacking = {name: package for name, package in tools.missing("test").items() if package in packages}
    return Lack(f"not installed: {tools.described(lacking)}", BY_TOOLS) if lacking else None


def _mounts() -> Lack | None:
    """Whether a process can enter a mount namespace and return. Only an attempt shows it."""
    back = ["nsenter", "--mount=/proc/self/ns/mnt", "test", "-e", __file__]  # in a chroot it leads elsewhere
    done = subprocess.run(["unshare", "--mount", *back], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    why = done.stderr.strip() or "it is a chroot; in a container they can"
    return Lack(f"tests cannot have mounts of their own on this machine: {why}", "-")


def _loop_devices() -> Lack | None:
    """Whether a loop device can be created. Only an attempt shows it."""
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(1024 * 1024)
        attach = ["losetup", "--find", "--show", file.name]
        done = subprocess.run(attach, capture_output=True, text=True, check=False)
        if done.returncode:
            return Lack(f"this machine offers no loop devices: {done.stderr.strip()}", "-")
        output_of(["losetup", "--detach", done.stdout.strip()])
    return None


def _filesystem(name: str, package: str) -> Lack | None:
    if (lacking := _commands(package)) is not None:
        return lacking
    return None if _kernel_has(name) else Lack(f"this machine's kernel has no {name}", BY_EMULATION)


def _kernel_has(filesystem: str) -> bool:
    """Whether the kernel has a filesystem, or loads its module when one is mounted."""
    libc = ctypes.CDLL(None, use_errno=True)
    # The device does not exist, so nothing is mounted. The error shows whether the filesystem is known.
    libc.mount(b"no-such-device", os.fsencode(tempfile.gettempdir()), filesystem.encode(), 0, None)
    return ctypes.get_errno() not in (errno.ENODEV, errno.EPERM)


def _program(name: str, path: str | None) -> Lack | None:
    return None if path else Lack(f"{name} is not installed", f"{BY_TOOLS} (needs Go)")


def _memory_groups() -> Lack | None:
    """Whether a memory cgroup can be made. Only an attempt shows it."""
    try:
        with memory_group.limited(2**30):
            return None
    except OSError as error:
        reason = f"this machine does not let the tests limit the memory of a process: {error}"
        return Lack(reason, "-" if os.geteuid() == 0 else BY_ROOT)


def _online_ext4() -> Lack | None:
    if filesystem_growth.can_grow_ext4_online():
        return None
    return Lack(
        "growing a mounted ext4 needs CAP_SYS_RESOURCE, which this machine does not give", BY_EMULATION
    )


def _two_btrfs_of_one_id() -> Lack | None:
    if _kernel_version() >= _TELLS_COPIES_APART:
        return None
    return Lack("before Linux 6.7 the kernel mounts only one of two btrfs with equal ids", "a newer kernel")


def _one_btrfs_of_one_id() -> Lack | None:
    if _kernel_version() < _TELLS_COPIES_APART:
        return None
    return Lack("since Linux 6.7 the kernel mounts two btrfs with equal ids", BY_EMULATION)


def _kernel_version() -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return tuple(map(int, found.groups())) if found else ()


NEEDS: Mapping[str, Callable[[], Lack | None]] = {
    "devices": _devices,
    "xfs": lambda: _filesystem("xfs", "xfsprogs"),
    "btrfs": lambda: _filesystem("btrfs", "btrfs-progs"),
    "online-ext4": _online_ext4,
    "two-btrfs-of-one-id": _two_btrfs_of_one_id,
    "one-btrfs-of-one-id": _one_btrfs_of_one_id,
    "memory-groups": _memory_groups,
    "qemu-img": lambda: _commands("qemu-utils"),
    "zstd": lambda: _commands("zstd"),
    "helm": lambda: _program("Helm", helm.binary()),
    "promtool": lambda: _program("promtool", tools.built("promtool")),
    "csi-sanity": lambda: _program("csi-sanity", tools.built("csi-sanity")),
}
"""The needs that a test can name. The first one that is not met is the reason of the skip."""


@functools.cache
def lack(need: str) -> Lack | None:
    """Why this machine does not meet a need; None if it does.

    Raises:
        pytest.UsageError: no need has that name.
    """
    if need not in NEEDS:
        raise pytest.UsageError(f"no need is named {need!r}; tests/needs.py has {', '.join(NEEDS)}")
    return NEEDS[need]()


EACH_FILESYSTEM = (
    "ext4",
    pytest.param("xfs", marks=pytest.mark.needs("xfs")),
    pytest.param("btrfs", marks=pytest.mark.needs("btrfs")),
)
"""The filesystems of the driver, as parameters of a test."""

EACH_FILESYSTEM_WITH_ITS_COPY = (
    *EACH_FILESYSTEM[:2],
    pytest.param("btrfs", marks=pytest.mark.needs("btrfs", "two-btrfs-of-one-id")),
)
"""The same for a test that mounts a filesystem and its copy on one machine."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of a run that must skip nothing that could be installed."""
    parser.addoption(
        "--complete",
        action="store_true",
        help="fail when tests were left out that `make tools` would bring",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark, register the plugin, and adapt the environment."""
    _adapt_environment()
    config.addinivalue_line("markers", "needs(name, ...): the needs of the test, see tests/needs.py")
    config.pluginmanager.register(LeftOut(complete=config.getoption("--complete")))


def _adapt_environment() -> None:
    """Give tests the tools of root, a short temporary folder, and loopback without proxy."""
    os.environ["PATH"] = tools.search_path()
    if len(tempfile.gettempdir()) > _LONGEST_TMPDIR:
        tempfile.tempdir = os.environ["TMPDIR"] = "/tmp"  # noqa: S108 - each run creates its own folder there
    # A proxy of the environment cannot reach this machine's loopback.
    direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(filter(None, (direct, _LOOPBACK)))


class LeftOut:
    """Skips tests that this machine cannot run, counts them, and prints a table at the end."""

    def __init__(self, *, complete: bool) -> None:
        self._complete = complete
        self._skipped: collections.Counter[tuple[str, str]] = collections.Counter()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Mark the tests to skip."""
        for item in items:
            names = [name for mark in item.iter_markers("needs") for name in mark.args]
            found = next((found for name in sorted(names, key=_rank) if (found := lack(name))), None)
            if found is not None:
                item.add_marker(pytest.mark.skip(reason=found.reason))
                item.user_properties.append((_PROPERTY, _remedy(found, item)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a skip. Workers of pytest-xdist send theirs."""
        if report.skipped and not hasattr(report, "wasxfail"):
            remedies = dict(report.user_properties)
            self._skipped[str(remedies.get(_PROPERTY, "-")), _reason(report)] += 1

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Let the run fail if it skipped tests that it must not skip."""
        if self._refused() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table."""
        if not self._skipped:
            return
        terminalreporter.section("left out")
        width = max(len("brought by"), *(len(remedy) for remedy, _ in self._skipped))
        terminalreporter.line(f"tests  {'brought by':{width}}  because")
        for (remedy, reason), count in sorted(self._skipped.items()):
            terminalreporter.line(f"{count:5}  {remedy:{width}}  {reason or 'NO REASON IS GIVEN'}")
        for line in self._refused():
            terminalreporter.line(line, red=True)

    def _refused(self) -> list[str]:
        refused = [
            f"FAILED: {count} tests were skipped without a reason"
            for (_, reason), count in self._skipped.items()
            if reason in _NO_REASON
        ]
        if self._complete:
            refused += [
                f"FAILED: {count} tests were left out, and `{remedy}` would bring them (--complete)"
                for (remedy, _), count in self._skipped.items()
                if remedy.startswith(BY_TOOLS)
            ]
        return refused


def _remedy(found: Lack, item: pytest.Item) -> str:
    """The command that provides a need. The emulated machine runs only tests with its mark."""
    runs = found.remedy != BY_EMULATION or item.get_closest_marker("emulated")
    return found.remedy if runs else "-"


def _rank(need: str) -> int:
    """The position of a need among all. An unknown one is first, and is refused."""
    return list(NEEDS).index(need) if need in NEEDS else -1


def _reason(report: pytest.TestReport) -> str:
    """The reason of a skip."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped:").strip()
    return str(report.longrepr)
