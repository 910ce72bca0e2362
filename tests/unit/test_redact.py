"""Requests as the log shows them: without secrets."""

from collections.abc import Iterator

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from csi_powerflex.csi import redact
from csi_powerflex.pb import csi_pb2


def messages(descriptor: Descriptor) -> Iterator[Descriptor]:
    yield descriptor
    for nested in descriptor.nested_types:
        yield from messages(nested)


MESSAGES_WITH_SECRETS = [
    descriptor
    for outer in csi_pb2.DESCRIPTOR.message_types_by_name.values()
    for descriptor in messages(outer)
    if any(field.GetOptions().Extensions[csi_pb2.csi_secret] for field in descriptor.fields)
]


def test_the_protocol_has_the_known_number_of_messages_with_secrets() -> None:
    assert len(MESSAGES_WITH_SECRETS) == 22


@pytest.mark.parametrize("descriptor", MESSAGES_WITH_SECRETS, ids=lambda descriptor: str(descriptor.name))
def test_every_secret_of_the_protocol_is_hidden(descriptor: Descriptor) -> None:
    message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.GetOptions().Extensions[csi_pb2.csi_secret]:
            getattr(message, field.name)["user"] = "hunter2"
    original = message.SerializeToString(deterministic=True)
    shown = redact.text(message)
    assert "hunter2" not in shown
    assert '"user"' in shown
    assert redact.HIDDEN in shown
    assert message.SerializeToString(deterministic=True) == original


def test_other_fields_are_shown_on_one_line() -> None:
    request = csi_pb2.CreateVolumeRequest(
        name="two\nlines",
        parameters={"pool": "one"},
        volume_capabilities=[
            csi_pb2.VolumeCapability(mount=csi_pb2.VolumeCapability.MountVolume(fs_type="xfs"))
        ],
        secrets={"key": "hunter2"},
    )
    shown = redact.text(request)
    assert len(shown.splitlines()) == 1
    for part in (r"two\nlines", "pool", "one", "xfs", '"key"'):
        assert part in shown


def message_of_a_later_protocol() -> Message:
    """A message with a secret text, and a list of messages with one."""
    file = descriptor_pb2.FileDescriptorProto(
        name="later.proto", package="later", syntax="proto3", dependency=[csi_pb2.DESCRIPTOR.name]
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    message = file.message_type.add(name="Later")
    secret = message.field.add(name="token", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    secret.options.Extensions[csi_pb2.csi_secret] = True
    message.field.add(
        name="inner", number=2, type=kinds.TYPE_MESSAGE, type_name=".later.Later", label=kinds.LABEL_REPEATED
    )
    message.field.add(name="name", number=3, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    made = message_factory.GetMessageClass(pool.FindMessageTypeByName("later.Later"))
    return made(token="hunter2", name="outer", inner=[made(token="hunter2", name="inner")])


def test_secrets_of_other_types_are_hidden_too() -> None:
    shown = redact.text(message_of_a_later_protocol())
    assert "hunter2" not in shown
    assert "outer" in shown
    assert "inner" in shown
