"""The programs that tests use in addition to Python, git and make, and the Debian package of each.

``python -m tests.tools [GROUP ...]`` installs the missing ones on Debian and Ubuntu, as root. Elsewhere, and
without root, it prints what to install. It needs only the standard library, because it runs first.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

PACKAGES: Mapping[str, Mapping[str, str]] = {
    "test": {
        "blkid": "util-linux",
        "blockdev": "util-linux",
        "fsfreeze": "util-linux",
        "nsenter": "util-linux",
        "partx": "util-linux",
        "setpriv": "util-linux",
        "setsid": "util-linux",
        "unshare": "util-linux",
        "wipefs": "util-linux",
        "losetup": "mount",
        "mount": "mount",
        "umount": "mount",
        "debugfs": "e2fsprogs",
        "dumpe2fs": "e2fsprogs",
        "e2fsck": "e2fsprogs",
        "mkfs.ext4": "e2fsprogs",
        "resize2fs": "e2fsprogs",
        "mkfs.xfs": "xfsprogs",
        "xfs_db": "xfsprogs",
        "xfs_growfs": "xfsprogs",
        "mkfs.btrfs": "btrfs-progs",
        "btrfs": "btrfs-progs",
        "prlimit": "util-linux",
        "qemu-img": "qemu-utils",
        "zstd": "zstd",
    },
    "bare": {
        "debootstrap": "debootstrap",
        "git": "git",
    },
    "emulated": {
        "busybox": "busybox-static",
        "qemu-system-x86_64": "qemu-system-x86",
        "depmod": "kmod",
        "nvme": "nvme-cli",
        "mkfs.ext4": "e2fsprogs",
        "mkfs.xfs": "xfsprogs",
        "mkfs.btrfs": "btrfs-progs",
    },
    "e2e": {
        "buildah": "buildah",
        "busybox": "busybox-static",
        "containerd": "containerd",
        "debootstrap": "debootstrap",
        "ip": "iproute2",
        "mkfs.btrfs": "btrfs-progs",
        "nft": "nftables",
        "runc": "runc",
        "sysctl": "procps",
        "/usr/lib/cni/ptp": "containernetworking-plugins",
    },
}
"""For each group of tests: the commands that it needs, or the paths of files, and the package of each."""

_BUILT = Path(__file__).resolve().parents[1] / ".cache" / "bin"
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def located(command: str) -> str | None:
    """The path of a command, also in the folders that only root has in PATH by default."""
    return shutil.which(command, path=search_path())


def search_path() -> str:
    """The PATH of this process and the additional folders of root."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join([*folders, *(each for each in _SYSTEM_FOLDERS if each not in folders)])


def built(program: str) -> str | None:
    """The path of a program that make builds with Go, or of one that is installed."""
    path = _BUILT / program
    return str(path) if path.exists() else located(program)


def missing(group: str) -> dict[str, str]:
    """The commands of a group that are not installed, each with its package."""
    return {command: package for command, package in PACKAGES[group].items() if located(command) is None}


def described(lacking: Mapping[str, str]) -> str:
    """Packages and their missing commands, as text."""
    commands: dict[str, list[str]] = {}
    for command, package in lacking.items():
        commands.setdefault(package, []).append(command)
    return ", ".join(f"{package} ({', '.join(names)})" for package, names in sorted(commands.items()))


def bring(groups: Iterable[str]) -> int:
    """Install the missing programs of these groups, or print them; returns the exit status."""
    lacking = {command: package for group in groups for command, package in missing(group).items()}
    if not lacking:
        print("Debian's packages: all installed.")
        return 0
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *sorted(set(lacking.values()))]
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        print(f"Missing: {described(lacking)}.")
        print(f"On Debian and Ubuntu, as root: apt-get update && {' '.join(install)}")
        return 0
    print(f"Installing {described(lacking)} ...", flush=True)
    for command in (["apt-get", "update"], install):
        if (status := _run_quietly(command)) != 0:
            return status
    return 0


def _run_quietly(command: Sequence[str]) -> int:
    """Run a command. Its output is shown only if it fails."""
    done = subprocess.run(
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        print(f"{done.stdout}`{' '.join(command)}` failed with status {done.returncode}.", file=sys.stderr)
    return done.returncode


def main() -> int:
    """Install the tools of the groups in the arguments."""
    parser = argparse.ArgumentParser(prog=f"python -m {Path(__file__).parent.name}.tools")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(PACKAGES)}; default: test")
    groups = parser.parse_args().groups or ["test"]
    unknown = [group for group in groups if group not in PACKAGES]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(PACKAGES)}")
    return bring(groups)


if __name__ == "__main__":
    sys.exit(main())
