"""The policy of each RPC, compared with the protocol and the specification."""

import importlib
import pkgutil

import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

import csi_powerflex.csi
from csi_powerflex.csi import policy
from csi_powerflex.pb import csi_pb2, csi_pb2_grpc

# The fields that the specification calls REQUIRED and whose absence is visible: false and 0 are values. The
# staging path of NodePublishVolume is required only for a driver that stages, and has another code.
REQUIRED: dict[str, set[str]] = {
    "GetPluginInfo": set(),
    "GetPluginCapabilities": set(),
    "Probe": set(),
    "CreateVolume": {"name", "volume_capabilities"},
    "DeleteVolume": {"volume_id"},
    "ControllerPublishVolume": {"volume_id", "node_id", "volume_capability"},
    "ControllerUnpublishVolume": {"volume_id"},
    "ValidateVolumeCapabilities": {"volume_id", "volume_capabilities"},
    "ListVolumes": set(),
    "GetCapacity": set(),
    "ControllerGetCapabilities": set(),
    "CreateSnapshot": {"source_volume_id", "name"},
    "DeleteSnapshot": {"snapshot_id"},
    "ListSnapshots": set(),
    "GetSnapshot": {"snapshot_id"},
    "ControllerExpandVolume": {"volume_id", "capacity_range"},
    "ControllerGetVolume": {"volume_id"},
    "ControllerModifyVolume": {"volume_id", "mutable_parameters"},
    "ControllerGetVolumeHealth": {"volume_id"},
    "ControllerListVolumeHealth": set(),
    "GroupControllerGetCapabilities": set(),
    "CreateVolumeGroupSnapshot": {"name", "source_volume_ids"},
    "DeleteVolumeGroupSnapshot": {"group_snapshot_id"},
    "GetVolumeGroupSnapshot": {"group_snapshot_id"},
    "NodeStageVolume": {"volume_id", "staging_target_path", "volume_capability"},
    "NodeUnstageVolume": {"volume_id", "staging_target_path"},
    "NodePublishVolume": {"volume_id", "target_path", "volume_capability"},
    "NodeUnpublishVolume": {"volume_id", "target_path"},
    "NodeGetVolumeStats": {"volume_id", "volume_path"},
    "NodeGetVolumeHealth": {"volume_id"},
    "NodeGetStorageHealth": set(),
    "NodeExpandVolume": {"volume_id", "volume_path"},
    "NodeGetCapabilities": set(),
    "NodeGetInfo": set(),
}

METHODS: dict[str, MethodDescriptor] = {
    method.name: method
    for service in csi_pb2.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
SERVICERS = (
    csi_pb2_grpc.IdentityServicer,
    csi_pb2_grpc.ControllerServicer,
    csi_pb2_grpc.NodeServicer,
    csi_pb2_grpc.GroupControllerServicer,
)


def implemented() -> set[str]:
    """The RPCs that a servicer of the driver has a method for."""
    for module in pkgutil.iter_modules(csi_powerflex.csi.__path__, "csi_powerflex.csi."):
        importlib.import_module(module.name)
    return {
        name
        for base in SERVICERS
        for servicer in base.__subclasses__()
        if servicer.__module__.startswith("csi_powerflex.csi.")
        for name in vars(servicer)
        if name in METHODS
    }


def test_every_implemented_rpc_has_a_row() -> None:
    assert {"Probe", "CreateVolume", "DeleteVolume", "ControllerPublishVolume"} <= implemented()
    assert implemented() <= policy.POLICIES.keys()


@pytest.mark.parametrize("rpc", policy.POLICIES)
def test_a_row_requires_what_the_specification_requires(rpc: str) -> None:
    assert set(policy.POLICIES[rpc].required) == REQUIRED[rpc]


@pytest.mark.parametrize("rpc", policy.POLICIES)
def test_the_fields_of_a_row_exist_in_the_request(rpc: str) -> None:
    request = GetMessageClass(METHODS[rpc].input_type)()
    assert set(policy.POLICIES[rpc].required) <= set(request.DESCRIPTOR.fields_by_name)
    assert all(key.strip() for key in policy.POLICIES[rpc].locks(request))


@pytest.mark.parametrize("rpc", policy.POLICIES)
def test_an_rpc_that_changes_one_volume_locks_it_and_may_have_to_wait(rpc: str) -> None:
    row = policy.POLICIES[rpc]
    request = GetMessageClass(METHODS[rpc].input_type)()
    assert bool(row.locks(request)) == row.changes
    assert row.waits or not row.changes


def test_calls_for_one_volume_share_a_lock_and_calls_for_two_do_not() -> None:
    stage, unpublish = policy.POLICIES["NodeStageVolume"], policy.POLICIES["NodeUnpublishVolume"]
    one, other = (csi_pb2.NodeStageVolumeRequest(volume_id=name) for name in ("one", "other"))
    assert stage.locks(one) == unpublish.locks(csi_pb2.NodeUnpublishVolumeRequest(volume_id="one"))
    assert stage.locks(one) != stage.locks(other)


def test_a_volume_that_hangs_on_a_node_can_be_unmapped_by_the_same_process() -> None:
    stage, unmap = policy.POLICIES["NodeStageVolume"], policy.POLICIES["ControllerUnpublishVolume"]
    unmapping = unmap.locks(csi_pb2.ControllerUnpublishVolumeRequest(volume_id="one"))
    assert stage.locks(csi_pb2.NodeStageVolumeRequest(volume_id="one")) != unmapping


def test_a_volume_name_and_a_volume_id_of_the_same_text_are_different_locks() -> None:
    create, delete = policy.POLICIES["CreateVolume"], policy.POLICIES["DeleteVolume"]
    by_name = create.locks(csi_pb2.CreateVolumeRequest(name="x"))
    assert by_name != delete.locks(csi_pb2.DeleteVolumeRequest(volume_id="x"))
