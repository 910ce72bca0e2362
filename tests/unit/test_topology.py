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
