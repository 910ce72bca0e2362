"""The interceptor of every call, over a real socket: validation, locks, limits, deadlines, errors, log."""

import importlib
import io
import json
import pkgutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from prometheus_client import REGISTRY

import csi_powerflex
from csi_powerflex import call_context, errors
from csi_powerflex.csi import redact, server, status
from csi_powerflex.errors import DriverError
from csi_powerflex.pb import csi_pb2, csi_pb2_grpc
from tests.contract.conftest import (
    PATIENCE_SECONDS,
    Edge,
    Scripted,
    failure,
    registrations,
    stage_request,
    unstage_request,
)
from tests.controller.eventually import eventually

SLOW_SLOTS = server.WORKERS - server.QUICK_WORKERS


def events(json_log: io.StringIO, event: str) -> list[dict[str, object]]:
    records = [json.loads(line) for line in json_log.getvalue().splitlines()]
    return [record for record in records if record["event"] == event]


# --- validation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["volume_id", "staging_target_path", "volume_capability"])
def test_the_error_names_a_missing_field(edge: Edge, field: str) -> None:
    request = stage_request()
    request.ClearField(field)  # type: ignore[arg-type]  # one of its fields
    code, detail = failure(lambda: edge.node.NodeStageVolume(request))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert detail == f"{field} must be set"


def test_the_error_names_all_missing_fields(edge: Edge) -> None:
    code, detail = failure(lambda: edge.node.NodeStageVolume(csi_pb2.NodeStageVolumeRequest()))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert detail == "volume_id, staging_target_path, volume_capability must be set"


def test_a_missing_field_is_an_error_even_while_the_volume_is_locked(edge: Edge) -> None:
    gate = edge.hold()
    first = edge.node.NodeStageVolume.future(stage_request("v1"))
    gate.wait_for_call()
    request = csi_pb2.NodeUnstageVolumeRequest(volume_id="v1")
    assert failure(lambda: edge.node.NodeUnstageVolume(request)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "staging_target_path must be set",
    )
    gate.open()
    first.result(PATIENCE_SECONDS)


def test_a_call_with_a_missing_field_does_not_reach_the_servicer(edge: Edge) -> None:
    reached: list[Message] = []
    edge.act(reached.append)
    failure(lambda: edge.node.NodeStageVolume(csi_pb2.NodeStageVolumeRequest()))
    assert reached == []


# --- locks ---------------------------------------------------------------------------------------


def test_a_second_call_for_a_volume_is_refused_at_once_and_calls_for_others_are_not(edge: Edge) -> None:
    gate = edge.hold()
    first = edge.node.NodeStageVolume.future(stage_request("v1"))
    gate.wait_for_call()
    assert failure(lambda: edge.node.NodeUnstageVolume(unstage_request("v1"))) == (
        grpc.StatusCode.ABORTED,
        "NodeStageVolume is still under way for volume v1 on this node; try again later",
    )
    edge.act(lambda _request: None)
    edge.node.NodeStageVolume(stage_request("v2"))
    assert not first.done()
    gate.open()
    first.result(PATIENCE_SECONDS)


def expected_error(_request: Message) -> None:
    raise errors.NotFound("no such volume")


def unexpected_error(_request: Message) -> None:
    raise RuntimeError("a defect")


@pytest.mark.parametrize("act", [expected_error, unexpected_error, lambda _request: None])
def test_the_volume_is_unlocked_after_any_call(edge: Edge, act: Callable[[Message], None]) -> None:
    edge.act(act)
    first = edge.node.NodeStageVolume.future(stage_request())
    first.exception(PATIENCE_SECONDS)
    edge.act(lambda _request: None)
    edge.node.NodeUnstageVolume(unstage_request())


def test_a_cancelled_call_keeps_its_volume_until_its_work_has_ended(edge: Edge) -> None:
    # The client does not wait any more, but mkfs may still run. The volume is unlocked when it has ended.
    gate = edge.hold()
    first = edge.node.NodeStageVolume.future(stage_request())
    gate.wait_for_call()
    first.cancel()
    edge.act(lambda _request: None)
    code, _ = failure(lambda: edge.node.NodeUnstageVolume(unstage_request()))
    assert code is grpc.StatusCode.ABORTED
    gate.open()
    assert eventually_free(edge)


