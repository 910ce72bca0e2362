"""What a node would refuse by its text alone is refused when the volume is created, validated or placed."""

from __future__ import annotations

import grpc
import pytest

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.host import filesystem
from csi_powerflex.model import format_options, mount_options
from csi_powerflex.model.capability import FILESYSTEMS
from csi_powerflex.pb import csi_pb2
from tests.controller.driver import block, mount, refused
from tests.controller.world import World

INVALID = grpc.StatusCode.INVALID_ARGUMENT

FORMATS = [
    ("ext4", "-F"),
    ("ext4", "-L 'unclosed"),
    ("ext4", "/dev/sda"),
    ("ext4", "-J device=/dev/sda"),
    ("ext4", "--unknown"),
    ("ext4", "-d"),
    ("xfs", "-f"),
    ("xfs", "-m"),
    ("xfs", "-l logdev=x"),
    ("btrfs", "--force"),
    ("btrfs", "-r /etc"),
]
MOUNTS = [
    ["ro", "rw"],
    ["ro,rw"],
    ["bind"],
    ["remount"],
    ["noatime", "relatime"],
    ["ro=recursive"],
    ['context="system_u'],
    ["context=a", "context=b"],
    ["X-mount.mkdir"],
    ["loop=/dev/loop0"],
    ["a\nb"],
    ["logdev=/dev/sda"],
]


def mounted(fs_type: str = "ext4", *flags: str) -> csi_pb2.VolumeCapability:
    capability = mount(filesystem=fs_type)
    capability.mount.mount_flags.extend(flags)
    return capability


def format_error(fs_type: str, text: str) -> str:
    with pytest.raises(InvalidArgument) as error:
        format_options.parse(fs_type, text)
    return str(error.value)


def mount_error(flags: list[str]) -> str:
    with pytest.raises(InvalidArgument) as error:
        mount_options.checked(flags)
    return str(error.value)


def capacity(world: World, parameters: dict[str, str], *capabilities: csi_pb2.VolumeCapability) -> int:
    request = csi_pb2.GetCapacityRequest(parameters=parameters, volume_capabilities=capabilities)
    return world.driver.controller.GetCapacity(request, timeout=30).available_capacity


def validated(
    world: World, volume_id: str, capability: csi_pb2.VolumeCapability, **more: dict[str, str]
) -> csi_pb2.ValidateVolumeCapabilitiesResponse:
    request = csi_pb2.ValidateVolumeCapabilitiesRequest(
        volume_id=volume_id,
        volume_capabilities=[capability],
        **more,
    )
    return world.driver.controller.ValidateVolumeCapabilities(request, timeout=30)


@pytest.mark.parametrize(("fs_type", "text"), FORMATS)
def test_options_for_mkfs_that_a_node_refuses_are_refused_early(
    array45: World, fs_type: str, text: str
) -> None:
    said, driver = format_error(fs_type, text), array45.driver
    asked = {"mkfsFormatOption": text}
    assert refused(INVALID, lambda: driver.create(capabilities=[mounted(fs_type)], parameters=asked)) == said
    by_class = asked | {"fstype": fs_type}
    assert refused(INVALID, lambda: driver.create(capabilities=[mounted("")], parameters=by_class)) == said
    assert not array45.array.volumes
    assert refused(INVALID, lambda: capacity(array45, asked, mounted(fs_type))) == said
    assert refused(INVALID, lambda: capacity(array45, by_class, mounted(""))) == said
    volume = driver.create().volume_id
    assert validated(array45, volume, mounted(fs_type), parameters=asked).message == said
    assert validated(array45, volume, mounted(""), parameters=by_class).message == said
    context = {"origin": "empty", "mkfsFormatOption": text, "fstype": fs_type}
    assert validated(array45, volume, mounted(""), volume_context=context).message == said


@pytest.mark.parametrize("flags", MOUNTS)
def test_mount_options_that_a_node_refuses_are_refused_early(array45: World, flags: list[str]) -> None:
    said, driver, wrong = mount_error(flags), array45.driver, mounted("ext4", *flags)
    assert refused(INVALID, lambda: driver.create(capabilities=[wrong])) == said
    assert refused(INVALID, lambda: driver.create(capabilities=[mounted(), wrong])) == said
    assert not array45.array.volumes
    assert refused(INVALID, lambda: capacity(array45, {}, wrong)) == said
    volume = driver.create()
    assert validated(array45, volume.volume_id, wrong).message == said
    assert refused(INVALID, lambda: driver.publish(volume, array45.node("a"), wrong)) == said
    assert not array45.volume(volume.volume_id).mappings
    assert refused(INVALID, lambda: driver.clone("pvc-2", volume.volume_id, capabilities=[wrong])) == said


def test_a_filesystem_of_the_class_that_is_not_supported_is_refused_early(array45: World) -> None:
    ext3 = {"fstype": "ext3"}
    text = refused(INVALID, lambda: array45.driver.create(capabilities=[mounted("")], parameters=ext3))
    assert "'ext3' is not supported" in text
    assert refused(INVALID, lambda: capacity(array45, ext3, mounted(""))) == text
    volume = array45.driver.create().volume_id
    assert validated(array45, volume, mounted(""), parameters=ext3).message == text


def test_a_copy_is_never_formatted_so_its_options_for_mkfs_are_not_refused(array45: World) -> None:
    driver, asked = array45.driver, {"mkfsFormatOption": "-F"}
    source = driver.create().volume_id
    copy = driver.clone("pvc-2", source, parameters=asked)
    assert dict(copy.volume_context) == {"origin": "copy", "mkfsFormatOption": "-F"}
    answer = validated(array45, copy.volume_id, mounted(), volume_context=dict(copy.volume_context))
    assert answer.HasField("confirmed")
    assert validated(array45, copy.volume_id, mounted(), parameters=asked).HasField("confirmed")
    moved = {"origin": "copy", "mkfsFormatOption": "-F"}
    assert validated(array45, source, mounted(), volume_context=moved).HasField("confirmed")
    assert driver.publish(copy, array45.node("a"))


def test_a_block_volume_is_never_formatted_so_its_options_for_mkfs_are_not_refused(array45: World) -> None:
    asked = {"mkfsFormatOption": "-F"}
    assert array45.driver.create(capabilities=[block()], parameters=asked).volume_id
    assert capacity(array45, asked, block()) > 0
    assert capacity(array45, asked) > 0


def test_a_class_that_cannot_be_read_has_no_capacity(array45: World) -> None:
    assert capacity(array45, {"storagePol": "sp1"}, mounted()) == 0


def test_good_options_are_accepted(array45: World) -> None:
    asked = {"mkfsFormatOption": "-b 4096 -E lazy_itable_init=0"}
    good = mounted("ext4", "noatime,nodev", "discard")
    volume = array45.driver.create(capabilities=[good], parameters=asked)
    assert capacity(array45, asked, good) > 0
    assert validated(array45, volume.volume_id, good, parameters=asked).HasField("confirmed")


def test_each_filesystem_has_its_options(array45: World) -> None:
    assert set(format_options.ALLOWED) == set(FILESYSTEMS) == set(filesystem.KINDS)
    with pytest.raises(InvalidArgument, match="'ext3' is not supported"):
        format_options.parse("ext3", "")
