"""Volume handles and node ids, to text and back."""

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given, strategies as st

from csi_powerflex.errors import InvalidArgument, NotFound
from csi_powerflex.ids import NodeIdentity, VolumeHandle, is_object_id

Parsed = TypeVar("Parsed")

object_ids = st.text("0123456789abcdef", min_size=16, max_size=16)
handles = st.builds(VolumeHandle, system_id=object_ids, volume_id=object_ids)
nodes = st.uuids().map(lambda value: NodeIdentity.of_sdc(str(value)))
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
def test_text_that_is_no_handle_names_a_volume_that_does_not_exist(text: str) -> None:
    handle = parsed_or_refused(VolumeHandle.parse, text)
    if isinstance(handle, NotFound):
        assert repr(text) in str(handle)
    else:
        assert str(handle) == text


@given(hostile)
def test_text_that_is_no_node_id_names_a_node_that_does_not_exist(text: str) -> None:
    node = parsed_or_refused(NodeIdentity.parse, text)
    if isinstance(node, NotFound):
        assert repr(text) in str(node)
    else:
        assert str(node).removeprefix("sdc:") == text.removeprefix("sdc:").upper()
        assert text.isascii()


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
def test_near_misses_of_a_handle_are_not_found(text: str) -> None:
    with pytest.raises(NotFound, match="<system id>-<volume id>"):
        VolumeHandle.parse(text)


def test_letters_that_only_become_hexadecimal_in_upper_case_are_refused() -> None:
    guid = "ﬀ345678-1234-1234-1234-123456789ABC"
    assert guid.upper().startswith("FF")
    with pytest.raises(NotFound):
        NodeIdentity.parse(f"sdc:{guid}")
    with pytest.raises(InvalidArgument):
        NodeIdentity.of_sdc(guid)


def test_a_guid_is_taken_in_any_case_and_with_the_space_around_it_that_tools_print() -> None:
    node = NodeIdentity.of_sdc(" 0a1b2c3d-0000-1111-2222-abcdefabcdef\n")
    assert str(node) == "sdc:0A1B2C3D-0000-1111-2222-ABCDEFABCDEF"
    assert NodeIdentity.parse("sdc:0a1b2c3d-0000-1111-2222-abcdefabcdef") == node


@given(st.text())
def test_of_sdc_refuses_what_is_no_guid(text: str) -> None:
    with pytest.raises(InvalidArgument, match="is not the GUID of an SDC"):
        NodeIdentity.of_sdc(text)


@given(object_ids)
def test_sixteen_digits_are_an_object_id(text: str) -> None:
    assert is_object_id(text)


@pytest.mark.parametrize(
    "text", ["", "0123456789abcde", "0123456789abcdefa", "0123456789ABCDEF", "0123456789abcdef\n"]
)
def test_others_are_no_object_id(text: str) -> None:
    assert not is_object_id(text)
