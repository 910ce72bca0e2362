"""The checks of the node's doctor, except those of its transports.

They read and change nothing. ``essentials`` needs no command and no wait, so the node also does it when it
starts. A check of a mount never touches the filesystem that is mounted: it might not answer.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.config.node import NodeSettings, NodeZone
from csi_powerflex.errors import DriverError
from csi_powerflex.hints import first_of
from csi_powerflex.host import facts, filesystem
from csi_powerflex.host.facts import HostFacts, is_folder
from csi_powerflex.host.mountinfo import Mount
from csi_powerflex.host.run import PACKAGES, installed, missing_tools, run
from csi_powerflex.model.checks import Check, fault, guarded, ok, warning
from csi_powerflex.operations.node import info, target_paths

HOST = "this host"
"""The subject of checks of the whole host."""

_BIND_MOUNTS, _READ_ONLY_BIND_MOUNTS = (5, 2), (5, 12)
_MANIFEST = "run the node's container as the chart does: privileged, as user 0"
_VERSION_SECONDS = 5.0

# What each package has for its version. The option of one tool stands for the package.
_VERSIONS = {
    "mount": ("mount", "--version"),
    "util-linux": ("blkid", "--version"),
    "e2fsprogs": ("mkfs.ext4", "-V"),
    "xfsprogs": ("mkfs.xfs", "-V"),
    "btrfs-progs": ("mkfs.btrfs", "--version"),
}

# What the kubelet keeps of a volume, and its folder for block volumes.
_KEPT, _BLOCK = "vol_data.json", "volumeDevices"

# Why the driver wants each capability, beyond CAP_SYS_ADMIN without which nothing works.
_WANTED = {
    "CAP_DAC_OVERRIDE": "to use folders of other users",
    "CAP_SYS_RESOURCE": "to grow a mounted ext4",
}
_WANTED_ON_DEMAND = {
    "CAP_SYS_CHROOT": "to start the SDC in the host's mount namespace",
    "CAP_SYS_PTRACE": "to enter the host's mount namespace",
}


@dataclass(frozen=True, slots=True)
class HostPaths:
    """Where the checks look.

    Attributes:
        sysfs: the folder where sysfs is mounted.
        multipath: the configuration of multipathd.
    """

    sysfs: Path = Path("/sys")
    multipath: Path = Path("/etc/multipath.conf")


def essentials(settings: NodeSettings, host: HostFacts) -> Iterator[Check]:
    """The checks without which no volume can be mounted."""
    if host.user == 0:
        yield ok("user", HOST, "root")
    else:
        yield fault("user", HOST, f"user {host.user}, who may not mount", _MANIFEST)
    yield from _capabilities(settings, host)
    for root in settings.mount_roots:
        yield from _folder(root, host)
    yield _kernel(host)


def examine(
    settings: NodeSettings, host: HostFacts, *, always_needed: Collection[str], paths: HostPaths = HostPaths()
) -> Iterator[Check]:
    """Every check. One that ends in an unexpected error does not hide the others.

    Args:
        always_needed: the tools that every volume needs.
        paths: where to look.
    """
    steps: tuple[Callable[[], Iterable[Check]], ...] = (
        lambda: essentials(settings, host),
        lambda: _zone(settings.zone),
        lambda: _kubelets(settings.mount_roots[0]),
        lambda: _tools(settings, always_needed),
        lambda: [_multipath(paths)],
        lambda: [_clock()],
        lambda: [_leftover_mounts(settings, host)],
    )
    for step in steps:
        yield from guarded(HOST, step)


def _zone(zone: NodeZone) -> Iterator[Check]:
    """The zone that the node tells when it registers. A node without the options has none to check."""
    if zone.name is None and zone.file is None:
        return
    try:
        yield ok("zone", HOST, info.zone_of(zone) or "none")
    except DriverError as error:
        remedy = "without a zone the node does not register; set the label, then restart the node's pod"
        yield fault("zone", HOST, str(error), remedy)


# --- privileges, folders, kernel -------------------------------------------------------------------


def _capabilities(settings: NodeSettings, host: HostFacts) -> Iterator[Check]:
    wanted = _WANTED | (_WANTED_ON_DEMAND if settings.sdc.on_demand is not None else {})
    if "CAP_SYS_ADMIN" not in host.capabilities:
        yield fault("capabilities", HOST, "CAP_SYS_ADMIN is missing: no volume can be mounted", _MANIFEST)
    lacking = [f"{name} ({why})" for name, why in wanted.items() if name not in host.capabilities]
    if lacking:
        yield warning("capabilities", HOST, f"missing: {', '.join(lacking)}", _MANIFEST)
    elif "CAP_SYS_ADMIN" in host.capabilities:
        yield ok("capabilities", HOST, "all that the driver uses")


def _folder(root: Path, host: HostFacts) -> Iterator[Check]:
    """The kubelet's folder, or another one below which volumes may be mounted."""
    if not is_folder(root):
        remedy = "correct --kubelet-dir (the chart's kubeletDir), or mount that folder into the container"
        yield fault("kubelet folder", str(root), "there is no such folder", remedy)
        return
    if not os.access(root, os.W_OK | os.X_OK):
        remedy = "mount it without readOnly, and run the driver as root"
        yield fault("kubelet folder", str(root), "it cannot be written", remedy)
    else:
        yield ok("kubelet folder", str(root), "it can be written")
    mount = host.mount_of(root)
    if mount is not None and not mount.peers:
        text = f"the mount at {mount.point} is not shared, so pods do not see what is mounted below it"
        remedy = (
            "in a container, set mountPropagation: Bidirectional for the folder; on the host, run "
            f"mount --make-rshared {mount.point}"
        )
        yield fault("mount propagation", str(root), text, remedy)
    else:
        yield ok("mount propagation", str(root), "shared")


