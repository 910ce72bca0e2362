"""What the array answers as the model's objects."""

import pytest

from csi_powerflex.gateway import convert
from csi_powerflex.gateway.payloads import SdcPayload


@pytest.mark.parametrize(
    "payload",
    [SdcPayload(id="1"), SdcPayload(id="1", sdc_guid="not a GUID"), SdcPayload(id="1", nqn="not an NQN")],
    ids=["none", "malformed GUID", "malformed NQN"],
)
def test_a_host_without_an_initiator_of_a_known_form_is_no_node(payload: SdcPayload) -> None:
    assert convert.host(payload) is None
