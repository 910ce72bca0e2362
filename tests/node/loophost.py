"""A host with a simulated SDC: loop devices with the links and the tool of a real SDC."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csi_powerflex.config.node import SdcSettings
from csi_powerflex.host import mountinfo
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.units import GIB, MIB
from tests.commands import output_of

SYSTEM = "5a1b2c3d4e5f600f"
GUID = "B0E3BFB8-C20B-43BF-93C8-13339E85AA50"

# The tool needs the kernel module. It registers with a system when it gets one of its addresses.
_DRV_CFG = """#!/bin/sh
here=$(dirname "$0")
echo "$@" >> "$here/calls"
if [ -e "$here/stopped" ]; then echo "cannot open /dev/scini" >&2; exit 1; fi

registration() {
    id=0000000000000000 number=0 list=
    for address in "$@"; do
        if [ -e "$here/at/$address" ]; then id=$(cat "$here/at/$address"); fi
        list="$list [$number]-$address" number=$((number + 1))
    done
    echo "MDM-ID $id SDC ID 6b18479c00000003 INSTALLATION ID 68ab55462cbb3ae4 IPs$list"
}

case "$1" in
--query_guid) cat "$here/guid" ;;
--query_mdms) cat "$here/mdms" ;;
--query_block_device_id)
    read -r file < /sys/block/$(basename "$3")/loop/backing_file
    file=$(basename "$file") && echo "$(cat "$here/system")-${file%.img}" ;;
--rescan) test ! -e "$here/on_rescan" || sh "$here/on_rescan" ;;
--add_mdm) registration $(echo "$3" | tr , ' ') >> "$here/mdms" ;;
--mod_mdm_ip)
    grep --invert-match --word-regexp --fixed-strings -e "-$3" "$here/mdms" > "$here/mdms.new"
    registration $(echo "$5" | tr , ' ') >> "$here/mdms.new"
    mv "$here/mdms.new" "$here/mdms" ;;
*) echo "unknown: $1" >&2; exit 1 ;;
esac
"""

_SYSTEMCTL = """#!/bin/sh
here=$(dirname "$0")
echo "systemctl $@" >> "$here/calls"
case "$1 $2" in
"is-active scini")
    if [ -e "$here/no-unit" ]; then exit 4; fi
    if [ -e "$here/stopped" ] || [ -e "$here/inactive" ]; then echo inactive; exit 3; fi
    echo active ;;
"start scini")
    if [ -e "$here/broken" ]; then echo "Job for scini.service failed" >&2; exit $(cat "$here/broken"); fi
    rm "$here/stopped" ;;
