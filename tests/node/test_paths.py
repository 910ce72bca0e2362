"""Staging and target paths: which are allowed, and how they are created."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.host import mountinfo
from csi_powerflex.operations.node import target_paths
from csi_powerflex.units import GIB
from tests.node.client import Kubelet, block, refused
from tests.node.loophost import LoopHost

pytestmark = pytest.mark.needs("devices")

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("path", ["relative/path", "/etc/ssh", "/var/lib/kubelet-of-another"])
def test_a_path_outside_of_the_folder_of_the_kubelet_is_refused(
    host: LoopHost, node: Kubelet, path: str
) -> None:
    volume = host.volume()
    with refused(INVALID, path):
        node.stage(volume, path=Path(path))
    node.stage(volume)
    with refused(INVALID, path):
        node.publish(volume, target=Path(path))
    with refused(INVALID, path):
        node.unpublish(volume, target=Path(path))


def test_a_path_with_parent_references_is_refused(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    with refused(INVALID, "not a plain absolute path"):
        node.publish(volume, target=host.kubelet / "pods" / ".." / ".." / "elsewhere")


def test_a_symbolic_link_is_not_followed(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    outside = host.folder / "outside"
    outside.mkdir()
    (host.kubelet / "link").symlink_to(outside)
    for target in (host.kubelet / "link", host.kubelet / "link" / "mount"):
        with refused(INVALID, host.kubelet / "link", "symbolic link"):
            node.publish(volume, target=target)
        with refused(INVALID, "symbolic link"):
            node.unpublish(volume, target=target)
    assert list(outside.iterdir()) == []


def test_the_folder_of_the_kubelet_can_be_a_link(host: LoopHost, node: Kubelet) -> None:
    """If /var/lib/kubelet is a link to a larger disk, the kubelet and the operator use the link."""
    linked = host.folder / "linked"
    host.kubelet.rename(linked)
    host.kubelet.symlink_to(linked)
    volume = host.volume()
    node.stage(volume)
    before = host.mounts()
    target = node.publish(volume)
    (target / "file").write_text("works")
    node.stage(volume)
    node.publish(volume)
    # The kernel has the real path. Calls with either path find the mount.
    assert [mount.point for mount in host.mounts()] == [
        *(mount.point for mount in before),
        str(linked / target.relative_to(host.kubelet)),
    ]
    assert node.capacity(volume) > 7 * GIB
    with refused(PRECONDITION, "still published"):
        node.unstage(volume)
    volume.grow(16 * GIB)
    node.unpublish(volume)
    node.unstage(volume)
    assert host.mounts() == []
    outside = host.folder / "outside"
    outside.mkdir()
    (linked / "link").symlink_to(outside)
    with refused(INVALID, linked / "link", "symbolic link"):
        node.stage(volume, path=host.kubelet / "link" / "staging")


def test_the_real_path_of_a_linked_folder_of_the_kubelet_can_be_used_too(
    host: LoopHost, node: Kubelet
) -> None:
    linked = host.folder / "linked"
    host.kubelet.rename(linked)
    host.kubelet.symlink_to(linked)
    volume = host.volume()
    staging = node.stage(volume)
    node.stage(volume, path=linked / staging.relative_to(host.kubelet))
    target = node.publish(volume)
    node.unpublish(volume, target=linked / target.relative_to(host.kubelet))
    assert not target.exists()


def test_a_target_of_the_wrong_type_is_refused(host: LoopHost, node: Kubelet) -> None:
    as_filesystem, as_block = host.volume(), host.volume()
    node.stage(as_filesystem)
    node.target(as_filesystem).write_text("")
    with refused(PRECONDITION, "not a folder"):
        node.publish(as_filesystem)
    node.stage(as_block, block())
    node.target(as_block).mkdir()
    with refused(PRECONDITION, "not an empty file"):
        node.publish(as_block, block())


@pytest.mark.parametrize("make", [target_paths.make_directory, target_paths.make_file])
def test_a_path_without_its_parent_cannot_be_created(host: LoopHost, make: Callable[[Path], None]) -> None:
    with pytest.raises(FailedPrecondition, match="cannot be created: No such file or directory"):
        make(host.kubelet / "missing" / "path")


def test_a_path_that_exists_is_used_unchanged(host: LoopHost) -> None:
    folder, file, full = host.kubelet / "folder", host.kubelet / "file", host.kubelet / "full"
    full.write_text("content")
    for _ in range(2):
        target_paths.make_directory(folder)
        target_paths.make_file(file)
    for make, path in (
        (target_paths.make_directory, file),
        (target_paths.make_file, folder),
        (target_paths.make_file, full),
    ):
        with pytest.raises(FailedPrecondition, match="exists and is not"):
            make(path)
    assert full.read_text() == "content"


def test_a_path_with_spaces_and_backslashes_is_found_in_the_mount_table(
    host: LoopHost, node: Kubelet
) -> None:
    volume, path = host.volume(), host.kubelet / "two words\\040and more"
    path.mkdir()
    node.stage(volume, path=path)
    assert mountinfo.at(path) is not None
    node.unstage(volume, path=path)
    assert mountinfo.at(path) is None


@pytest.mark.parametrize("character", ["\x0b", "\x0c", "\r", "\x1c", "\x85", "\u2028"], ids=ascii)
def test_a_path_with_a_character_similar_to_a_line_end_is_found_in_the_mount_table(
    host: LoopHost, node: Kubelet, character: str
) -> None:
    volume = host.volume()
    path = host.kubelet / f"odd{character}name"
    path.mkdir()
    node.stage(volume, path=path)
    mounted = mountinfo.at(path)
    assert mounted is not None
    assert mountinfo.is_of(mounted, volume.path)
    node.unstage(volume, path=path)
    assert mountinfo.at(path) is None
