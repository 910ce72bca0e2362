"""The parts of the CSI edge that need no server: codes, locks, redaction, conversion, endpoints."""

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from csi_powerflex import errors
from csi_powerflex.csi import redact, server, status
from csi_powerflex.csi.convert import controller as convert
from csi_powerflex.csi.convert.capability import capabilities, capability
from csi_powerflex.csi.locks import Locks
from csi_powerflex.errors import Busy, InvalidArgument
from csi_powerflex.model.array import Provisioning
from csi_powerflex.model.capability import AccessMode, Capability, Filesystem, RawBlock
from csi_powerflex.pb import csi_pb2

# --- codes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.InvalidArgument, "INVALID_ARGUMENT"),
        (errors.NotFound, "NOT_FOUND"),
        (errors.AlreadyExists, "ALREADY_EXISTS"),
        (errors.FailedPrecondition, "FAILED_PRECONDITION"),
        (errors.VolumeInUse, "FAILED_PRECONDITION"),
        (errors.OutOfRange, "OUT_OF_RANGE"),
        (errors.ResourceExhausted, "RESOURCE_EXHAUSTED"),
        (errors.Busy, "ABORTED"),
        (errors.Unavailable, "UNAVAILABLE"),
        (errors.DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (errors.Unauthenticated, "UNAUTHENTICATED"),
        (errors.PermissionDenied, "PERMISSION_DENIED"),
        (errors.Unsupported, "UNIMPLEMENTED"),
    ],
)
def test_each_error_has_its_code(kind: type[errors.DriverError], code: str) -> None:
    assert status.code_of(kind("x")) is grpc.StatusCode[code]


def test_the_base_of_all_errors_has_no_code_of_its_own() -> None:
    with pytest.raises(TypeError, match="DriverError has no row"):
        status.code_of(errors.DriverError("too vague"))


# --- locks ---------------------------------------------------------------------------------------


def test_a_held_key_is_refused_with_its_holder_and_free_again_afterwards() -> None:
    locks = Locks()
    with locks.holding(["volume a"], "NodeStageVolume"):
        with (
            pytest.raises(Busy, match="NodeStageVolume is still under way for volume a; try again later"),
            locks.holding(["volume a"], "NodeUnstageVolume"),
        ):
            pass
        with locks.holding(["volume b"], "NodeStageVolume"):
            pass
    with locks.holding(["volume a"], "NodeUnstageVolume"):
        pass


def test_a_refused_call_takes_none_of_its_keys() -> None:
    locks = Locks()
    with (
        locks.holding(["b"], "first"),
        pytest.raises(Busy, match="first is still under way for b"),
        locks.holding(["a", "b", "c"], "second"),
    ):
        pass
    with locks.holding(["a", "b", "c"], "third"):
        pass


def test_a_key_named_twice_is_held_once() -> None:
    locks = Locks()
    with locks.holding(["a", "a"], "first"):
        pass
    with locks.holding(["a"], "second"):
        pass


def test_keys_are_released_after_an_error() -> None:
    locks = Locks()
    with pytest.raises(KeyError), locks.holding(["a"], "first"):
        raise KeyError
    with locks.holding(["a"], "second"):
        pass