*) exit 1 ;;
esac
"""


def command(*words: object) -> str:
    """Run a command of the host; returns its output."""
    return output_of([str(word) for word in words])


@dataclass
class Volume:
    """A volume of the array: a sparse file, and a loop device on this host while it is mapped."""

    handle: VolumeHandle
    image: Path
    by_id: Path
    size: int
    device: Path | None = None

    def publish_context(self, *, read_only: bool = False) -> PublishContext:
        """The publish context that the controller returns for the volume."""
        return PublishContext(self.handle, "sdc", self.size, read_only=read_only)

    @property
    def link(self) -> Path:
        return self.by_id / f"emc-vol-{self.handle.system_id}-{self.handle.volume_id}"

    @property
    def path(self) -> Path:
        assert self.device is not None, "the volume is not mapped"
        return self.device

    def connect(self) -> Path:
        """The device without its link."""
        self.device = Path(command("losetup", "--find", "--show", self.image))
        # The kernel keeps the read-only flag of a loop device for its next use. A new mapping is writable.
        command("blockdev", "--setrw", self.device)
        return self.device

    def map(self) -> Path:
        """Do what a mapping does on the host: create the device, then its link."""
        device = self.connect()
        self.link.symlink_to(device)
        return device

    def unmap(self) -> None:
        """Do what an unmapping does. A device in use is removed when its last user closes it."""
        self.link.unlink(missing_ok=True)
        if self.device is not None:
            command("losetup", "--detach", self.device)
            self.device = None

    def flush(self) -> None:
        """Write cached data of the device to the image.

        This happens when the last program closes the device. Another test may have it open for a short time,
        because mkfs.btrfs reads every block device of the machine.
        """
        for path in (self.path, self.image):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def write(self, offset: int, data: bytes) -> None:
        """Write to the volume as another program would."""
        with self.path.open("r+b") as device:
            device.seek(offset)
            device.write(data)
        self.flush()

    def read_end(self) -> bytes:
        """The last 4 MiB of the volume."""
        with self.image.open("rb") as image:
            image.seek(-4 * MIB, 2)
            return image.read()

    def grow(self, size: int) -> None:
        """Do what an expansion at the array does."""
        self.size = size
        with self.image.open("r+b") as file:
            file.truncate(size)
        if self.device is not None:
            command("losetup", "--set-capacity", self.device)


@dataclass
class LoopHost:
    """One host: the folders of its SDC and its kubelet, and its volumes."""

    folder: Path
    volumes: list[Volume] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        for path in (self.by_id, self.kubelet, self.sdc):
            path.mkdir(parents=True)
        for tool, script in ((self.drv_cfg, _DRV_CFG), (self.systemctl, _SYSTEMCTL)):
            tool.write_text(script)
            tool.chmod(0o755)
        (self.sdc / "guid").write_text(f"{GUID}\n")
        (self.sdc / "system").write_text(SYSTEM)
        self.know_systems(SYSTEM)

    @property
    def by_id(self) -> Path:
        return self.folder / "by-id"

    @property
    def kubelet(self) -> Path:
        return self.folder / "kubelet"

    @property
    def sdc(self) -> Path:
        return self.folder / "sdc"

    @property
    def drv_cfg(self) -> Path:
        return self.sdc / "drv_cfg"

    @property
    def systemctl(self) -> Path:
        return self.sdc / "systemctl"

    def stop_sdc(self) -> None:
        """Stop the SDC, as after the start of a host where nothing starts it."""
        (self.sdc / "stopped").touch()

    def serve_system(self, system: str, *addresses: str) -> None:
        """Let the SDC reach a system at these addresses when it gets one of them."""
        (self.sdc / "at").mkdir(exist_ok=True)
        for address in addresses:
            (self.sdc / "at" / address).write_text(system)

    def settings(self, *, device_seconds: float = 5.0, **more: Any) -> SdcSettings:
        """The driver's settings for this SDC, which has no kernel module."""
        return SdcSettings(
            drv_cfg=self.drv_cfg,
            control_device=self.sdc / "scini",
            by_id=self.by_id,
            device_seconds=device_seconds,
            **more,
        )

    def know_systems(self, *systems: str) -> None:
        """Set the systems with which the SDC is registered."""
        lines = [f"Retrieved {len(systems)} mdm(s)"] + [
            f"MDM-ID {system} SDC ID 6b18479c0000000{number} INSTALLATION ID 68ab55462cbb3ae4 IPs "
            f"[0]-192.0.2.1"
            for number, system in enumerate(systems)
        ]
        (self.sdc / "mdms").write_text("\n".join(lines) + "\n")

    def on_rescan(self, script: str) -> None:
        """Let the next rescans run a shell script."""
        (self.sdc / "on_rescan").write_text(script)

    def calls(self) -> list[str]:
        """The arguments of all calls of the SDC's tool so far."""
        file = self.sdc / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def volume(self, *, size: int = 8 * GIB, mapped: bool = True) -> Volume:
        """A new volume, mapped to this host."""
        number = next(self._numbers)
        handle = VolumeHandle(system_id=SYSTEM, volume_id=f"b1f0c2d4{number:08x}")
        image = self.folder / f"{handle.volume_id}.img"
        with image.open("wb") as file:
            file.truncate(size)
        volume = Volume(handle=handle, image=image, by_id=self.by_id, size=size)
        self.volumes.append(volume)
        if mapped:
            volume.map()
        return volume

    def copy(self, source: Volume, *, size: int | None = None) -> Volume:
        """A snapshot or clone: a volume with the present data of ``source`` on the array."""
        if source.device is not None:
            source.flush()
        volume = self.volume(size=size or source.size, mapped=False)
        command("cp", "--sparse=always", source.image, volume.image)
        volume.grow(volume.size)
        volume.map()
        return volume

    def mounts(self) -> list[mountinfo.Mount]:
        """The mounts below the host's folder. Other programs may have other mounts on this machine."""
        return [mount for mount in mountinfo.read() if Path(mount.point).is_relative_to(self.folder)]

    def close(self) -> None:
        """Remove all devices and wait until they are removed."""
        images = {str(volume.image) for volume in self.volumes}
        for volume in self.volumes:
            volume.unmap()
        until = time.monotonic() + 5
        while left := [line for line in command("losetup", "--list", "--noheadings", "--output", "BACK-FILE")
                       .splitlines() if line.removesuffix(" (deleted)") in images]:  # fmt: skip
            assert time.monotonic() < until, f"loop devices still in use: {left}"
            time.sleep(0.01)