def _kubelets(root: Path) -> Iterator[Check]:
    """Whether the folder is really the kubelet's. On some distributions an unused one exists too."""
    if is_folder(root) and os.access(root, os.X_OK) and not is_folder(root / "pods"):
        text = "it has no folder pods, so it may not be the one that the kubelet uses"
        remedy = "give the value of the kubelet's option --root-dir as --kubelet-dir (the chart's kubeletDir)"
        yield warning("kubelet folder", str(root), text, remedy)


def _kernel(host: HostFacts) -> Check:
    version = host.kernel_version
    if version is None:
        text = f"Linux {host.kernel}; its version cannot be read"
        return warning("kernel", HOST, text, "check that it is 5.12 or newer")
    if version < _BIND_MOUNTS:
        text = f"Linux {host.kernel}, which cannot mount volumes into pods as the driver does"
        return fault("kernel", HOST, text, "update it to 5.12 or newer")
    if version < _READ_ONLY_BIND_MOUNTS:
        text = f"Linux {host.kernel}, which cannot mount a volume read-only into a pod as the driver does"
        return warning("kernel", HOST, text, "update it to 5.12 or newer")
    return ok("kernel", HOST, f"Linux {host.kernel}")


# --- tools -----------------------------------------------------------------------------------------


def _tools(settings: NodeSettings, always_needed: Collection[str]) -> Iterator[Check]:
    install = "install the package on the host, or in the image where the driver runs in a container"
    missing = missing_tools(always_needed)
    if missing:
        yield fault("tools", HOST, f"missing, and every volume needs it: {', '.join(missing)}", install)
    for kind in filesystem.KINDS.values():
        missing = missing_tools(kind.tools)
        if missing:
            yield warning("tools", HOST, f"{kind.name} cannot be used without {', '.join(missing)}", install)
    on_demand = settings.sdc.on_demand
    if on_demand is not None and on_demand.mount_namespace is not None and missing_tools(["nsenter"]):
        yield fault("tools", HOST, "nsenter is missing, which --host-mount-namespace needs", install)
    for package, command in _VERSIONS.items():
        if installed(command[0]):
            present = [tool for tool, of in PACKAGES.items() if of == package and installed(tool)]
            yield ok("tools", HOST, f"{package} {_version(command)} ({', '.join(present)})")


def _version(command: Sequence[str]) -> str:
    """The version that the tool prints, or why it prints none."""
    try:
        completed = run(command, cap=_VERSION_SECONDS, accept=range(256))
    except DriverError as error:
        return str(error)
    match = re.search(r"\d+\.\d[\w.]*", completed.stdout + completed.stderr)
    return match[0] if match else "of an unknown version"


# --- multipath, clock ------------------------------------------------------------------------------


def _multipath(paths: HostPaths) -> Check:
    taken = sorted(
        f"{device.name} ({holder.name})"
        for device in (paths.sysfs / "block").glob("scini*")
        for holder in (device / "holders").glob("dm-*")
        if _text(paths.sysfs / "block" / holder.name / "dm" / "uuid").startswith("mpath-")
    )
    remedy = "blacklist scini in multipath.conf on the host, then run multipath -f for these maps"
    if taken:
        return fault("multipath", HOST, f"multipathd has taken {first_of(taken)}", remedy)
    configuration = _text(paths.multipath)
    if configuration and "scini" not in configuration:
        text = f"{paths.multipath} does not name scini, so multipathd may take the volumes' devices"
        return warning("multipath", HOST, text, 'blacklist scini there: devnode "^scini[a-z]*"')
    return ok("multipath", HOST, "it has no device of a volume")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _clock() -> Check:
    if facts.clock_is_synchronized() is False:
        remedy = "start a time service on the host, such as chrony: certificates and logs need the right time"
        return warning("clock", HOST, "the kernel says that no time service keeps its clock", remedy)
    return ok("clock", HOST, "kept by a time service, as far as the kernel tells")


# --- leftovers -------------------------------------------------------------------------------------


def _leftover_mounts(settings: NodeSettings, host: HostFacts) -> Check:
    dead = [
        mount.point
        for mount in host.mounts
        if target_paths.inside(mount, settings.mount_roots)
        and _is_own(mount, settings.driver_name)
        and not target_paths.alive(mount)
    ]
    if dead:
        remedy = "end the pods that use them; if none does, unmount them: umount --lazy"
        return warning("leftover mounts", HOST, f"without a device: {first_of(dead)}", remedy)
    return ok("leftover mounts", HOST, "none")


def _is_own(mount: Mount, driver_name: str) -> bool:
    """Whether this driver mounted it. The driver's name is in a staging path.

    For other paths, the kubelet keeps the name in a file: next to the target path, or for a block volume in
    the volume's own folder below ``volumeDevices``.
    """
    point = Path(mount.point)
    if driver_name in point.parts:
        return True
    files = [point.parent / _KEPT]
    if _BLOCK in point.parts:
        begin = point.parts.index(_BLOCK) + 1
        folder = Path(*point.parts[:begin])
        files += [folder / name / "data" / _KEPT for name in point.parts[begin:]]
    return any(_driver_in(file) == driver_name for file in files)


def _driver_in(file: Path) -> str | None:
    try:
        content = json.loads(_text(file) or "{}")
    except ValueError:
        return None
    found = content.get("driverName") if isinstance(content, dict) else None
    return found if isinstance(found, str) else None
