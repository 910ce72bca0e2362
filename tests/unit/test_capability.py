"""What a volume can be used for."""

import pytest

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.model.array import Access
from csi_powerflex.model.capability import FILESYSTEMS, AccessMode, Capability, Filesystem, RawBlock
from csi_powerflex.pb import csi_pb2

SHARED_WRITERS = (AccessMode.MULTI_NODE_SINGLE_WRITER, AccessMode.MULTI_NODE_MULTI_WRITER)


def test_the_access_modes_are_those_of_csi() -> None:
    known = set(csi_pb2.VolumeCapability.AccessMode.Mode.keys()) - {"UNKNOWN"}
    assert {mode.name for mode in AccessMode} == known


@pytest.mark.parametrize("mode", AccessMode)
def test_only_modes_of_several_nodes_are_shared_and_only_readers_read_only(mode: AccessMode) -> None:
    assert mode.shared == ("MULTI_NODE" in mode.name)
    assert (mode.access is Access.READ_ONLY) == ("READER" in mode.name)


@pytest.mark.parametrize("mode", AccessMode)
def test_a_raw_block_volume_can_be_used_in_every_mode(mode: AccessMode) -> None:
    Capability(RawBlock(), mode).check()


@pytest.mark.parametrize("type_", FILESYSTEMS)
@pytest.mark.parametrize("mode", [mode for mode in AccessMode if mode not in SHARED_WRITERS])
def test_a_filesystem_can_be_used_where_one_node_writes(type_: str, mode: AccessMode) -> None:
    Capability(Filesystem(type_), mode).check()


@pytest.mark.parametrize("mode", SHARED_WRITERS)
def test_a_filesystem_for_several_writing_nodes_is_refused_with_an_alternative(mode: AccessMode) -> None:
    with pytest.raises(InvalidArgument, match=f"{mode.name}.*destroys.*volumeMode: Block"):
        Capability(Filesystem("ext4"), mode).check()


def test_an_unknown_filesystem_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidArgument, match="'ntfs' is not supported; use one of ext4, xfs"):
        Capability(Filesystem("ntfs"), AccessMode.SINGLE_NODE_WRITER).check()
