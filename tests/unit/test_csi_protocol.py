"""The compiled protocol, compared with a table of the facts of CSI 1.13.0 in both directions.

The table next to this file, csi_wire.tsv, has one row for each declaration. Its columns: what is
declared, in which scope, its name, its number, its type, and the rest (repeated, oneof, options).
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    ServiceDescriptorProto,
)
from google.protobuf.message import Message

from csi_powerflex.pb import csi_pb2

WIRE_TABLE = Path(__file__).with_name("csi_wire.tsv")


class Declaration(NamedTuple):
    """What the protocol says about one name, as the table has it."""

    number: str = ""
    type: str = ""
    notes: frozenset[str] = frozenset()


Key = tuple[str, str, str]
"""Kind, scope and name of a declaration; a reserved number stands for its name."""

Facts = dict[Key, Declaration]
Declarations = Iterator[tuple[Key, Declaration]]


# --- the two sides -------------------------------------------------------------------------------


def facts_of_table() -> Facts:
    facts: Facts = {}
    with WIRE_TABLE.open(newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t", strict=True):
            key = (row["kind"], row["parent"], row["name"] or row["number"])
            assert key not in facts, f"{key} stands twice in {WIRE_TABLE.name}"
            notes = frozenset(filter(None, row["notes"].split(",")))
            facts[key] = Declaration(row["number"], row["type"], notes)
    return facts


def facts_of_descriptor(file: FileDescriptorProto) -> Facts:
    facts: Facts = {}
    for key, declaration in _file(file):
        assert key not in facts, f"{key} is declared twice"
        facts[key] = declaration
    return facts


def _file(file: FileDescriptorProto) -> Declarations:
    yield ("file", "", "package"), Declaration(type=file.package)
    yield ("file", "", "syntax"), Declaration(type=file.syntax)
    for option in _options(file.options):
        name, _, value = option.partition("=")
        yield ("file", "", name), Declaration(type=value)
    for path in file.dependency:
        yield ("import", "", path), Declaration()
    for extension in file.extension:
        yield (
            ("extension", extension.extendee, extension.name),
            Declaration(str(extension.number), _scalar(extension), _options(extension.options)),
        )
    for enum in file.enum_type:
        yield from _enum("", enum)
    for message in file.message_type:
        yield from _message("", message)
    for service in file.service:
        yield from _service(service)


def _enum(scope: str, enum: EnumDescriptorProto) -> Declarations:
    yield ("enum", scope, enum.name), Declaration(notes=_options(enum.options))
    path = _join(scope, enum.name)
    for value in enum.value:
        yield ("value", path, value.name), Declaration(str(value.number), "", _options(value.options))
    # The end of an enum's range is part of it; the end of a message's range is not.
    yield from _reserved(path, [range(r.start, r.end + 1) for r in enum.reserved_range], enum.reserved_name)


def _message(scope: str, message: DescriptorProto) -> Declarations:
    yield ("message", scope, message.name), Declaration(notes=_options(message.options))
    path = _join(scope, message.name)
    yield from _reserved(path, [range(r.start, r.end) for r in message.reserved_range], message.reserved_name)
    entries = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    for field in message.field:
        yield ("field", path, field.name), _field(message, field, entries)
    for enum in message.enum_type:
        yield from _enum(path, enum)
    for nested in message.nested_type:
        if nested.name not in entries:
            yield from _message(path, nested)


def _field(
    message: DescriptorProto, field: FieldDescriptorProto, entries: dict[str, DescriptorProto]
) -> Declaration:
    notes = set(_options(field.options))
    if field.HasField("oneof_index"):
        notes.add(f"oneof {message.oneof_decl[field.oneof_index].name}")
    entry = entries.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        key, value = (_scalar(part) for part in entry.field)
        return Declaration(str(field.number), f"map<{key},{value}>", frozenset(notes))
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        notes.add("repeated")
    return Declaration(str(field.number), _scalar(field), frozenset(notes))


def _service(service: ServiceDescriptorProto) -> Declarations:
    yield ("service", "", service.name), Declaration(notes=_options(service.options))
    for rpc in service.method:
        takes = ("stream " if rpc.client_streaming else "") + _local(rpc.input_type)
        gives = ("stream " if rpc.server_streaming else "") + _local(rpc.output_type)
        declaration = Declaration(type=f"{takes} -> {gives}", notes=_options(rpc.options))
        yield ("rpc", service.name, rpc.name), declaration


def _reserved(path: str, ranges: list[range], names: Iterable[str]) -> Declarations:
    for number in (number for numbers in ranges for number in numbers):
        yield ("reserved", path, str(number)), Declaration(str(number))
    for name in names:
        yield ("reserved", path, name), Declaration()


def _options(options: Message) -> frozenset[str]:
    return frozenset(f"{field.name}={value}" for field, value in options.ListFields())


def _scalar(field: FieldDescriptorProto) -> str:
    if field.type_name:
        return _local(field.type_name)
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _local(type_name: str) -> str:
    return type_name.removeprefix(".csi.v1.")


def _join(scope: str, name: str) -> str:
    return f"{scope}.{name}" if scope else name


def differences(table: Facts, compiled: Facts) -> list[str]:
    """One line for each declaration that is not the same on both sides."""
    lines = [f"missing: {_show(key)}, {table[key]}" for key in table.keys() - compiled.keys()]
    lines += [f"not of CSI 1.13.0: {_show(key)}, {compiled[key]}" for key in compiled.keys() - table.keys()]
    lines += [
        f"different: {_show(key)} is {compiled[key]}, should be {table[key]}"
        for key in table.keys() & compiled.keys()
        if table[key] != compiled[key]
    ]
    return sorted(lines)


def _show(key: Key) -> str:
    kind, scope, name = key
    return f"{kind} {_join(scope, name)}"


def compiled_protocol() -> FileDescriptorProto:
    file = FileDescriptorProto()
    csi_pb2.DESCRIPTOR.CopyToProto(file)
    return file


# --- the protocol --------------------------------------------------------------------------------


def test_the_compiled_protocol_is_csi_1_13_0() -> None:
    assert differences(facts_of_table(), facts_of_descriptor(compiled_protocol())) == []


# --- the comparison itself: each kind of slip is named -------------------------------------------


def message_of(file: FileDescriptorProto, name: str) -> DescriptorProto:
    return next(message for message in file.message_type if message.name == name)


def field_of(file: FileDescriptorProto, message: str, name: str) -> FieldDescriptorProto:
    return next(field for field in message_of(file, message).field if field.name == name)


def service_of(file: FileDescriptorProto, name: str) -> ServiceDescriptorProto:
    return next(service for service in file.service if service.name == name)


def _change_a_number(file: FileDescriptorProto) -> None:
    field_of(file, "Volume", "volume_id").number = 7


def _change_a_type(file: FileDescriptorProto) -> None:
    field_of(file, "Volume", "capacity_bytes").type = FieldDescriptorProto.TYPE_INT32


def _change_a_map_type(file: FileDescriptorProto) -> None:
    entry = message_of(file, "Topology").nested_type[0]
    entry.field[1].type = FieldDescriptorProto.TYPE_BYTES


def _take_repetition_away(file: FileDescriptorProto) -> None:
    field_of(file, "Volume", "accessible_topology").label = FieldDescriptorProto.LABEL_OPTIONAL


def _take_a_field_out_of_its_oneof(file: FileDescriptorProto) -> None:
    field_of(file, "VolumeCapability", "mount").ClearField("oneof_index")


def _forget_that_a_field_is_secret(file: FileDescriptorProto) -> None:
    field_of(file, "DeleteVolumeRequest", "secrets").ClearField("options")


def _drop_a_field(file: FileDescriptorProto) -> None:
    del message_of(file, "ListVolumesRequest").field[1]


def _add_a_field(file: FileDescriptorProto) -> None:
    field = message_of(file, "ProbeRequest").field.add(name="depth", number=1)
    field.type = FieldDescriptorProto.TYPE_INT32


def _add_a_message(file: FileDescriptorProto) -> None:
    file.message_type.add(name="VolumeCondition")


def _drop_a_reserved_number(file: FileDescriptorProto) -> None:
    message_of(file, "NodeGetVolumeStatsResponse").ClearField("reserved_range")


def _drop_a_reserved_name(file: FileDescriptorProto) -> None:
    message_of(file, "NodeGetVolumeStatsResponse").ClearField("reserved_name")


def _reserve_one_value_more(file: FileDescriptorProto) -> None:
    enum = message_of(file, "NodeServiceCapability").nested_type[0].enum_type[0]
    enum.reserved_range[0].end = 9


def _change_an_enum_value(file: FileDescriptorProto) -> None:
    next(enum for enum in file.enum_type if enum.name == "VolumeHealthErrorType").value[3].number = 4


def _stop_a_stream(file: FileDescriptorProto) -> None:
    service_of(file, "SnapshotMetadata").method[0].server_streaming = False


def _drop_an_rpc(file: FileDescriptorProto) -> None:
    del service_of(file, "Identity").method[2]


def _change_an_extension(file: FileDescriptorProto) -> None:
    next(extension for extension in file.extension if extension.name == "csi_secret").number = 1061


def _change_the_package(file: FileDescriptorProto) -> None:
    file.package = "csi.v2"


@pytest.mark.parametrize(
    ("slip", "named"),
    [
        (_change_a_number, "different: field Volume.volume_id is"),
        (_change_a_type, "different: field Volume.capacity_bytes is"),
        (_change_a_map_type, "different: field Topology.segments is"),
        (_take_repetition_away, "different: field Volume.accessible_topology is"),
        (_take_a_field_out_of_its_oneof, "different: field VolumeCapability.mount is"),
        (_forget_that_a_field_is_secret, "different: field DeleteVolumeRequest.secrets is"),
        (_drop_a_field, "missing: field ListVolumesRequest.starting_token,"),
        (_add_a_field, "not of CSI 1.13.0: field ProbeRequest.depth,"),
        (_add_a_message, "not of CSI 1.13.0: message VolumeCondition,"),
        (_drop_a_reserved_number, "missing: reserved NodeGetVolumeStatsResponse.2,"),
        (_drop_a_reserved_name, "missing: reserved NodeGetVolumeStatsResponse.volume_condition,"),
        (_reserve_one_value_more, "not of CSI 1.13.0: reserved NodeServiceCapability.RPC.Type.9,"),
        (_change_an_enum_value, "different: value VolumeHealthErrorType.DATA_LOSS is"),
        (_stop_a_stream, "different: rpc SnapshotMetadata.GetMetadataAllocated is"),
        (_drop_an_rpc, "missing: rpc Identity.Probe,"),
        (_change_an_extension, "different: extension .google.protobuf.FieldOptions.csi_secret is"),
        (_change_the_package, "different: file package is"),
    ],
)
def test_the_comparison_finds_each_difference(
    slip: Callable[[FileDescriptorProto], None], named: str
) -> None:
    file = compiled_protocol()
    slip(file)
    found = differences(facts_of_table(), facts_of_descriptor(file))
    assert any(line.startswith(named) for line in found), found


# --- secrets -------------------------------------------------------------------------------------


def secret_fields(message: Descriptor) -> Iterator[str]:
    """The fields of a message and of the messages in it that are marked as secret, in full."""
    for field in message.fields:
        if field.GetOptions().Extensions[csi_pb2.csi_secret]:
            yield field.full_name
    for nested in message.nested_types:
        yield from secret_fields(nested)


def test_the_secret_fields_can_be_found_by_their_option() -> None:
    """Logs omit fields with this option, so the list must be exact."""
    found = {
        name
        for message in csi_pb2.DESCRIPTOR.message_types_by_name.values()
        for name in secret_fields(message)
    }
    assert found == {
        "csi.v1.ControllerExpandVolumeRequest.secrets",
        "csi.v1.ControllerGetVolumeHealthRequest.secrets",
        "csi.v1.ControllerListVolumeHealthRequest.secrets",
        "csi.v1.ControllerModifyVolumeRequest.secrets",
        "csi.v1.ControllerPublishVolumeRequest.secrets",
        "csi.v1.ControllerUnpublishVolumeRequest.secrets",
        "csi.v1.CreateSnapshotRequest.secrets",
        "csi.v1.CreateVolumeGroupSnapshotRequest.secrets",
        "csi.v1.CreateVolumeRequest.secrets",
        "csi.v1.DeleteSnapshotRequest.secrets",
        "csi.v1.DeleteVolumeGroupSnapshotRequest.secrets",
        "csi.v1.DeleteVolumeRequest.secrets",
        "csi.v1.GetMetadataAllocatedRequest.secrets",
        "csi.v1.GetMetadataDeltaRequest.secrets",
        "csi.v1.GetSnapshotRequest.secrets",
        "csi.v1.GetVolumeGroupSnapshotRequest.secrets",
        "csi.v1.ListSnapshotsRequest.secrets",
        "csi.v1.NodeExpandVolumeRequest.secrets",
        "csi.v1.NodeGetStorageHealthRequest.secrets",
        "csi.v1.NodePublishVolumeRequest.secrets",
        "csi.v1.NodeStageVolumeRequest.secrets",
        "csi.v1.ValidateVolumeCapabilitiesRequest.secrets",
    }


def test_every_field_named_secrets_is_marked_as_secret() -> None:
    fields = [
        field
        for message in csi_pb2.DESCRIPTOR.message_types_by_name.values()
        for field in message.fields
        if field.name == "secrets"
    ]
    assert fields
    assert [f.full_name for f in fields if not f.GetOptions().Extensions[csi_pb2.csi_secret]] == []
