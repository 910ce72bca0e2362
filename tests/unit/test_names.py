"""Names on the array, derived from CSI's."""

import base64
import re
import uuid

import pytest
from hypothesis import assume, given, strategies as st

from csi_powerflex import names
from csi_powerflex.errors import InvalidArgument
from csi_powerflex.names import Kind

kinds = st.sampled_from(Kind)
cluster_ids = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=4, max_size=4)
uuids = st.uuids()
csi_names = st.one_of(
    st.text(min_size=1, max_size=128),
    uuids.map(lambda value: f"pvc-{value}"),
    uuids.map(lambda value: f"snapshot-{value}"),
    uuids.map(lambda value: f"PVC-{value}".upper()),
)


def bits(name: str) -> bytes:
    """The bits of the CSI name in a name on the array."""
    return base64.b32decode(name[5:].upper() + "======")


@given(kinds, cluster_ids, csi_names)
def test_a_name_has_31_allowed_characters_and_is_always_the_same(kind: Kind, cluster: str, name: str) -> None:
    made = names.array_name(kind, cluster, name)
    assert re.fullmatch(r"[a-z0-9]{31}", made)
    assert made == names.array_name(kind, cluster, name)


@given(kinds, cluster_ids, csi_names, csi_names)
def test_different_csi_names_give_different_names(kind: Kind, cluster: str, one: str, other: str) -> None:
    assume(one != other)
    assert names.array_name(kind, cluster, one) != names.array_name(kind, cluster, other)


@given(cluster_ids, uuids, kinds)
def test_prefixes_of_the_sidecars_give_different_names_for_one_uuid(
    cluster: str, request: uuid.UUID, kind: Kind
) -> None:
    made = {names.array_name(kind, cluster, f"{prefix}-{request}") for prefix in ("pvc", "snapshot")}
    assert len(made) == 2


@given(kinds, cluster_ids, cluster_ids, csi_names, csi_names)
def test_two_clusters_never_collide(kind: Kind, one: str, other: str, name: str, other_name: str) -> None:
    assume(one != other)
    assert names.array_name(kind, one, name) != names.array_name(kind, other, other_name)


@given(cluster_ids, csi_names)
def test_a_volume_and_a_snapshot_of_one_name_do_not_collide(cluster: str, name: str) -> None:
    assert names.array_name(Kind.VOLUME, cluster, name) != names.array_name(Kind.SNAPSHOT, cluster, name)


@given(cluster_ids, uuids)
def test_the_uuid_of_the_request_can_be_read_back(cluster: str, request: uuid.UUID) -> None:
    assert bits(names.array_name(Kind.VOLUME, cluster, f"pvc-{request}")) == request.bytes
    assert bits(names.array_name(Kind.SNAPSHOT, cluster, f"snapshot-{request}")) == request.bytes


def test_names_are_the_same_in_every_version_of_the_driver() -> None:
    # Volumes on arrays carry these names: if this fails, the driver would create them a second time.
    assert (
        names.array_name(Kind.VOLUME, "k8s1", "pvc-5cf4a6b4-1d9c-4d7e-9f83-1f9d3c1b2a00")
        == "vk8s1lt2knna5trgx5h4dd6otygzkaa"
    )
    assert names.array_name(Kind.VOLUME, "k8s1", "any other name") == "vk8s1f6s24yfm3ysfelpshfrtuzex6y"


@given(kinds, cluster_ids, csi_names)
def test_a_name_belongs_to_its_cluster(kind: Kind, cluster: str, name: str) -> None:
    assert names.belongs_to(names.array_name(kind, cluster, name), cluster)


@given(kinds, cluster_ids, cluster_ids, csi_names)
def test_a_name_belongs_to_no_other_cluster(kind: Kind, one: str, other: str, name: str) -> None:
    assume(one != other)
    assert not names.belongs_to(names.array_name(kind, one, name), other)


@given(st.text(max_size=40) | st.from_regex(r"[vs]k8s1.{26}", fullmatch=True), cluster_ids)
def test_a_name_that_belongs_can_be_read_back(name: str, cluster: str) -> None:
    for cluster_id in (cluster, "k8s1"):
        if names.belongs_to(name, cluster_id):
            assert len(bits(name)) == 16


@pytest.mark.parametrize(
    "name", [None, "", "vk8s1", "vk8s1" + "!" * 26, "xk8s1" + "a" * 26, "vk8s1" + "A" * 26]
)
def test_foreign_names_do_not_belong_to_the_cluster(name: str | None) -> None:
    assert not names.belongs_to(name, "k8s1")


@given(kinds, cluster_ids, csi_names)
def test_the_cluster_of_a_name_can_be_read_back(kind: Kind, cluster: str, name: str) -> None:
    assert names.cluster_of(names.array_name(kind, cluster, name)) == cluster


@given(cluster_ids, st.uuids(version=4))
def test_the_uid_of_a_name_can_be_read_back(cluster: str, uid: uuid.UUID) -> None:
    assert names.uid_in(names.array_name(Kind.VOLUME, cluster, f"pvc-{uid}")) == str(uid)
    assert names.uid_in(names.array_name(Kind.SNAPSHOT, cluster, f"snapshot-{uid}")) == str(uid)


@given(cluster_ids, uuids.filter(lambda value: value.version != 4))
def test_bits_that_kubernetes_never_makes_are_no_uid(cluster: str, request: uuid.UUID) -> None:
    assert names.uid_in(names.array_name(Kind.VOLUME, cluster, f"pvc-{request}")) is None


@given(cluster_ids, uuids)
def test_a_member_of_a_group_has_no_uid(cluster: str, request: uuid.UUID) -> None:
    assert names.uid_in(names.array_name(Kind.GROUP_MEMBER, cluster, f"snapshot-{request}")) is None


@pytest.mark.parametrize("name", [None, "", "csivol-1", "vk8s1" + "!" * 26])
def test_foreign_names_have_no_cluster_and_no_uid(name: str | None) -> None:
    assert names.cluster_of(name) is None
    assert names.uid_in(name) is None


@given(cluster_ids)
def test_four_characters_are_a_cluster_id(text: str) -> None:
    assert names.require_cluster_id(text) == text


@pytest.mark.parametrize("text", ["", "abc", "abcde", "ABCD", "ab-d", "abc\n", "äbcd", "１２３４"])
def test_other_cluster_ids_are_refused_and_the_error_has_the_value(text: str) -> None:
    with pytest.raises(InvalidArgument, match="four characters of a-z and 0-9") as refusal:
        names.require_cluster_id(text)
    assert repr(text) in str(refusal.value)
