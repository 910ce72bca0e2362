"""The part of a publish context for NVMe/TCP: its strings end in a line to the node's kernel."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings, strategies as st

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.nvme import MAX_PORTALS, NvmeTarget, Portal, nguid_of

HANDLE = VolumeHandle("5a1b2c3d4e5f600f", "b1f0c2d400000007")
NGUID = "b1f0c2d40000000764b94e3d4e5f600f"
DETAILS = {
    "nqn": "nqn.1988-11.com.dell:powerflex:00:5a1b2c3d4e5f600f",
    "portals": "192.0.2.1:4420/8009;[2001:db8::1]:4421/8010",
    "nguid": NGUID,
}
TARGET = NvmeTarget(
    DETAILS["nqn"], (Portal("192.0.2.1", 4420, 8009), Portal("2001:db8::1", 4421, 8010)), NGUID
)


def test_the_form_of_the_details_stays_the_same() -> None:
    assert TARGET.details() == DETAILS
    assert NvmeTarget.parse(HANDLE, DETAILS) == TARGET


def test_the_nguid_has_the_ids_of_volume_and_system() -> None:
    assert nguid_of(HANDLE) == NGUID


def test_an_array_may_leave_its_nqn_to_the_discovery() -> None:
    assert NvmeTarget.parse(HANDLE, DETAILS | {"nqn": ""}).nqn == ""


@settings(deadline=None)  # other programs may use the processors
@given(
    st.builds(
        Portal,
        st.ip_addresses().map(str),
        st.integers(1, 65535),
        st.integers(1, 65535),
    )
)
def test_a_portal_reads_back_as_it_was_written(portal: Portal) -> None:
    assert Portal.parse(str(portal)) == portal


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not a portal <address>:<NVMe port>/<discovery port>"),
        ("192.0.2.1:4420", "is not a portal"),
        ("192.0.2.1:4420/8009,hostnqn=x", "is not a portal"),
        ("192.0.2.1:4420/8009\n", "is not a portal"),
        ("2001:db8::1:4420/8009", "is not a portal"),
        ("[2001:DB8::1]:4420/8009", "is not a portal"),
        ("sdt.example.org:4420/8009", "is not a portal"),
        ("192.0.2.1:04420/8009", "is not a portal"),
        ("192.0.2.1:0/8009", "is not a portal"),
        ("192.0.2.1:٤٤٢٠/8009", "is not a portal"),
        ("192.0.2.999:4420/8009", "'192.0.2.999' is not an IP address"),
        ("[::::]:4420/8009", "'[::::]' is not an IP address"),
        ("192.0.2.1:65536/8009", "has a port above 65535"),
        ("192.0.2.1:4420/99999", "has a port above 65535"),
    ],
)
def test_a_text_that_is_no_portal_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(problem)):
        Portal.parse(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("nqn", "nqn.2014-08.org.example:a,ctrl_loss_tmo=0"),
        ("nqn", "nqn.2014-08.org.example:a\n"),
        ("nqn", "iqn.1993-08.org.debian:01"),
        ("nqn", "nqn.2014-08." + "x" * 212),
        ("portals", ""),
        ("portals", ";".join(["192.0.2.1:4420/8009"] * (MAX_PORTALS + 1))),
        ("nguid", ""),
        ("nguid", NGUID.upper()),
        ("nguid", NGUID + "0"),
        ("nguid", "0" * 32),
        ("nguid", "b1f0c2d400000008" + NGUID[16:]),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_its_key(key: str, value: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"of volume {HANDLE} has no usable {key} for NVMe"):
        NvmeTarget.parse(HANDLE, DETAILS | {key: value})


@pytest.mark.parametrize("key", ["portals", "nguid"])
def test_a_missing_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidArgument, match=f"no usable {key}"):
        NvmeTarget.parse(HANDLE, {name: text for name, text in DETAILS.items() if name != key})


def test_one_portal_that_is_none_refuses_the_target() -> None:
    for portals in ("192.0.2.1:4420/8009;", "192.0.2.1:4420/8009;x"):
        with pytest.raises(InvalidArgument, match="is not a portal"):
            NvmeTarget.parse(HANDLE, DETAILS | {"portals": portals})
