"""What is said of a node that a system has no host of."""

from __future__ import annotations

from typing import cast

import pytest

from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.errors import NotFound
from csi_powerflex.gateway.cache import Hosts
from csi_powerflex.gateway.client import Client
from csi_powerflex.ids import NodeIdentity
from tests.unit.lists import Lists

SDC = "sdc:879A818F-5B4A-41C8-8384-869D8232D5F7"
NQN = "nqn:nqn.2014-08.org.nvmexpress:uuid:11111111-1111-4111-8111-111111111111"


def said_of(node: str) -> str:
    hosts = Hosts(SystemSettings(name="east", endpoints=(), username="admin"), cast("Client", Lists()))
    with pytest.raises(NotFound) as error:
        hosts.of(NodeIdentity.parse(node), (), fresh=False)
    return str(error.value)


@pytest.mark.parametrize("node", [SDC, f"{SDC},{NQN}"])
def test_a_node_with_an_sdc_is_asked_for_its_connection(node: str) -> None:
    text = said_of(node)
    assert text.endswith(f"no host of node {node}; is the SDC of that node connected to this system?")


def test_a_node_that_has_only_an_nqn_is_not_asked_for_an_sdc() -> None:
    text = said_of(NQN)
    assert "SDC" not in text
    assert text.endswith("the driver creates the NVMe host when it first publishes a volume there")
