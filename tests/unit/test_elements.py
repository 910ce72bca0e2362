"""Lists that are decoded while they are read."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from csi_powerflex.gateway import elements
from csi_powerflex.gateway.elements import Elements, end_of_last_object
from csi_powerflex.gateway.payloads import UNREADABLE


class Thing(msgspec.Struct):
    """An object of a list, with a nested object and nested lists."""

    id: int
    text: str = ""
    inner: tuple[dict[str, Any], ...] = ()


def read(body: bytes, size: int) -> list[Thing]:
    """Read a body in parts of ``size`` bytes."""
    reader = Elements(Thing, lambda batch: batch, max_bytes=2**30)
    for start in range(0, len(body), size):
        if not reader.add(body[start : start + size]):
            break
    return reader.finish()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab"\\{}[],: \n'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('k"{}[]\\'), inner, max_size=3),
    max_leaves=8,
)
THINGS = st.lists(
    st.fixed_dictionaries(
        {"id": st.integers(-(2**60), 2**60)},
        optional={
            "text": st.text('ab"\\{}[],: \n'),
            "inner": st.lists(st.dictionaries(st.text('k"{}[]\\'), JSON, max_size=3), max_size=3),
            "unknown": JSON,
        },
    ),
    max_size=6,
)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " : ")])


@settings(deadline=None, max_examples=100)
@given(
    things=THINGS, separators=SEPARATORS, blank=st.sampled_from(["", " ", "\r\n\t"]), size=st.integers(1, 70)
)
def test_a_list_in_parts_of_any_size_is_what_the_decoder_finds_in_the_whole(
    things: list[dict[str, Any]], separators: tuple[str, str], blank: str, size: int
) -> None:
    body = (blank + json.dumps(things, separators=separators) + blank).encode()
    assert read(body, size) == msgspec.json.decode(body, type=list[Thing])


@settings(deadline=None, max_examples=200)
@given(things=THINGS, data=st.data())
def test_a_changed_body_is_refused_exactly_if_the_decoder_refuses_the_whole(
    things: list[dict[str, Any]], data: st.DataObject
) -> None:
    body = bytearray(json.dumps(things).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body)))
        body[place : place + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"", b",", b"]", b"[", b"{", b"}", b'"', b"\\", b" ", b"0", b"{}", b"[]"])
        )
    size = data.draw(st.integers(1, 70))
    try:
        whole = msgspec.json.decode(body, type=list[Thing], strict=False)
    except UNREADABLE:
        with pytest.raises(UNREADABLE):
            read(bytes(body), size)
    else:
        assert read(bytes(body), size) == whole


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"[",
        b"{}",
        b"null",
        b"<html></html>",
        b'{"id":1}',
        b'[{"id":1}',
        b'[{"id":1},',
        b'[{"id":1},]',
        b'[,{"id":1}]',
        b'[{"id":1} {"id":2}]',
        b'[{"id":1},,{"id":2}]',
        b'[{"id":1}]]',
        b'[{"id":1}][{"id":2}]',
        b'[{"id":1}]{"id":2}',
        b'[{"id":1}],{"id":2}]',
        b'[{"id":1}] x',
        b'[{"id":1},{"id":2]',
        b'[{"id":1},null]',
        b'[{"id":1},[]]',
        b'[[{"id":1}]]',
        b'[{"id":1}}',
        b'[{"text":"x"}]',
        b'[{"id":"x"}]',
        b'[{"id":1,"inner":' + b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("size", [1, 3, 7, 2**20])
def test_a_body_that_is_no_list_of_such_objects_is_refused(body: bytes, size: int) -> None:
    size = max(size, len(body) // 10)
    with pytest.raises(UNREADABLE):
        read(body, size)


def test_of_two_equal_keys_the_last_one_counts_as_for_the_decoder() -> None:
    assert read(b'[{"id":1,"id":2}]', 4) == [Thing(2)]


def test_what_was_read_before_a_request_is_sent_again_is_forgotten() -> None:
    reader = Elements(Thing, lambda batch: batch, max_bytes=100)
    assert reader.add(b'[{"id":1},{"id":2')
    reader.begin()
    assert not reader.add(b'[{"id":1}{"id":2}')
    reader.begin()
    assert reader.add(b'[{"id":3}]')
    assert reader.finish() == [Thing(3)]


def test_nothing_but_the_last_part_and_an_unfinished_object_is_in_memory() -> None:
    reader = Elements(Thing, lambda batch: [thing.id for thing in batch], max_bytes=2**30)
    reader.add(b"[")
    for number in range(1000):
        reader.add(b'{"id":%d,"text":"%s"},{"id":' % (2 * number, b"x" * 100))
        assert len(reader._buffer) < 20
        reader.add(b"%d}," % (2 * number + 1))
    reader.add(b'{"id":2000}]')
    assert reader.finish() == list(range(2001))


def test_an_element_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "_LONGEST_ELEMENT", 1000)
    reader = Elements(Thing, lambda batch: batch, max_bytes=2**30)
    assert reader.add(b'[{"id":1},{"id":2,"text":"' + b"x" * 900)
    assert not reader.add(b"x" * 200)
    with pytest.raises(msgspec.DecodeError, match="an element is longer than"):
        reader.finish()


def test_more_elements_than_an_array_can_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "_MOST_ELEMENTS", 3)
    assert len(read(b'[{"id":1},{"id":2},{"id":3}]', 1)) == 3
    with pytest.raises(msgspec.DecodeError, match=re.escape("there are more than 3 elements")):
        read(b'[{"id":1},{"id":2},{"id":3},{"id":4}]', 100)


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"", 0),
        (b'{"a":', 0),
        (b'{"a":1}', 7),
        (b'{"a":1}, {"b"', 7),
        (b'{"a":[{"b":1}', 0),
        (b'{"a":[{"b":1}]},{"a":[{"b":1},{', 15),
        (b'{"a":"}"},{"a":"}', 9),
        (b'{"a":"\\"}"},{"a":"\\\\"},{"a":"}\\', 22),
        (b'{"{":"}"}]', 9),
    ],
)
def test_the_end_of_the_last_complete_object(data: bytes, end: int) -> None:
    assert end_of_last_object(data) == end