def eventually_free(edge: Edge) -> bool:
    """Whether the volume becomes free; nothing tells a client when a call it cancelled has ended."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        try:
            edge.node.NodeUnstageVolume(unstage_request())
        except grpc.RpcError:
            continue
        return True
    return False


# --- errors --------------------------------------------------------------------------------------


def every_error_of_the_package() -> Iterator[type[DriverError]]:
    for module in pkgutil.walk_packages(csi_powerflex.__path__, "csi_powerflex."):
        # The simulator and the demo need packages of their own, and raise none of these.
        if module.name.split(".")[1] not in ("simulator", "demo", "cli", "__main__"):
            importlib.import_module(module.name)
    waiting = list(DriverError.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__.startswith("csi_powerflex."):
            yield kind


def test_every_error_of_the_package_arrives_with_its_code_and_message(edge: Edge) -> None:
    kinds = list(every_error_of_the_package())
    assert len(kinds) > len(status.CODES)
    for kind in kinds:
        expected = next(code for base, code in status.CODES.items() if issubclass(kind, base))

        def fail(_request: Message, kind: type[DriverError] = kind) -> None:
            raise kind.__new__(
                kind, f"this is {kind.__name__}"
            )  # whatever the arguments of its constructor are

        edge.act(fail)
        assert failure(lambda: edge.node.NodeStageVolume(stage_request())) == (
            expected,
            f"this is {kind.__name__}",
        )


def test_no_error_belongs_to_two_rows_of_the_table() -> None:
    for kind in every_error_of_the_package():
        assert len([base for base in status.CODES if issubclass(kind, base)]) == 1, kind


def test_an_unexpected_error_of_a_changing_call_asks_for_a_repeat_and_keeps_its_text(
    edge: Edge, json_log: io.StringIO
) -> None:
    edge.act(unexpected_error)
    code, detail = failure(lambda: edge.node.NodeStageVolume(stage_request()))
    (record,) = events(json_log, "call failed with an unexpected error")
    assert code is grpc.StatusCode.ABORTED
    assert detail == (
        "unexpected RuntimeError in NodeStageVolume; the driver's log has its stack after the words "
        '"call failed with an unexpected error"'
    )
    assert (record["code"], record["volume_id"]) == ("ABORTED", "v1")
    assert "a defect" in str(record["stack"])
    assert "in unexpected_error" in str(record["stack"])


def test_an_unexpected_error_of_a_call_that_changes_nothing_is_internal(edge: Edge) -> None:
    edge.act(unexpected_error)
    code, detail = failure(lambda: edge.node.NodeGetInfo(csi_pb2.NodeGetInfoRequest()))
    assert code is grpc.StatusCode.INTERNAL
    assert "a defect" not in detail


def test_a_call_that_is_not_implemented_says_so(edge: Edge, json_log: io.StringIO) -> None:
    assert failure(lambda: edge.node.NodeGetStorageHealth(csi_pb2.NodeGetStorageHealthRequest())) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "NodeGetStorageHealth is not implemented by this driver",
    )
    assert not events(json_log, "call failed with an unexpected error")


def test_a_service_that_is_not_served_is_not_implemented(edge: Edge) -> None:
    controller = csi_pb2_grpc.ControllerStub(edge.channel)
    code, _ = failure(lambda: controller.DeleteVolume(csi_pb2.DeleteVolumeRequest(volume_id="v1")))
    assert code is grpc.StatusCode.UNIMPLEMENTED


def test_a_not_implemented_error_in_an_implemented_call_is_unexpected(
    edge: Edge, json_log: io.StringIO
) -> None:
    def fail(_request: Message) -> None:
        raise NotImplementedError

    edge.act(fail)
    code, _ = failure(lambda: edge.node.NodeStageVolume(stage_request()))
    assert code is grpc.StatusCode.ABORTED
    assert events(json_log, "call failed with an unexpected error")


@pytest.mark.parametrize("character", ["x", "Ω", "\N{FLOPPY DISK}"])
def test_a_message_too_long_for_grpc_is_truncated_and_keeps_its_code(edge: Edge, character: str) -> None:
    request = stage_request(character * 200_000)

    def fail(failed: csi_pb2.NodeStageVolumeRequest) -> None:
        raise errors.NotFound(f"volume {failed.volume_id} does not exist")

    edge.act(fail)
    code, detail = failure(lambda: edge.node.NodeStageVolume(request))
    assert code is grpc.StatusCode.NOT_FOUND
    assert detail.startswith(f"volume {character * 400}")
    assert detail.endswith("...")


def test_a_message_with_an_undecodable_path_is_sent(edge: Edge) -> None:
    def fail(_request: Message) -> None:
        raise errors.FailedPrecondition("cannot read /mnt/\udcff")

    edge.act(fail)
    assert failure(lambda: edge.node.NodeStageVolume(stage_request())) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        r"cannot read /mnt/\udcff",
    )


# --- deadlines -----------------------------------------------------------------------------------


def test_the_call_has_the_deadline_of_its_client_less_a_margin_for_the_answer(edge: Edge) -> None:
    seen: list[float] = []
    edge.act(lambda _request: seen.append(call_context.remaining(600)))
    began = time.monotonic()
    edge.node.NodeStageVolume(stage_request(), timeout=9)
    took = time.monotonic() - began
    # The Python client sends a timeout below 10 s rounded up to hundredths.
    assert 9 - 0.05 - took - 0.01 <= seen[0] <= 9 - 0.05 + 0.02


def test_a_call_without_deadline_has_none(edge: Edge) -> None:
    seen: list[call_context.CallContext | None] = []
    edge.act(lambda _request: seen.append(call_context.current()))
    edge.node.NodeStageVolume(stage_request())
    assert seen[0] is not None
    assert seen[0].deadline is None


def test_a_deadline_error_of_the_driver_keeps_its_message(edge: Edge) -> None:
    def fail(_request: Message) -> None:
        raise errors.DeadlineExceeded("waited 3 s for the device of volume v1")

    edge.act(fail)
    assert failure(lambda: edge.node.NodeStageVolume(stage_request(), timeout=PATIENCE_SECONDS)) == (
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "waited 3 s for the device of volume v1",
    )


def test_the_deadline_of_the_driver_passes_before_that_of_the_client(edge: Edge) -> None:
    ends: list[float | None] = []

    def wait_until_the_deadline(_request: Message) -> None:
        current = call_context.current()
        ends.append(current.deadline if current else None)
        while True:
            time.sleep(min(0.01, call_context.remaining(600)))

    edge.act(wait_until_the_deadline)
    call = edge.node.NodeStageVolume.future(stage_request(), timeout=1)
    client_ends = time.monotonic() + 1
    code, _ = failure(lambda: call.result(PATIENCE_SECONDS))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert ends[0] is not None
    assert ends[0] < client_ends


# --- limits --------------------------------------------------------------------------------------


def test_quick_calls_are_answered_while_all_slow_slots_are_in_use(edge: Edge) -> None:
    gate = edge.hold()
    slow = [edge.node.NodeStageVolume.future(stage_request(f"v{number}")) for number in range(SLOW_SLOTS)]
    for _ in slow:
        gate.wait_for_call()

    assert edge.identity.Probe(csi_pb2.ProbeRequest(), timeout=PATIENCE_SECONDS).ready.value
    assert edge.identity.GetPluginInfo(csi_pb2.GetPluginInfoRequest(), timeout=PATIENCE_SECONDS).name
    assert failure(lambda: edge.node.NodeUnstageVolume(unstage_request("another"))) == (
        grpc.StatusCode.UNAVAILABLE,
        "too many calls wait for the array or for a device; try again later",
    )

    gate.open()
    for call in slow:
        call.result(PATIENCE_SECONDS)
    # The refused call has released its slot and its lock.
    edge.node.NodeUnstageVolume(unstage_request("another"))


@pytest.mark.parametrize("act", [expected_error, unexpected_error, lambda _request: None])
def test_a_slow_slot_is_released_after_any_call(edge: Edge, act: Callable[[Message], None]) -> None:
    edge.act(act)
    for number in range(SLOW_SLOTS + 1):
        edge.node.NodeStageVolume.future(stage_request(f"v{number}")).exception(PATIENCE_SECONDS)
    edge.act(lambda _request: None)
    edge.node.NodeStageVolume(stage_request())


# --- metrics -------------------------------------------------------------------------------------


def counted(rpc: str, code: str) -> float:
    """How many calls ended with this code since the process began."""
    labels = {"method": rpc, "code": code}
    return REGISTRY.get_sample_value("csi_powerflex_rpc_duration_seconds_count", labels) or 0.0


@pytest.mark.parametrize(
    ("act", "code"),
    [(expected_error, "NOT_FOUND"), (unexpected_error, "ABORTED"), (lambda _request: None, "OK")],
)
def test_each_call_is_counted_once_with_its_code(
    edge: Edge, act: Callable[[Message], None], code: str
) -> None:
    edge.act(act)
    before = counted("NodeStageVolume", code)
    for _ in range(2):
        edge.node.NodeStageVolume.future(stage_request()).exception(PATIENCE_SECONDS)
    assert counted("NodeStageVolume", code) - before == 2


def test_a_call_that_is_refused_before_its_work_is_counted(edge: Edge) -> None:
    before = counted("NodeStageVolume", "INVALID_ARGUMENT")
    failure(lambda: edge.node.NodeStageVolume(csi_pb2.NodeStageVolumeRequest()))
    assert counted("NodeStageVolume", "INVALID_ARGUMENT") - before == 1


def test_the_slow_slots_in_use_are_those_of_calls_that_run(edge: Edge) -> None:
    def used() -> float | None:
        return REGISTRY.get_sample_value("csi_powerflex_rpc_slow_slots_in_use")

    eventually(lambda: used() == 0)  # a call of another test may end later than its client
    gate = edge.hold()
    running = edge.node.NodeStageVolume.future(stage_request())
    gate.wait_for_call()
    assert used() == 1
    failure(lambda: edge.node.NodeUnstageVolume(unstage_request()))
    assert used() == 1
    gate.open()
    running.result(PATIENCE_SECONDS)
    assert used() == 0


# --- the log -------------------------------------------------------------------------------------


def lines_at(json_log: io.StringIO, *levels: str) -> list[dict[str, object]]:
    """The lines of calls that are written at these levels, without those of the server."""
    records = [json.loads(line) for line in json_log.getvalue().splitlines()]
    return [record for record in records if record["level"] in levels and "rpc" in record]


def test_a_call_that_changes_something_has_one_line(edge: Edge, json_log: io.StringIO) -> None:
    edge.node.NodeStageVolume(stage_request("v7"))
    (line,) = lines_at(json_log, "info", "warning", "error")
    assert (line["event"], line["level"], line["rpc"]) == ("call ended", "info", "NodeStageVolume")


@pytest.mark.parametrize(("act", "level"), [(expected_error, "warning"), (unexpected_error, "error")])
def test_a_call_that_fails_has_one_line_even_if_it_only_looks(
    edge: Edge, json_log: io.StringIO, act: Callable[[Message], None], level: str
) -> None:
    edge.act(act)
    failure(lambda: edge.node.NodeStageVolume(stage_request("v7")))
    failure(lambda: edge.node.NodeGetInfo(csi_pb2.NodeGetInfoRequest()))
    lines = lines_at(json_log, "info", "warning", "error")
    assert [(line["rpc"], line["level"]) for line in lines] == [
        ("NodeStageVolume", level),
        ("NodeGetInfo", level),
    ]


def test_a_call_that_only_looks_has_a_line_at_level_debug_alone(edge: Edge, json_log: io.StringIO) -> None:
    edge.node.NodeGetInfo(csi_pb2.NodeGetInfoRequest())
    edge.identity.GetPluginCapabilities(csi_pb2.GetPluginCapabilitiesRequest())
    assert lines_at(json_log, "info", "warning", "error") == []
    assert [line["rpc"] for line in events(json_log, "call ended")] == [
        "NodeGetInfo",
        "GetPluginCapabilities",
    ]


def test_a_call_that_only_looks_has_a_line_if_it_is_slow(socket: Path, json_log: io.StringIO) -> None:
    with (
        server.serving(f"unix://{socket}", registrations(Scripted()), slow_call_seconds=0),
        grpc.insecure_channel(f"unix:{socket}") as channel,
    ):
        csi_pb2_grpc.NodeStub(channel).NodeGetInfo(csi_pb2.NodeGetInfoRequest())
    (line,) = lines_at(json_log, "info", "warning", "error")
    assert (line["event"], line["rpc"]) == ("call ended", "NodeGetInfo")


def test_the_message_of_an_error_is_the_same_each_time(edge: Edge) -> None:
    # Kubernetes counts events with equal messages. One that differs is a new event, and a new state of a
    # VolumeSnapshotContent, which the snapshotter then tries again at once.
    for act in (expected_error, unexpected_error):
        edge.act(act)
        messages = {failure(lambda: edge.node.NodeStageVolume(stage_request())) for _ in range(3)}
        assert len(messages) == 1


def test_the_log_has_a_call_when_it_begins_and_when_it_ends(edge: Edge, json_log: io.StringIO) -> None:
    edge.act(lambda _request: call_context.count("host_commands"))
    edge.node.NodeStageVolume(stage_request("v7"))
    (began,), (ended,) = events(json_log, "call began"), events(json_log, "call ended")
    assert began["rpc"] == ended["rpc"] == "NodeStageVolume"
    assert began["volume_id"] == ended["volume_id"] == "v7"
    assert began["request_id"] == ended["request_id"]
    assert (began["level"], ended["level"]) == ("debug", "info")
    assert ended["code"] == "OK"
    assert ended["host_commands"] == 1


def test_a_failed_call_is_logged_with_its_code_and_reason(edge: Edge, json_log: io.StringIO) -> None:
    edge.act(expected_error)
    failure(lambda: edge.node.NodeStageVolume(stage_request()))
    (failed,) = events(json_log, "call failed")
    assert (failed["code"], failed["error"]) == ("NOT_FOUND", "no such volume")
    assert failed["volume_id"] == "v1"
    assert float(str(failed["seconds"])) >= 0
    assert events(json_log, "call ended") == []


def test_the_client_gets_the_request_id_and_the_counts_of_the_call(edge: Edge, json_log: io.StringIO) -> None:
    edge.act(lambda _request: call_context.count("host_commands"))
    _, call = edge.node.NodeStageVolume.with_call(stage_request())
    (ended,) = events(json_log, "call ended")
    assert dict(call.trailing_metadata()) == {"x-request-id": ended["request_id"], "x-host-commands": "1"}


def test_a_request_that_cannot_be_logged_ends_with_a_code_and_releases_all(
    edge: Edge, json_log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(_request: Message) -> str:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(redact, "text", defect)
        code, _ = failure(lambda: edge.node.NodeStageVolume(stage_request()))
    assert code is grpc.StatusCode.ABORTED
    assert [line["code"] for line in events(json_log, "call failed with an unexpected error")] == ["ABORTED"]
    edge.node.NodeStageVolume(stage_request())


@pytest.mark.parametrize("act", [expected_error, unexpected_error, lambda _request: None])
def test_secrets_of_a_request_never_reach_the_log(
    edge: Edge, text_log: io.StringIO, act: Callable[[Message], None]
) -> None:
    edge.act(act)
    request = stage_request(secrets={"user": "hunter2", "key": "hunter2"})
    edge.node.NodeStageVolume.future(request).exception(PATIENCE_SECONDS)
    log = text_log.getvalue()
    assert "request received" in log
    assert '\\"user\\"' in log
    assert "hunter2" not in log


def test_probes_are_logged_only_at_debug_level(edge: Edge, json_log: io.StringIO) -> None:
    edge.identity.Probe(csi_pb2.ProbeRequest())
    assert {record["level"] for record in events(json_log, "call ended")} == {"debug"}


# --- identity ------------------------------------------------------------------------------------


def test_the_identity_service_answers_from_memory(edge: Edge) -> None:
    info = edge.identity.GetPluginInfo(csi_pb2.GetPluginInfoRequest())
    assert (info.name, info.vendor_version) == ("csi.test", csi_powerflex.__version__)
    answer = edge.identity.GetPluginCapabilities(csi_pb2.GetPluginCapabilitiesRequest())
    kinds = csi_pb2.PluginCapability.Service
    assert csi_pb2.PluginCapability.VolumeExpansion.ONLINE in [
        capability.volume_expansion.type for capability in answer.capabilities
    ]
    services = [capability for capability in answer.capabilities if capability.HasField("service")]
    assert {capability.service.type for capability in services} == {
        kinds.CONTROLLER_SERVICE,
        kinds.VOLUME_ACCESSIBILITY_CONSTRAINTS,
        kinds.GROUP_CONTROLLER_SERVICE,
    }
    assert edge.identity.Probe(csi_pb2.ProbeRequest()).ready.value
