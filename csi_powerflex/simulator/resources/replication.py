"""Replication and fault sets: kinds that clients probe and that are empty here."""

from __future__ import annotations

from csi_powerflex.simulator.resources.resource_type import ResourceType, View


def _empty(name: str, listed: str) -> ResourceType[View]:
    return ResourceType(
        name=name, listed=listed, objects=lambda _: {}, view=lambda _array, shown: shown, missing=0
    )


KINDS = (
    _empty("PeerMdm", "peerMdmList"),
    _empty("ReplicationConsistencyGroup", "replicationConsistencyGroupList"),
    _empty("ReplicationPair", "replicationPairList"),
    _empty("FaultSet", "faultSetList"),
    _empty("AccelerationPool", "accelerationPoolList"),
    _empty("Sdr", "sdrList"),
)
