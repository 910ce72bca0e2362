"""The two commands of README.md on a machine with only Python, git and make: ``python -m tests.bare``.

The machine is a minimal Debian in a folder, with its own processes and mounts. Its network and its loop
devices are those of this machine. Both commands run as root and as another user, each in a new clone of the
last commit, with an empty home folder, without caches, in the background. The exit status is 1 if a command
fails, if the demo leaves something, or if a test is skipped without a reason. ``--full`` runs all tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests import registries, tools
from tests.commands import CommandFailed, output_of

_ROOT = Path(__file__).resolve().parents[2]
_IMAGE = _ROOT / ".cache" / "bare"
_SUITE = "bookworm"  # its Python is the oldest that the project supports
_PACKAGES = ("ca-certificates", "git", "make", "python3", "python3-venv")

# Without --full: the tests that use optional tools, and those that differ for a user who is not root.
_AS_ROOT = "-m needs -k 'not interrupted_calls'"
_AS_USER = "tests/unit tests/contract tests/demo tests/simulator tests/chart tests/node tests/secrets"

# As for a container. A process that changes its mount namespace would leave a chroot.
_IN_THE_MACHINE = """
mount --bind "$1" "$1"
mount --rbind /dev "$1/dev"
mount --rbind /sys "$1/sys"
mount -t proc proc "$1/proc"
mount -t tmpfs -o mode=1777 tmp "$1/dev/shm"
cd "$1"
pivot_root . mnt
umount --lazy /mnt
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec chroot --userspec="$2" / env -i HOME="$3" PATH="$PATH" sh -c "$4"
"""


def main(arguments: Sequence[str]) -> int:
    """Create the machine, run both commands as both users, then ``make tools``; returns the exit status."""
    full = "--full" in arguments
    os.environ["PATH"] = tools.search_path()
    if os.geteuid() != 0:
        print("creating a bare machine needs root: sudo make test-bare", file=sys.stderr)
        return 1
    lacking = tools.missing("bare")
    if lacking:
        print(f"not installed: {tools.described(lacking)}; run make tools FOR=bare", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="csi-powerflex-bare-") as folder:
        try:
            machine = _machine(Path(folder))
        except CommandFailed as error:
            print(error, file=sys.stderr)
            return 1
        newcomer = "/srv/newcomer.sh /srv/project.bundle"
        tries = (
            ("root", f'{newcomer} "{"" if full else _AS_ROOT}"'),
            ("user", f'{newcomer} "{"" if full else _AS_USER}"'),
            ("user", "make -C /home/user/csi-powerflex tools"),
            ("root", "make -C /root/csi-powerflex tools"),
            ("root", 'make -C /root/csi-powerflex test ARGS="-q --complete tests/node/test_staging.py"'),
        )
        for user, command in tries:
            print(f"--- as {user}: {command}", flush=True)
            if _run(machine, user, command) != 0:
                print(f"FAILED as {user}: {command}", file=sys.stderr)
                return 1
    return 0


def _machine(folder: Path) -> Path:
    """Create a machine below ``folder``, with a bundle of the project to clone; returns its root folder.

    Raises:
        CommandFailed: it cannot be created. The message says why.
    """
    if not (_IMAGE / "ready").exists():
        print(f"creating a minimal Debian {_SUITE} (first time only) ...", flush=True)
        shutil.rmtree(_IMAGE, ignore_errors=True)
        _IMAGE.mkdir(parents=True)
        packages = f"--include={','.join(_PACKAGES)}"
        minimal: list[str | Path] = ["debootstrap", "--variant=minbase", packages, _SUITE, _IMAGE / "root"]
        output_of([*minimal, *registries.debian_mirror()])
        (_IMAGE / "ready").touch()
    root = folder / "root"
    output_of(["cp", "--archive", _IMAGE / "root", root])
    output_of(["chroot", root, "useradd", "--create-home", "user"])
    # Name resolution, certificates and the index of Python packages are those of this machine.
    for file in ("etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt"):
        shutil.copy(Path("/", file), root / file)
    (root / "etc/pip.conf").write_text(registries.pip_settings())
    output_of(["git", "bundle", "create", "--quiet", root / "srv/project.bundle", "HEAD"], folder=_ROOT)
    shutil.copy(Path(__file__).with_name("newcomer.sh"), root / "srv")
    return root


def _run(machine: Path, user: str, command: str) -> int:
    """Run a command in the machine; returns its status. Its processes end with it."""
    home = "/root" if user == "root" else f"/home/{user}"
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation=private"]
    return subprocess.run(
        [*namespaces, "sh", "-ec", _IN_THE_MACHINE, "sh", machine, f"{user}:{user}", home, command],
        stdin=subprocess.DEVNULL,
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
