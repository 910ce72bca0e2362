"""The HTTP endpoint of metrics and liveness."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

import pytest

from csi_powerflex.errors import FailedPrecondition, InvalidArgument
from csi_powerflex.observability import endpoint, metrics, tasks
from tests.controller.world import World


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_and_liveness_have_their_own_port(array45: World) -> None:
    array45.driver.create()
    with endpoint.serving("127.0.0.1:0") as port:
        assert port is not None
        assert get(port, "/healthz") == (200, "ok\n")
        tasks.report_failure("qos_sync", "unexpected RuntimeError")
        assert get(port, "/healthz") == (200, "ok\ntask qos_sync fails: unexpected RuntimeError\n")
        tasks.report_success("qos_sync")
        assert get(port, "/healthz") == (200, "ok\n")
        status, text = get(port, "/metrics")
        assert get(port, "/else")[0] == 404
        for path in ("/metrics", "/healthz"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                assert answer.headers.get_all("Server") == ["csi-powerflex"]
    assert status == 200
    assert 'csi_powerflex_rpc_duration_seconds_count{code="OK",method="CreateVolume"}' in text
    for described in metrics.TABLE:
        assert f"# TYPE {described.name} {described.kind}" in text
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=30)


@pytest.mark.parametrize(
    "text",
    [pytest.param("1:" + "0" * 5000, id="many digits"), "", "here", "localhost:", "localhost:http", ":70000"],
)
def test_an_invalid_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="HOST:PORT"):
        endpoint.address(text)


def test_a_port_in_use_is_refused() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(FailedPrecondition, match="cannot serve metrics"),
        endpoint.serving(f"127.0.0.1:{taken.getsockname()[1]}"),
    ):
        pass