def test_of_many_threads_one_holds_the_key() -> None:
    locks, threads = Locks(), 8
    all_tried = threading.Barrier(threads)
    outcomes: list[bool] = []

    def attempt() -> None:
        try:
            with locks.holding(["a"], "attempt"):
                outcomes.append(True)
                all_tried.wait(timeout=30)
        except Busy:
            outcomes.append(False)
            all_tried.wait(timeout=30)

    workers = [threading.Thread(target=attempt) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(outcomes) == [False] * (threads - 1) + [True]


# --- redaction -----------------------------------------------------------------------------------


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


def test_the_protocol_has_the_secrets_it_is_known_to_have() -> None:
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


def test_what_is_not_secret_is_shown_on_one_line() -> None:
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


def test_secrets_of_other_shapes_are_hidden_too() -> None:
    shown = redact.text(message_of_a_later_protocol())
    assert "hunter2" not in shown
    assert "outer" in shown
    assert "inner" in shown


# --- conversion ----------------------------------------------------------------------------------

MODES = csi_pb2.VolumeCapability.AccessMode


def capability_message(mode: int = MODES.SINGLE_NODE_WRITER) -> csi_pb2.VolumeCapability:
    message = csi_pb2.VolumeCapability(
        mount=csi_pb2.VolumeCapability.MountVolume(fs_type="xfs", mount_flags=["noatime", "discard"])
    )
    message.access_mode.mode = mode  # type: ignore[assignment]  # numbers that the protocol lacks too
    return message


def test_a_mount_capability_is_converted() -> None:
    assert capability(capability_message()) == Capability(
        Filesystem("xfs", ("noatime", "discard")), AccessMode.SINGLE_NODE_WRITER
    )


def test_without_a_type_the_filesystem_is_ext4() -> None:
    message = capability_message()
    message.mount.Clear()
    message.mount.SetInParent()
    assert capability(message).use == Filesystem("ext4")


@pytest.mark.parametrize("mode", AccessMode)
def test_every_access_mode_is_converted(mode: AccessMode) -> None:
    message = capability_message(MODES.Mode.Value(mode.name))
    message.block.SetInParent()
    assert capability(message) == Capability(RawBlock(), mode)


def test_a_capability_without_access_type_is_refused() -> None:
    message = csi_pb2.VolumeCapability(access_mode=MODES(mode=MODES.SINGLE_NODE_WRITER))
    with pytest.raises(InvalidArgument, match="must say block or mount"):
        capability(message)


def test_a_capability_without_access_mode_is_refused() -> None:
    message = csi_pb2.VolumeCapability(block=csi_pb2.VolumeCapability.BlockVolume())
    with pytest.raises(InvalidArgument, match="must name an access mode"):
        capability(message)
    with pytest.raises(InvalidArgument, match="must name an access mode"):
        capability(capability_message(MODES.UNKNOWN))


def test_an_access_mode_of_a_later_protocol_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="access mode 99 is not known"):
        capability(capability_message(99))


def test_one_capability_that_cannot_be_read_refuses_all() -> None:
    with pytest.raises(InvalidArgument, match="must say block or mount"):
        capabilities([capability_message(), csi_pb2.VolumeCapability()])


def create_request() -> csi_pb2.CreateVolumeRequest:
    return csi_pb2.CreateVolumeRequest(
        name="pvc-1",
        capacity_range=csi_pb2.CapacityRange(required_bytes=5, limit_bytes=9),
        volume_capabilities=[capability_message()],
        parameters={"provisioning": "thick", "csi.storage.k8s.io/pvc/name": "x"},
    )


def test_a_volume_request_is_converted() -> None:
    request = convert.volume_request(create_request())
    assert (request.name, request.required, request.limit) == ("pvc-1", 5, 9)
    assert request.capabilities == (capability(capability_message()),)
    assert request.parameters.provisioning is Provisioning.THICK


def test_a_volume_request_without_range_leaves_the_size_open() -> None:
    message = create_request()
    message.ClearField("capacity_range")
    request = convert.volume_request(message)
    assert (request.required, request.limit) == (0, 0)


# --- endpoints -----------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ["unix:///csi/csi.sock", "unix:/csi/csi.sock", "/csi/csi.sock"])
def test_the_forms_of_an_endpoint(endpoint: str) -> None:
    assert server.socket_path(endpoint) == Path("/csi/csi.sock")


@pytest.mark.parametrize(
    "endpoint",
    ["", "csi.sock", "unix:csi.sock", "unix://csi/csi.sock", "tcp://127.0.0.1:1", "unix:", "dns:x"],
)
def test_other_endpoints_are_refused_with_an_example(endpoint: str) -> None:
    with pytest.raises(InvalidArgument, match=r"such as unix:///csi/csi\.sock, not ") as refusal:
        server.socket_path(endpoint)
    assert repr(endpoint) in str(refusal.value)


def test_a_path_that_no_socket_can_have_is_refused() -> None:
    assert len(str(server.socket_path("/" + "x" * 106))) == 107
    with pytest.raises(InvalidArgument, match="has 108 bytes, and Linux takes at most 107"):
        server.socket_path("/" + "x" * 107)
