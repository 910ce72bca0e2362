"""Hostile requests, generated from the protocol's descriptors, so that they use every field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from csi_powerflex.pb import csi_pb2
from tests.hostile import inputs

_OVERSIZE = 3000


@dataclass(frozen=True)
class Known:
    """Valid values, so that a call is not refused because of its first field.

    ``texts`` are values by the name of a field, ``keys`` values by the key of a map, ``right`` are valid
    requests by the name of their RPC.
    """

    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)
    right: Mapping[str, Sequence[Message]] = field(default_factory=dict)


def methods(service: str) -> list[MethodDescriptor]:
    """The RPCs of a service."""
    return list(csi_pb2.DESCRIPTOR.services_by_name[service].methods)


def requests(method: MethodDescriptor, known: Known) -> st.SearchStrategy[Message]:
    """Requests of an RPC: hostile in all fields, or valid with one hostile field."""
    wild = _message(method.input_type, known)
    right = known.right.get(method.name, ())
    if not right or not method.input_type.fields:
        return wild
    near = st.builds(
        _changed,
        st.sampled_from(list(right)),
        st.sampled_from(list(method.input_type.fields)).flatmap(lambda item: _one_field(item, known)),
        st.booleans(),
    )
    return st.one_of(wild, near, near)


def complete(method: MethodDescriptor, known: Known) -> list[Message]:
    """Requests with all fields, one for each alternative of a oneof."""
    return [_complete(method.input_type, known, turn) for turn in range(_alternatives(method.input_type))]


def _alternatives(descriptor: Descriptor) -> int:
    counts = [len(choice.fields) for choice in descriptor.oneofs]
    counts += [
        _alternatives(item.message_type) for item in descriptor.fields if item.message_type is not None
    ]
    return max(counts, default=1)


def _complete(descriptor: Descriptor, known: Known, turn: int) -> Message:
    message = message_factory.GetMessageClass(descriptor)()
    for item in descriptor.fields:
        choice = item.containing_oneof
        if choice is not None and choice.fields[turn % len(choice.fields)] is not item:
            continue
        value = _plain(item, known, turn)
        message.MergeFrom(
            type(message)(**{item.name: [value] if item.is_repeated and not _is_map(item) else value})
        )
    return message


def _plain(item: FieldDescriptor, known: Known, turn: int) -> Any:
    if _is_map(item):
        return {key: values[0] for key, values in known.keys.items() if values}
    if item.message_type is not None:
        return _complete(item.message_type, known, turn)
    if item.enum_type is not None:
        return item.enum_type.values[-1].number
    if item.type == FieldDescriptor.TYPE_STRING:
        return next(iter(known.texts.get(item.name, ())), "x")
    return b"x" if item.type == FieldDescriptor.TYPE_BYTES else 1


def _one_field(item: FieldDescriptor, known: Known) -> st.SearchStrategy[tuple[str, Any]]:
    return st.tuples(st.just(item.name), _field(item, known))


def _changed(right: Message, change: tuple[str, Any], replace: bool) -> Message:
    """``right`` with one field replaced, or merged with another value."""
    name, value = change
    message = type(right)()
    message.CopyFrom(right)
    if replace:
        message.ClearField(name)
    message.MergeFrom(type(right)(**{name: value}))
    return message


def fields_of(descriptor: Descriptor, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """The full names of the fields that a message of this type can have, at any depth."""
    for item in descriptor.fields:
        yield item.full_name
        inner = item.message_type
        if inner is not None and inner.full_name not in seen:
            yield from fields_of(inner, seen | {inner.full_name})


def fields_set(message: Message) -> Iterator[str]:
    """The full names of the fields that are set in a message, at any depth."""
    for item, value in message.ListFields():
        yield item.full_name
        if _is_map(item):
            yield from fields_of(item.message_type) if item.message_type else ()
        elif item.message_type is not None:
            for inner in (value,) if isinstance(value, Message) else value:
                yield from fields_set(inner)


def _message(descriptor: Descriptor, known: Known) -> st.SearchStrategy[Message]:
    make = message_factory.GetMessageClass(descriptor)
    parts = {item.name: _field(item, known) for item in descriptor.fields}
    return st.fixed_dictionaries({}, optional=parts).map(lambda values: _made(make, values))


def _made(make: type[Message], values: Mapping[str, Any]) -> Message:
    message = make()
    for name, value in values.items():
        one = make(**{name: value})
        # MergeFrom keeps the last alternative of a oneof, as the parser does.
        message.MergeFrom(one)
    return message


def _field(item: FieldDescriptor, known: Known) -> st.SearchStrategy[Any]:
    if _is_map(item):
        return _map(known, known.texts.get(item.name, ()))
    one = _value(item, known)
    if not item.is_repeated:
        return one
    return st.one_of(st.lists(one, min_size=1, max_size=3), one.map(lambda value: [value] * 50))


def _is_map(item: FieldDescriptor) -> bool:
    kind = item.message_type
    return kind is not None and bool(kind.GetOptions().map_entry)


def _map(known: Known, values: Sequence[str]) -> st.SearchStrategy[dict[str, str]]:
    """All maps of the protocol are from text to text."""
    pairs = [st.tuples(inputs.text(), inputs.text())]
    for key, right in known.keys.items():
        pairs.append(st.tuples(st.just(key), _text(right)))
    pairs.append(st.tuples(st.sampled_from([*known.keys, ""]).flatmap(inputs.near), inputs.text()))
    right_ones = {key: st.sampled_from(list(right)) for key, right in known.keys.items() if right}
    oversize = st.just({f"key-{number}": "x" * 20 for number in range(_OVERSIZE)})
    huge = st.just({"k" * 5000: "v" * 100_000})
    maps = [
        st.fixed_dictionaries({}, optional=right_ones),
        st.fixed_dictionaries({}, optional=right_ones),
        st.lists(st.one_of(pairs), max_size=4).map(dict),
        st.one_of(oversize, huge),
    ]
    return st.one_of(maps)


def _text(right: Sequence[str]) -> st.SearchStrategy[str]:
    if not right:
        return inputs.text()
    known = st.sampled_from(list(right))
    return st.one_of(known, known, known, known.flatmap(inputs.near), inputs.text())


def _value(item: FieldDescriptor, known: Known) -> st.SearchStrategy[Any]:
    if item.message_type is not None:
        return _message(item.message_type, known)
    if item.enum_type is not None:
        numbers = [value.number for value in item.enum_type.values]
        return st.one_of(st.sampled_from(numbers), st.sampled_from(numbers), inputs.integers(32, signed=True))
    if item.type == FieldDescriptor.TYPE_STRING:
        return _text(known.texts.get(item.name, ()))
    return _SCALARS[item.type]


# A type that the protocol does not use has no row. If it uses it later, the tests fail.
_SCALARS: Mapping[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=40),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT64: inputs.integers(64, signed=True),
    FieldDescriptor.TYPE_INT32: inputs.integers(32, signed=True),
    FieldDescriptor.TYPE_UINT32: inputs.integers(32, signed=False),
    FieldDescriptor.TYPE_UINT64: inputs.integers(64, signed=False),
}
