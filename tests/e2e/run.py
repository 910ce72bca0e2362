"""Runs the end-to-end tests in namespaces of their own: ``python -m tests.e2e.run [pytest's arguments]``.

The tests and all that they start live in one process, network and mount namespace of this machine, so nothing
of theirs meets anything of the machine's, and the end of the tests is the end of everything. What a namespace
does not hold, loop devices and control groups, is looked for afterwards by the name of this run's folder, as
other runs may be under way; leftovers are taken away and make the run fail. Where the machine has no
/dev/disk/by-id, an empty one stays.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests import tools
from tests.commands import CommandFailed
from tests.e2e import build, loops

FOLDER_VARIABLE = "CSI_POWERFLEX_E2E_FOLDER"
_NAMESPACES = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
# The build has fetched everything. A download would hide that the build is incomplete.
_NO_DOWNLOADS = {"GOPROXY": "off", "GOFLAGS": "-mod=readonly", "PIP_NO_INDEX": "1"}
_PYTEST = ["--verbose", "--no-header", "-p", "no:randomly", "-p", "no:cacheprovider"]
_KILLED_SECONDS = 10
_GROUPS = Path("/sys/fs/cgroup")


def main(arguments: Sequence[str]) -> int:
    """Build what is missing, run the tests, look for leftovers; returns the exit status."""
    if not prepared(build.main):
        return 1
    folder = new_folder()
    status = run_inside(folder, [sys.executable, "-m", "pytest", *_PYTEST, *arguments])
    if status and "CSI_POWERFLEX_E2E_KEEP" in os.environ:
        print(f"logs: {folder}")
    else:
        shutil.rmtree(folder)
    return status


def prepared(*builds: Callable[[], None]) -> bool:
    """Build what a run needs; returns False, after a message, if that is not possible here."""
    os.environ["PATH"] = tools.search_path()
    missing = why_impossible()
    if missing:
        print(f"the end-to-end tests cannot run here: {missing}", file=sys.stderr)
        return False
    try:
        for each in builds:
            each()
    except CommandFailed as error:
        print(f"\n{error}", file=sys.stderr)
        return False
    return True


def new_folder() -> Path:
    """The folder of a run. Its name is part of the names of what the run leaves behind."""
    return Path(tempfile.mkdtemp(prefix="csi-powerflex-e2e-"))


def run_inside(folder: Path, command: Sequence[str]) -> int:
    """Run a command in namespaces of its own, then look for leftovers; returns the exit status."""
    first = [sys.executable, "-m", "tests.e2e.inside", str(folder)]
    environment = {**os.environ, **_NO_DOWNLOADS, FOLDER_VARIABLE: str(folder)}
    status = subprocess.run([*_NAMESPACES, *first, *command], env=environment, check=False).returncode
    left = [*loops.remove(folder), *_remove_groups(folder.name)]
    for each in left:
        print(f"left behind, and taken away: {each}", file=sys.stderr)
    return status or bool(left)


def why_impossible() -> str | None:
    """What is missing on this machine, or None."""
    if os.geteuid() != 0:
        return "they need root, for namespaces, mounts and loop devices"
    if not os.access("/dev/loop-control", os.R_OK | os.W_OK):
        return "this machine offers no loop devices"
    if shutil.which("go") is None:
        return "Kubernetes is built with Go, which is not installed"
    lacking = tools.missing("e2e")
    return (
        f"not installed: {tools.described(lacking)}; `make tools FOR=e2e` installs them" if lacking else None
    )


def _remove_groups(name: str) -> list[str]:
    """Remove the control groups of kubelets below ``name``; returns those of containers."""
    left = []
    for root in sorted(_GROUPS.glob(f"*/{name}")) + sorted(_GROUPS.glob(name)):
        folders = [Path(path) for path, _, _ in os.walk(root, topdown=False)]
        left += [str(folder) for folder in folders if folder != root]
        for folder in folders:
            _remove_group(folder)
    return left


def _remove_group(folder: Path) -> None:
    """Retry: the kernel releases a group only some time after its processes were killed."""
    deadline = time.monotonic() + _KILLED_SECONDS
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["tests/e2e"]))
