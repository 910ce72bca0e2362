"""Volume handles, node ids and zones as text."""

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given, strategies as st

from csi_powerflex.errors import InvalidArgument, NotFound
from csi_powerflex.ids import (
    MAX_NODE_ID_BYTES,
    Initiator,
    NodeIdentity,
    VolumeHandle,
    is_object_id,
    is_zone,
)

Parsed = TypeVar("Parsed")

object_ids = st.text("0123456789abcdef", min_size=16, max_size=16)
handles = st.builds(VolumeHandle, system_id=object_ids, volume_id=object_ids)
guids = st.uuids().map(lambda value: Initiator.sdc(str(value)))
nqns = st.uuids().map(lambda value: Initiator.nvme(f"nqn.2014-08.org.nvmexpress:uuid:{value}"))
initiators = st.one_of(st.tuples(guids), st.tuples(nqns), st.tuples(guids, nqns), st.tuples(nqns, guids))
nodes = initiators.map(NodeIdentity.of)
hostile = st.one_of(
    st.text(),
    st.text("0123456789abcdefABCDEF-\n:sdcﬀ١", max_size=40),
    handles.map(lambda handle: f"{handle}\n"),
    nodes.map(lambda node: f"{node}\n"),
)


def parsed_or_refused(parse: Callable[[str], Parsed], text: str) -> Parsed | NotFound:
    try:
        return parse(text)
    except NotFound as error:
        return error


@given(handles)
def test_a_handle_reads_back_as_it_was_written(handle: VolumeHandle) -> None:
    assert VolumeHandle.parse(str(handle)) == handle


@given(nodes)
def test_a_node_reads_back_as_it_was_written(node: NodeIdentity) -> None:
    assert NodeIdentity.parse(str(node)) == node


@given(hostile)
def test_an_invalid_handle_is_not_found(text: str) -> None:
    handle = parsed_or_refused(VolumeHandle.parse, text)
    if isinstance(handle, NotFound):
        assert repr(text) in str(handle)
    else:
        assert str(handle) == text


@given(hostile)
def test_an_invalid_node_id_is_not_found(text: str) -> None:
    node = parsed_or_refused(NodeIdentity.parse, text)
    if isinstance(node, NotFound):
        assert repr(text) in str(node)
    else:
        assert NodeIdentity.parse(str(node)) == node
        assert len(str(node).encode()) <= MAX_NODE_ID_BYTES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0123456789abcdef",
        "0123456789abcdef-0123456789ABCDEF",
        "0123456789abcdef-0123456789abcdef-0123456789abcdef",
        "../../../../etc/passwd",
        "a" * 100_000,
    ],
)
def test_almost_valid_handles_are_not_found(text: str) -> None:
    with pytest.raises(NotFound, match="<system id>-<volume id>"):
        VolumeHandle.parse(text)


def test_letters_that_only_become_hexadecimal_in_upper_case_are_refused() -> None:
    guid = "ﬀ345678-1234-1234-1234-123456789ABC"
    assert guid.upper().startswith("FF")
    with pytest.raises(NotFound):
        NodeIdentity.parse(f"sdc:{guid}")
    with pytest.raises(InvalidArgument):
        Initiator.sdc(guid)


GUID = "0A1B2C3D-0000-1111-2222-ABCDEFABCDEF"
NQN = "nqn.2014-08.org.nvmexpress:uuid:4c4c4544-0043-3610-8052-b4c04f4a5631"


def test_a_guid_can_have_any_case_and_spaces_around_it() -> None:
    node = NodeIdentity.of([Initiator.sdc(f" {GUID.lower()}\n")])
    assert str(node) == f"sdc:{GUID}"
    assert NodeIdentity.parse(f"sdc:{GUID.lower()}") == node


def test_a_node_can_have_an_sdc_and_an_nvme_host() -> None:
    node = NodeIdentity.of([Initiator.nvme(NQN), Initiator.sdc(GUID)])
    assert str(node) == f"sdc:{GUID},nqn:{NQN}"
    assert NodeIdentity.parse(f"nqn:{NQN.upper().replace('NQN', 'nqn')},sdc:{GUID}") == node


def test_initiators_of_an_unknown_kind_are_skipped_and_kept_in_the_node_id() -> None:
    node = NodeIdentity.parse(f"iscsi:iqn.1993-08.org.debian:01:abc,sdc:{GUID}")
    assert node.initiators == (Initiator.sdc(GUID),)
    assert node.skipped == ("iscsi:iqn.1993-08.org.debian:01:abc",)
    assert str(node) == f"sdc:{GUID},iscsi:iqn.1993-08.org.debian:01:abc"


@pytest.mark.parametrize(
    "text", [f"sdc:{GUID},sdc:{GUID}", f"sdc:{GUID},nqn:nonsense", "iscsi:x", f"sdc: {GUID}"]
)
def test_a_node_id_with_contradictions_or_without_known_parts_is_not_found(text: str) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        NodeIdentity.parse(text)


def test_a_node_id_that_kubernetes_could_not_store_is_refused() -> None:
    longest = NQN + "x" * (MAX_NODE_ID_BYTES - len(f"sdc:{GUID},nqn:{NQN}"))
    assert len(str(NodeIdentity.of([Initiator.sdc(GUID), Initiator.nvme(longest)]))) == MAX_NODE_ID_BYTES
    with pytest.raises(InvalidArgument, match="Kubernetes takes at most 192"):
        NodeIdentity.of([Initiator.sdc(GUID), Initiator.nvme(longest + "x")])


@given(st.text())
def test_an_invalid_guid_or_nqn_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="is not the GUID of an SDC"):
        Initiator.sdc(text)
    with pytest.raises(InvalidArgument, match="is not an NVMe qualified name"):
        Initiator.nvme(text)


@given(object_ids)
def test_sixteen_digits_are_an_object_id(text: str) -> None:
    assert is_object_id(text)


@pytest.mark.parametrize(
    "text", ["", "0123456789abcde", "0123456789abcdefa", "0123456789ABCDEF", "0123456789abcdef\n"]
)
def test_other_text_is_not_an_object_id(text: str) -> None:
    assert not is_object_id(text)


@pytest.mark.parametrize("text", ["a", "eu-west_1.a", "9", "a" * 63])
def test_a_value_of_a_label_can_be_a_zone(text: str) -> None:
    assert is_zone(text)


@pytest.mark.parametrize("text", ["", "-a", "a-", "a b", "a\n", "ä", "a/b", "a" * 64])
def test_other_text_cannot_be_a_zone(text: str) -> None:
    assert not is_zone(text)
