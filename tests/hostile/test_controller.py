"""Any value in any field of any request to the controller: it has a defined code and still runs."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from hypothesis import given

from csi_powerflex.pb import csi_pb2
from tests.controller.driver import GIB, block, mount
from tests.controller_process import ControllerProcess
from tests.figures import Figures
from tests.hostile.calls import PROPER, Caller, Tried
from tests.hostile.inputs import with_examples
from tests.hostile.messages import Known, complete, methods, requests
from tests.soak import array
from tests.soak.array import SoakedArray

SERVED = ("Identity", "Controller", "GroupController", "SnapshotMetadata")
METHODS = [method for service in SERVED for method in methods(service)]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def soaked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoakedArray]:
    with array.serving(tmp_path_factory.mktemp("array"), "4.5") as soaked:
        yield soaked


@pytest.fixture(scope="module")
def process(soaked: SoakedArray, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControllerProcess]:
    folder = tmp_path_factory.mktemp("driver")
    systems = soaked.systems_file(folder / "systems.yaml", request_seconds=10)
    with ControllerProcess(folder, systems, {"watch-seconds": "0", "log-level": "debug"}) as process:
        yield process


@pytest.fixture(scope="module")
def caller(process: ControllerProcess) -> Iterator[Caller]:
    with contextlib.closing(grpc.insecure_channel(f"unix:{process.socket}")) as channel:
        yield Caller(channel, seconds=10)


@pytest.fixture
def known(soaked: SoakedArray, process: ControllerProcess) -> Known:
    """Objects that exist, parameters that are valid, and requests that succeed."""
    driver = process.driver
    number = next(_numbers)
    names = [f"pvc-{number}-{each}" for each in range(3)]
    volumes = [driver.create(name).volume_id for name in names]
    driver.publish(volumes[0], soaked.node("node0"))
    snapshot = driver.snapshot(volumes[1], f"snapshot-{number}").snapshot_id
    group = driver.group.CreateVolumeGroupSnapshot(
        csi_pb2.CreateVolumeGroupSnapshotRequest(name=f"group-{number}", source_volume_ids=volumes[1:])
    ).group_snapshot
    system = volumes[0].partition("-")[0]
    missing = f"{system}-{'0' * 15}1"
    return Known(
        texts={
            "volume_id": [*volumes, snapshot, missing],
            "source_volume_id": [*volumes, snapshot, missing],
            "source_volume_ids": [*volumes, missing],
            "snapshot_id": [snapshot, *volumes, missing],
            "snapshot_ids": [snapshot, missing],
            "group_snapshot_id": [missing, group.group_snapshot_id],
            "node_id": [soaked.node("node0"), soaked.node("node1")],
            "name": [*names, "pvc-new", f"snapshot-{number}"],
            "fs_type": ["ext4", "xfs"],
            "mount_flags": ["noatime", "ro"],
        },
        keys={
            "storagepool": ["sp1"],
            "protectiondomain": ["pd1"],
            "systemID": ["array"],
            "provisioning": ["thin", "thick", "compressed"],
            "sizePolicy": ["strict", "roundUp"],
            "allowUnpaddedPool": ["true"],
            "transport": ["auto", "sdc", "nvme"],
            "qosOnNvme": ["refuse", "ignore"],
            "iopsLimit": ["100", "0"],
            "bandwidthLimitInKbps": ["1024"],
            "iopsPerGiB": ["5"],
            "bandwidthPerGiBInKbps": ["128"],
            "maxVtreeMembers": ["3"],
            "snapshotAccessMode": ["ReadWrite"],
            "retentionMinutes": ["0"],
            "fstype": ["ext4"],
            "mkfsFormatOption": ["-m 1"],
            "deleteAfter": ["0", "24h"],
            "snapshotPolicy": ["none"],
            "deletePolicySnapshots": ["true"],
            "origin": ["empty"],
            f"csi.powerflex.dev/{system}": ["true"],
            "csi.powerflex.dev/zone": ["a"],
        },
        right=_right(volumes, snapshot, group, soaked.node("node0")),
    )


def _right(
    volumes: list[str], snapshot: str, group: csi_pb2.VolumeGroupSnapshot, node: str
) -> Mapping[str, list[Message]]:
    volume, members = volumes[2], [member.snapshot_id for member in group.snapshots]
    size, some = csi_pb2.CapacityRange(required_bytes=16 * GIB), [mount()]
    restored = csi_pb2.VolumeContentSource(
        snapshot=csi_pb2.VolumeContentSource.SnapshotSource(snapshot_id=snapshot)
    )
    named: dict[str, Any] = {"group_snapshot_id": group.group_snapshot_id, "snapshot_ids": members}
    messages: list[Message] = [
        csi_pb2.CreateVolumeRequest(name="pvc-r", volume_capabilities=some, capacity_range=size),
        csi_pb2.CreateVolumeRequest(name="pvc-c", volume_capabilities=some, volume_content_source=restored),
        csi_pb2.DeleteVolumeRequest(volume_id=volume),
        csi_pb2.ControllerPublishVolumeRequest(volume_id=volume, node_id=node, volume_capability=mount()),
        csi_pb2.ControllerPublishVolumeRequest(volume_id=volume, node_id=node, volume_capability=block()),
        csi_pb2.ControllerUnpublishVolumeRequest(volume_id=volumes[0], node_id=node),
        csi_pb2.ValidateVolumeCapabilitiesRequest(volume_id=volume, volume_capabilities=some),
        csi_pb2.ListVolumesRequest(max_entries=1),
        csi_pb2.ListSnapshotsRequest(source_volume_id=volumes[1]),
        csi_pb2.ControllerListVolumeHealthRequest(max_entries=1),
        csi_pb2.ControllerGetVolumeHealthRequest(volume_id=volume),
        csi_pb2.GetCapacityRequest(volume_capabilities=some),
        csi_pb2.CreateSnapshotRequest(name="snapshot-r", source_volume_id=volume),
        csi_pb2.DeleteSnapshotRequest(snapshot_id=snapshot),
        csi_pb2.GetSnapshotRequest(snapshot_id=snapshot),
        csi_pb2.ControllerExpandVolumeRequest(volume_id=volume, capacity_range=size),
        csi_pb2.ControllerGetVolumeRequest(volume_id=volume),
        csi_pb2.ControllerModifyVolumeRequest(volume_id=volume, mutable_parameters={"iopsLimit": "50"}),
        csi_pb2.CreateVolumeGroupSnapshotRequest(name="group-r", source_volume_ids=volumes),
        csi_pb2.DeleteVolumeGroupSnapshotRequest(**named),
        csi_pb2.GetVolumeGroupSnapshotRequest(**named),
    ]
    right: dict[str, list[Message]] = {}
    for message in messages:
        right.setdefault(type(message).__name__.removesuffix("Request"), []).append(message)
    return right


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_request_has_a_defined_code(
    method: MethodDescriptor,
    caller: Caller,
    known: Known,
    process: ControllerProcess,
    figures: Figures,
) -> None:
    pid, done = process.pid, Tried()

    def hold(request: Message) -> None:
        code, detail = caller.call(method, request, done)
        assert code in PROPER, f"{code.name}: {detail}"
        assert "unexpected" not in detail
        assert caller.is_alive()

    for request in complete(method, known):
        hold(request)
    with_examples(60)(given(request=requests(method, known))(hold))()
    assert process.running
    assert process.pid == pid
    assert not done.missing(method)
    figures.add("hostile requests", done.codes.total())
