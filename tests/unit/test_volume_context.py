"""The volume context: written by the controller, read by the controller and the node."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.model import parameters
from csi_powerflex.model.parameters import VolumeParameters
from csi_powerflex.model.qos import QosRequest
from csi_powerflex.model.volume_context import Origin, VolumeContext
from csi_powerflex.qos_store.kubernetes import ReadAttributes

ROOT = Path(__file__).parents[2] / "csi_powerflex"
PARAMETERS = {
    "transport": "sdc",
    "iopsLimit": "1000",
    "fstype": "xfs",
    "mkfsFormatOption": "-n ftype=1",
    "storagepool": "sp1",
    "snapshotPolicy": "hourly",
    "deletePolicySnapshots": "true",
}


def test_the_form_of_the_context_stays_the_same() -> None:
    # Kubernetes keeps it in PersistentVolumes that outlive this version of the driver.
    context = VolumeContext.of_new_volume(Origin.EMPTY, VolumeParameters.parse(PARAMETERS))
    assert context.to_dict() == {
        "origin": "empty",
        "transport": "sdc",
        "iopsLimit": "1000",
        "fstype": "xfs",
        "mkfsFormatOption": "-n ftype=1",
        "snapshotPolicy": "hourly",
        "deletePolicySnapshots": "true",
    }


def test_what_a_class_leaves_open_is_not_written() -> None:
    context = VolumeContext.of_new_volume(Origin.COPY, VolumeParameters())
    assert context.to_dict() == {"origin": "copy"}


@given(
    st.builds(
        VolumeContext,
        origin=st.sampled_from([None, *Origin]),
        qos=st.builds(QosRequest, iops=st.none() | st.integers(11, 10**6), ignored_on_nvme=st.booleans()),
        transport=st.sampled_from(["auto", "sdc", "nvme"]),
        filesystem=st.none() | st.sampled_from(["ext4", "xfs"]),
        mkfs_options=st.none() | st.just("-m 1"),
        delete_after=st.none() | st.integers(0, 10**6),
        snapshot_policy=st.none() | st.sampled_from(["hourly", "none"]),
        delete_policy_snapshots=st.booleans(),
    )
)
def test_a_context_reads_back_as_it_was_written(context: VolumeContext) -> None:
    assert VolumeContext.parse(context.to_dict()) == context


def test_keys_of_others_are_ignored() -> None:
    assert VolumeContext.parse(
        {"storage.kubernetes.io/csiProvisionerIdentity": "x", "Name": "y"}
    ) == VolumeContext(None)


@pytest.mark.parametrize("origin", ["", "Empty", "unknown"])
def test_an_unknown_origin_is_refused(origin: str) -> None:
    with pytest.raises(InvalidArgument, match="origin is one of empty, copy"):
        VolumeContext.parse({"origin": origin})


def test_a_missing_origin_is_refused_where_it_decides() -> None:
    with pytest.raises(InvalidArgument, match="origin is one of empty, copy"):
        VolumeContext.parse({}).require_origin()


def test_a_value_that_cannot_be_read_is_refused_by_its_key() -> None:
    with pytest.raises(InvalidArgument, match="parameter transport='fc': must be one of auto, sdc"):
        VolumeContext.parse({"origin": "empty", "transport": "fc"})


def test_each_travelling_parameter_has_a_field_of_its_name() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(VolumeContext)}
    assert {field.name: field.default for field in parameters.travelling()}.items() <= fields.items()


def uses() -> set[str]:
    """The attributes that code reads from something called ``volume_context``.

    DeleteVolume gets no volume context. It reads the same keys from the PersistentVolume.
    """
    found = set(ReadAttributes.__struct_fields__)
    for path in (*(ROOT / "csi").rglob("*.py"), *(ROOT / "operations").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                owner = node.value
                name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
                if name == "volume_context":
                    found.add(node.attr)
    return found


@pytest.mark.parametrize("field", [field.name for field in parameters.travelling()])
def test_a_parameter_that_travels_is_used_by_a_later_call(field: str) -> None:
    assert field in uses(), f"no later call reads volume_context.{field}: the parameter has no effect"
