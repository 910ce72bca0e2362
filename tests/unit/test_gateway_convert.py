"""What the array answers as the model's objects."""

import pytest

from csi_powerflex.gateway import convert
from csi_powerflex.gateway.payloads import SdcPayload

GUID = "B0E3BFB8-C20B-43BF-93C8-13339E85AA50"


@pytest.mark.parametrize(
    "payload",
    [SdcPayload(id="1"), SdcPayload(id="1", sdc_guid="not a GUID"), SdcPayload(id="1", nqn="not an NQN")],
    ids=["none", "malformed GUID", "malformed NQN"],
)
def test_a_host_without_an_initiator_of_a_known_form_is_no_node(payload: SdcPayload) -> None:
    assert convert.host(payload) is None


@pytest.mark.parametrize(
    ("payload", "lost"),
    [
        (SdcPayload(id="1", sdc_guid=GUID, mdm_connection_state="Disconnected"), True),
        (SdcPayload(id="1", sdc_guid=GUID, mdm_connection_state="Connected"), False),
        (SdcPayload(id="1", sdc_guid=GUID), False),
        (SdcPayload(id="1", nqn="nqn.2014-08.org.nvmexpress:a", mdm_connection_state="Disconnected"), False),
    ],
    ids=["lost", "connected", "not said", "NVMe before its first volume"],
)
def test_only_an_sdc_that_the_array_calls_disconnected_is_lost(payload: SdcPayload, lost: bool) -> None:
    host = convert.host(payload)
    assert host is not None
    assert host.lost is lost
