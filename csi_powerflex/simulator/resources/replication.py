"""Replication, alerts and the like: resource types that clients ask for and that are empty here."""

from __future__ import annotations

from csi_powerflex.simulator.resources.resource_type import ResourceType, View


def _empty(name: str, listed: str) -> ResourceType[View]:
    return ResourceType(
        name=name,
        listed=listed,
        objects=lambda _: {},
        view=lambda _array, shown: shown,
        missing=0,
        statistics=lambda _array, shown: shown,
    )


EMPTY_RESOURCE_TYPES = (
    _empty("PeerMdm", "peerMdmList"),
    _empty("ReplicationConsistencyGroup", "replicationConsistencyGroupList"),
    _empty("ReplicationPair", "replicationPairList"),
    _empty("AccelerationPool", "accelerationPoolList"),
    _empty("Sdr", "sdrList"),
    _empty("Alert", "alertList"),
)
