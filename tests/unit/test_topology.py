"""Topology keys: the same for nodes, volumes and requirements."""

from __future__ import annotations

import pytest

from csi_powerflex.model.topology import Topology

ONE, TWO = "0123456789abcdef", "fedcba9876543210"
TOPOLOGY = Topology("csi.example.org")


def test_a_node_has_a_key_for_each_system_that_it_reaches() -> None:
    assert TOPOLOGY.segments([ONE, TWO]) == {
        f"csi.example.org/{ONE}": "true",
        f"csi.example.org/{TWO}": "true",
    }


def test_a_volume_in_a_zone_has_its_system_and_its_zone() -> None:
    assert TOPOLOGY.segments([ONE], "a") == {f"csi.example.org/{ONE}": "true", "csi.example.org/zone": "a"}


@pytest.mark.parametrize(
    ("segments", "reached"),
    [
        ({}, True),
        ({"topology.kubernetes.io/zone": "a"}, True),
        ({"csi.example.org/zone": "a"}, True),
        (TOPOLOGY.segments([ONE]), True),
        (TOPOLOGY.segments([TWO]), False),
        (TOPOLOGY.segments([ONE, TWO], "a"), True),
    ],
)
def test_segments_without_a_system_reach_every_system(segments: dict[str, str], reached: bool) -> None:
    assert TOPOLOGY.reaches(segments, ONE) is reached


def test_a_node_has_a_key_for_each_system_and_transport() -> None:
    assert TOPOLOGY.of_node({"sdc": [ONE], "nvme": [TWO, ONE]}, "a") == {
        **TOPOLOGY.segments([ONE, TWO], "a"),
        f"csi.example.org/{ONE}-sdc": "true",
        f"csi.example.org/{ONE}-nvme": "true",
        f"csi.example.org/{TWO}-nvme": "true",
    }


OLD = TOPOLOGY.segments([ONE])
NEW_SDC = TOPOLOGY.of_node({"sdc": [ONE]})
NEW_NVME = TOPOLOGY.of_node({"nvme": [ONE]})
NEW_BOTH = TOPOLOGY.of_node({"sdc": [ONE], "nvme": [ONE, TWO]})


@pytest.mark.parametrize(
    ("segments", "reached"),
    [
        ({}, {"auto", "sdc", "nvme"}),
        ({"csi.example.org/zone": "a"}, {"auto", "sdc", "nvme"}),
        (OLD, {"auto", "sdc"}),
        (NEW_SDC, {"auto", "sdc"}),
        (NEW_NVME, {"auto", "nvme"}),
        (NEW_BOTH, {"auto", "sdc", "nvme"}),
        (TOPOLOGY.of_node({"sdc": [TWO], "nvme": [TWO]}), set()),
    ],
)
def test_a_node_reaches_a_system_over_the_transports_that_it_names(
    segments: dict[str, str], reached: set[str]
) -> None:
    """A node that names none has a version before NVMe/TCP, so it has an SDC."""
    found = {name for name in ("auto", "sdc", "nvme") if TOPOLOGY.reaches(segments, ONE, name)}
    assert found == reached


@pytest.mark.parametrize(
    ("transport", "nodes", "key"),
    [
        ("auto", [NEW_BOTH], None),
        ("nvme", [NEW_BOTH], "nvme"),
        ("nvme", [], "nvme"),
        ("sdc", [NEW_BOTH, NEW_SDC, NEW_NVME], "sdc"),
        ("sdc", [NEW_BOTH, OLD], None),
        ("sdc", [NEW_NVME], None),
        ("sdc", [], None),
    ],
)
def test_a_volume_has_the_key_of_a_transport_only_if_its_class_pins_it(
    transport: str, nodes: list[dict[str, str]], key: str | None
) -> None:
    expected = TOPOLOGY.segments([ONE], "a")
    if key is not None:
        expected[f"csi.example.org/{ONE}-{key}"] = "true"
    assert TOPOLOGY.of_volume(ONE, "a", transport, nodes) == expected
