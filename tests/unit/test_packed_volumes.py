"""Volumes that are kept packed."""

from __future__ import annotations

import msgspec

from csi_powerflex.gateway import convert
from csi_powerflex.gateway.packed import PackedVolumes, pack
from csi_powerflex.gateway.payloads import MappingPayload, VolumePayload
from csi_powerflex.model.array import VolumeOutline

SYSTEM = "1" * 16


def payload(number: int, **more: object) -> VolumePayload:
    fields = {
        "id": f"{number:016x}",
        "sizeInKb": "8388608",
        "storagePoolId": "b" * 16,
        "volumeType": "ThinProvisioned",
        **more,
    }
    return msgspec.convert(fields, VolumePayload, strict=False)


FULL = payload(
    0xFFFF_FFFF_FFFF_FFFF,
    volumeType="Snapshot",
    vtreeId="c" * 16,
    name="snapshot of Zürich",
    creationTime=1_700_000_000,
    ancestorVolumeId="d" * 16,
    consistencyGroupId="e" * 16,
    notGenuineSnapshot=True,
    accessModeLimit="ReadOnly",
    secureSnapshotExpTime=1_800_000_000,
    compressionMethod="Normal",
    genType="EC",
    mappedSdcInfo=[
        {"sdcId": "f" * 16, "sdcName": "node", "limitIops": 11, "limitBwInMbps": 7, "accessMode": "ReadOnly"},
        {"sdcId": "a" * 16, "hostType": "NVMeHost"},
    ],
)


def test_a_volume_is_the_same_as_if_it_had_not_been_packed() -> None:
    payloads = [payload(1), payload(2, sizeInKb=2**52, name=""), FULL]
    assert FULL.mapped_sdc_info is not None
    assert isinstance(FULL.mapped_sdc_info[0], MappingPayload)
    assert list(PackedVolumes(SYSTEM, pack(payloads))) == [convert.volume(SYSTEM, each) for each in payloads]


def outlined(volume: VolumeOutline) -> dict[str, object]:
    names = [name for name, kind in vars(VolumeOutline).items() if isinstance(kind, property)]
    assert len(names) == 9
    return {name: getattr(volume, name) for name in names}


def test_an_outline_tells_the_same_as_its_volume() -> None:
    kinds = ("ThinProvisioned", "ThickProvisioned", "Snapshot", "ReadOnlySnapshot")
    payloads = [*(payload(number, volumeType=kind) for number, kind in enumerate(kinds)), FULL]
    volumes = PackedVolumes(SYSTEM, pack(payloads))
    assert [outlined(outline) for outline in volumes.outlines] == [outlined(volume) for volume in volumes]
    assert outlined(volumes.outlines[-1])["host_ids"] == ("f" * 16, "a" * 16)


def test_volumes_are_ordered_by_id() -> None:
    numbers = [2**64 - 1, 0, 2**63, 255, 256, 2**32, 1]
    ids = [volume.handle.volume_id for volume in PackedVolumes(SYSTEM, pack(map(payload, numbers)))]
    assert ids == [f"{number:016x}" for number in sorted(numbers)]


def test_volumes_are_a_sequence() -> None:
    volumes = PackedVolumes(SYSTEM, pack(map(payload, range(5))))
    assert len(volumes) == 5
    assert volumes[-1] == list(volumes)[4]
    assert list(volumes[1:3]) == list(volumes)[1:3]
    assert volumes[2] in volumes
