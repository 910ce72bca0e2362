"""The endpoint of the CSI socket, as operators write it."""

from pathlib import Path

import pytest

from csi_powerflex.csi import server
from csi_powerflex.errors import InvalidArgument


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


def test_a_path_too_long_for_a_socket_is_refused() -> None:
    assert len(str(server.socket_path("/" + "x" * 106))) == 107
    with pytest.raises(InvalidArgument, match="has 108 bytes, and Linux allows at most 107"):
        server.socket_path("/" + "x" * 107)
