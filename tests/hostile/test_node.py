"""Any request to the node: it has a defined code, the node runs, and changes nothing outside of its paths."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from hypothesis import given

from csi_powerflex.host import mountinfo
from csi_powerflex.pb import csi_pb2
from tests.figures import Figures
from tests.hostile.calls import NOT_NOW, PROPER, Caller, Tried
from tests.hostile.inputs import with_examples
from tests.hostile.messages import Known, complete, methods, requests
from tests.node.client import block, filesystem
from tests.node.loophost import LoopHost, Volume
from tests.node.namespaces import own_mounts, umount
from tests.node.process import NodeProcess

pytestmark = pytest.mark.needs("devices")

METHODS = [method for service in ("Identity", "Node") for method in methods(service)]
_MIB = 1024 * 1024
_SMALL = 320 * _MIB
_FOREIGN = b"not a filesystem, but the data of another program" * 1000


@dataclass
class Trap:
    """A host, and a folder next to that of the kubelet. Links lead there, but the node must not change it."""

    host: LoopHost
    outside: Path
    empty: Volume
    used: Volume
    foreign: Volume
    absent: Volume

    def state(self) -> dict[str, str]:
        """All that must not change: the folder outside, its mounts, and the data of another program."""
        found = {str(path): _facts(path) for path in [self.outside, *self.outside.rglob("*")]}
        with self.foreign.image.open("rb") as image:
            found["foreign"] = hashlib.sha256(image.read(_MIB)).hexdigest()
        # A sparse file takes more space after a write at any other offset.
        found["foreign's blocks"] = str(self.foreign.image.stat().st_blocks)
        found["etc"] = " ".join(sorted(path.name for path in Path("/etc").iterdir()))
        found["root"] = " ".join(sorted(path.name for path in Path("/").iterdir()))
        kubelet = str(self.host.kubelet.resolve())
        mounts = [f"{mount}" for mount in mountinfo.read() if not mount.point.startswith(f"{kubelet}/")]
        return found | {"mounts": "\n".join(mounts)}


def _facts(path: Path) -> str:
    status = path.lstat()
    content = path.read_bytes() if path.is_file() else b""
    return f"{status.st_mode:o} {status.st_uid} {status.st_mtime_ns} {content!r}"


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trap]:
    folder = tmp_path_factory.mktemp("trap")
    host = LoopHost(folder / "host")
    try:
        with own_mounts():
            outside = folder / "outside"
            (outside / "empty").mkdir(parents=True)
            (outside / "full").mkdir()
            (outside / "full" / "file").write_text("content")
            (outside / "empty-file").touch()
            volumes = [host.volume(size=_SMALL) for _ in range(3)]
            with volumes[2].path.open("r+b") as device:
                device.write(_FOREIGN)
                device.flush()
                os.fsync(device.fileno())
            trap = Trap(host, outside, volumes[0], volumes[1], volumes[2], host.volume(mapped=False))
            (host.kubelet / "link").symlink_to(outside)
            (host.kubelet / "link-to-file").symlink_to(outside / "empty-file")
            yield trap
    finally:
        host.close()


@pytest.fixture(scope="module")
def process(trap: Trap) -> Iterator[NodeProcess]:
    with NodeProcess(trap.host, options=["--device-timeout", 1, "--log-level", "debug"]) as process:
        yield process


@pytest.fixture(scope="module")
def known(trap: Trap, process: NodeProcess) -> Known:
    """Valid and dangerous volumes, paths and contexts."""
    kubelet, outside = process.kubelet, trap.outside
    volumes = [trap.empty, trap.used, trap.foreign]
    staging = [str(kubelet.staging(volume)) for volume in volumes]
    target = [str(kubelet.target(volume)) for volume in volumes]
    root = str(trap.host.kubelet)
    hostile = [
        root, f"{root}/", f"{root}/..", f"{root}/../outside/empty", f"{root}/pods/../../outside/empty",
        f"{root}/link/empty", f"{root}/link", f"{root}/link-to-file", f"{root}/./pods", f"{root}//pods//x",
        str(outside / "empty"), str(outside / "empty-file"), f"{root}\0/x", f"{root}/a\nb", f"{root}/a\x0bb",
        f"{root}/a\x85b", f"{root}/a\u2028b", f"{root}/a\rb", f"{root}/a b", f"{root}/a\\040b",
        f"{root}/{'n' * 300}",
        f"{root}/{'d/' * 3000}", f"/proc/self/root{root}/x", "/", "/etc", "/dev/null", "relative", "-o",
        f"{root}/-o",
    ]  # fmt: skip
    ids = [str(volume.handle) for volume in volumes]
    system = trap.empty.handle.system_id
    context = trap.empty.publish_context().to_dict()
    return Known(
        texts={
            "volume_id": [*ids, *ids, f"{system}-../../../etc", f"../{ids[0]}", ids[0].upper()],
            "staging_target_path": [*staging, *staging, *hostile],
            "target_path": [*target, *target, *hostile],
            "volume_path": [*target, *staging, *hostile],
            "fs_type": ["ext4", "xfs", "btrfs", "", "vfat", "ext4,remount", "auto", "overlay", "-t"],
            "mount_flags": [
                "noatime", "ro", "remount", "bind", "rbind", "loop=/dev/loop0", "X-mount.mkdir=/tmp/x", 'a"',
                'x",remount,bind,"', 'context="a,bind"', "device=/dev/null", "logdev=/dev/null", "\0", "a\nb",
                "-o", "move", "user_xattr", "ro=recursive", "rw=recursive", "defaults", "uhelper=x",
                "helper=/bin/sh",
            ],
        },
        keys={
            **{key: [value, value, "x"] for key, value in context.items()},
            "origin": ["empty", "copy", "empty", "other"],
            "fstype": ["ext4", "xfs", "none"],
            "deleteAfter": ["0", "24h", "soon"],
            "snapshotPolicy": ["hourly", "none", ""],
            "deletePolicySnapshots": ["true", "perhaps"],
            "mkfsFormatOption": [
                "-m 1", "-F", "-F -F", "-J device=/dev/null", "-J device=LABEL=x", "-d name=/etc/passwd,file",
                "-d file=1", "-l logdev=vmlinuz", "--rootdir=/etc", "-r /etc", "-d /etc", "; reboot",
                "$(reboot)",
                "'", "-E offset=1", "--", "-- /dev/null", "/dev/null", "-c options=/etc/passwd",
                "-p /etc/passwd",
                "-L \0", "-L a\nb", "-z /etc/undo", "-l /etc/passwd", "-n", "-V", "-S", "-f", "--force",
            ],
        },
        right=_right(trap, process),
    )  # fmt: skip


def _right(trap: Trap, process: NodeProcess) -> dict[str, list[Message]]:
    kubelet = process.kubelet
    right: dict[str, list[Message]] = {}
    for volume in (trap.empty, trap.used):
        staging, target, handle = (
            str(kubelet.staging(volume)),
            str(kubelet.target(volume)),
            str(volume.handle),
        )
        context = {"origin": "empty"}
        messages: list[Message] = [
            csi_pb2.NodeUnstageVolumeRequest(volume_id=handle, staging_target_path=staging),
            csi_pb2.NodeUnpublishVolumeRequest(volume_id=handle, target_path=target),
            csi_pb2.NodeGetVolumeStatsRequest(volume_id=handle, volume_path=target),
            csi_pb2.NodeGetVolumeHealthRequest(volume_id=handle),
            csi_pb2.NodeExpandVolumeRequest(
                volume_id=handle, volume_path=target, staging_target_path=staging
            ),
        ]
        for capability in (filesystem(), filesystem("xfs"), block()):
            messages += [
                csi_pb2.NodeStageVolumeRequest(
                    volume_id=handle,
                    publish_context=volume.publish_context().to_dict(),
                    staging_target_path=staging,
                    volume_capability=capability,
                    volume_context=context,
                ),
                csi_pb2.NodePublishVolumeRequest(
                    volume_id=handle,
                    publish_context=volume.publish_context().to_dict(),
                    staging_target_path=staging,
                    target_path=target,
                    volume_capability=capability,
                    volume_context=context,
                ),
            ]
        for message in messages:
            right.setdefault(type(message).__name__.removesuffix("Request"), []).append(message)
    return right


@pytest.fixture(scope="module")
def caller(process: NodeProcess) -> Caller:
    return Caller(process._channel, seconds=4)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_request_has_a_defined_code_and_changes_nothing_outside(
    method: MethodDescriptor,
    trap: Trap,
    caller: Caller,
    known: Known,
    process: NodeProcess,
    figures: Figures,
) -> None:
    done, before = Tried(), trap.state()

    def hold(request: Message) -> None:
        code, detail = caller.call(method, request, done)
        assert code in PROPER | NOT_NOW, f"{code.name}: {detail}"
        assert "unexpected" not in detail, detail
        assert trap.state() == before
        assert caller.is_alive()

    for request in complete(method, known):
        hold(request)
    with_examples(100)(given(request=requests(method, known))(hold))()
    assert process.process.poll() is None
    assert not done.missing(method)
    figures.add("hostile requests", done.codes.total())


@pytest.fixture(autouse=True)
def volume_in_use(trap: Trap, process: NodeProcess) -> Iterator[None]:
    """One volume is in use during each test. After it another volume can be used from beginning to end."""
    kubelet = process.kubelet
    kubelet.stage(trap.used)
    kubelet.publish(trap.used)
    yield
    for volume in (trap.empty, trap.used):
        for mount in reversed(mountinfo.of_device(volume.path)):
            umount(mount.point)
    volume = trap.host.volume(size=_SMALL)
    kubelet.stage(volume)
    kubelet.publish(volume)
    (kubelet.target(volume) / "file").write_text("content")
    kubelet.unpublish(volume)
    kubelet.unstage(volume)
    volume.unmap()
