"""Failures with a volume's device, as an operator meets them: message, line of the log and metric.

The message leads to a place in the documentation that exists. docs/conformance.md lists the tests.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable

import grpc
import pytest
from prometheus_client import REGISTRY

from csi_powerflex.model.publish_context import PublishContext
from tests import leads
from tests.node.client import Kubelet, filesystem
from tests.node.conftest import ReplaceTool
from tests.node.disk_content import mbr
from tests.node.loophost import LoopHost, Volume

pytestmark = pytest.mark.needs("devices")

PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


def counted(code: str) -> float:
    labels = {"method": "NodeStageVolume", "code": code}
    return REGISTRY.get_sample_value("csi_powerflex_rpc_duration_seconds_count", labels) or 0.0


def is_found(call: Callable[[], object], log: io.StringIO, entry: str, code: str) -> str:
    """Make a call that fails; returns its message, which leads to ``entry`` of the troubleshooting page.

    The log has the message in the line of the call, the metric counts it, and the alert is of that code.
    """
    before = counted(code)
    with pytest.raises(grpc.RpcError) as error:
        call()
    text = str(error.value.details())
    assert error.value.code().name == code, text
    assert entry in leads.entries(text), (text, leads.entries(text))
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    (line,) = [line for line in lines if line["event"] == "call failed"]
    assert (line["error"], line["level"], line["rpc"]) == (text, "warning", "NodeStageVolume")
    assert line["request_id"]
    assert counted(code) == before + 1
    assert code in leads.alert("CSIPowerFlexCallsFail")
    assert leads.words_of("CSIPowerFlexCallsFail") == [line["event"]]
    return text


@dataclasses.dataclass
class Unconnected(Volume):
    """A volume that the array mapped while it was not connected to this host."""

    def publish_context(self, *, read_only: bool = False) -> PublishContext:
        context = super().publish_context(read_only=read_only)
        return dataclasses.replace(context, host_connected=False)


def test_an_sdc_that_has_lost_the_array(host: LoopHost, node: Kubelet, json_log: io.StringIO) -> None:
    made = host.volume(mapped=False)
    volume = Unconnected(made.handle, made.image, made.by_id, made.size)
    text = is_found(
        lambda: node.stage(volume, timeout=2), json_log, "The SDC has lost the array", "UNAVAILABLE"
    )
    assert str(volume.handle) in text


def test_another_filesystem_on_the_volume(host: LoopHost, node: Kubelet, json_log: io.StringIO) -> None:
    volume = host.volume()
    node.stage(volume)
    node.unstage(volume)
    xfs = filesystem("xfs")
    is_found(
        lambda: node.stage(volume, xfs), json_log, "The volume has another filesystem", PRECONDITION.name
    )


def test_other_data_on_the_volume(host: LoopHost, node: Kubelet, json_log: io.StringIO) -> None:
    volume = host.volume()
    volume.write(0, mbr())
    is_found(lambda: node.stage(volume), json_log, "The volume has other data", PRECONDITION.name)


def test_a_mount_that_the_container_is_not_allowed_to_make(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool, json_log: io.StringIO
) -> None:
    volume = host.volume()
    replace_tool("mount", 'echo "mount: permission denied." >&2; exit 32')
    text = is_found(lambda: node.stage(volume), json_log, "The node pod may not mount", "UNAVAILABLE")
    assert "permission denied" in text
