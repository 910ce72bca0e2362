"""A class whose snapshots the array keeps for a time is refused where a snapshot is temporary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from csi_powerflex.errors import FailedPrecondition, NotFound
from csi_powerflex.kube.client import Client
from csi_powerflex.operator.api import Definition
from csi_powerflex.operator.classes import SNAPSHOT_CLASSES, SnapshotClasses
from csi_powerflex.operator.exports.definition import DEFINITION as EXPORT
from csi_powerflex.operator.moves.definition import DEFINITION as MOVE
from tests.kube.api_server import ApiServer
from tests.operator.copies_world import KEY, CopiesWorld
from tests.operator.images_world import ImagesWorld
from tests.operator.movers_world import CLAIMS, DRIVER, JOBS, SNAPSHOTS, MoversWorld

pytestmark = pytest.mark.usefixtures("untouched_logging")

DEFAULT = {"snapshot.storage.kubernetes.io/is-default-class": "true"}
REFUSAL = (
    "VolumeSnapshotClass locked has retentionMinutes 60, so its snapshot could not be removed when it is not "
    "needed any more; give a class without it in snapshotClass"
)
EXPORTED = {"claim": "data", "target": {"file": {"claim": "images", "name": "data.qcow2"}}}
MOVED = {"claim": "data", "storageClassName": "west", "approved": True}
OF_MOVERS = pytest.mark.parametrize(("definition", "spec"), [(EXPORT, EXPORTED), (MOVE, MOVED)])


def put(
    cluster: ApiServer, name: str, minutes: str | None, *, driver: str = DRIVER, default: bool = False
) -> None:
    """A VolumeSnapshotClass, which may have no parameters."""
    content: dict[str, Any] = {"driver": driver, "metadata": {"annotations": DEFAULT if default else {}}}
    if minutes is not None:
        content["parameters"] = {"retentionMinutes": minutes}
    cluster.put(SNAPSHOT_CLASSES, name, content)


# --- which classes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["locked", ""])
def test_a_class_with_retention_is_refused_by_name_and_as_the_default(
    cluster: ApiServer, client: Client, name: str
) -> None:
    put(cluster, "locked", "60", default=True)
    put(cluster, "plain", None)
    with pytest.raises(FailedPrecondition) as refusal:
        SnapshotClasses(client, DRIVER).require_removable(name)
    assert str(refusal.value) == REFUSAL


@pytest.mark.parametrize("minutes", ["0", "00", "", None])
@pytest.mark.parametrize("name", ["plain", ""])
def test_a_class_without_retention_is_accepted(
    cluster: ApiServer, client: Client, name: str, minutes: str | None
) -> None:
    put(cluster, "plain", minutes, default=True)
    put(cluster, "locked", "60")
    put(cluster, "of-another-driver", "60", driver="other.example.org", default=True)
    SnapshotClasses(client, DRIVER).require_removable(name)


def test_a_class_that_does_not_exist_is_named(cluster: ApiServer, client: Client) -> None:
    put(cluster, "plain", None)
    with pytest.raises(NotFound, match='volumesnapshotclasses "missing" not found'):
        SnapshotClasses(client, DRIVER).require_removable("missing")


# --- who refuses them --------------------------------------------------------------------------------


@pytest.fixture
def world_of(
    cluster: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Definition], MoversWorld]:
    """A cluster with a claim ``data``, a claim for images, and a class with retention."""

    def make(definition: Definition) -> MoversWorld:
        world = MoversWorld(cluster, client, definition, monkeypatch)
        world.claimed("data", "hello")
        world.claimed("images", "")
        put(cluster, "locked", "60")
        return world

    return make


@OF_MOVERS
def test_an_export_or_a_move_makes_nothing_and_continues_when_the_class_was_corrected(
    world_of: Callable[[Definition], MoversWorld], definition: Definition, spec: dict[str, Any]
) -> None:
    world = world_of(definition)
    key = world.create("one", **spec, snapshotClass="locked")
    for _ in range(4):
        world.lead(key)
    assert REFUSAL in world.status(key)["message"]
    assert (world.cluster.objects(SNAPSHOTS), world.cluster.objects(JOBS), world.holds()) == ([], [], [])
    assert len(world.cluster.objects(CLAIMS)) == 2
    put(world.cluster, "locked", "0")
    world.drive(key)
    assert world.status(key)["phase"] in ("Succeeded", "Moved")


def test_a_move_is_not_begun_if_the_default_class_has_retention_since_the_plan(
    world_of: Callable[[Definition], MoversWorld],
) -> None:
    world = world_of(MOVE)
    put(world.cluster, "locked", None, default=True)
    key = world.create("one", **{**MOVED, "approved": False})
    world.drive_to(key, "Planned")
    put(world.cluster, "locked", "60", default=True)
    world.change(key, approved=True)
    for _ in range(6):
        world.lead(key)
    assert world.status(key)["phase"] == "Holding"
    assert REFUSAL in world.status(key)["message"]
    assert (world.cluster.objects(SNAPSHOTS), world.holds()) == ([], [])
    put(world.cluster, "locked", "0", default=True)
    world.drive(key)
    assert world.status(key)["phase"] == "Moved"


def test_a_snapshot_of_a_user_is_exported_whatever_the_classes_are(
    world_of: Callable[[Definition], MoversWorld],
) -> None:
    world = world_of(EXPORT)
    world.snapshot("nightly", "data")
    put(world.cluster, "locked", "60", default=True)
    key = world.create("one", snapshot="nightly", target=EXPORTED["target"])
    world.drive(key)
    assert world.status(key)["phase"] == "Succeeded"


def test_a_copy_makes_nothing_and_continues_when_the_class_was_corrected(
    cluster: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = CopiesWorld(cluster, client, monkeypatch)
    put(cluster, "locked", "60", default=True)
    world.copy()
    world.want()
    world.rounds_of(4)
    assert (world.stages(), world.message()) == (["Waiting"], f"claim mine: waits: {REFUSAL}")
    assert world.left() == []
    put(cluster, "locked", "0", default=True)
    world.drive(KEY)
    world.require_delivered()


def test_a_snapshot_of_a_user_is_copied_whatever_the_classes_are(
    cluster: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = CopiesWorld(cluster, client, monkeypatch)
    put(cluster, "locked", "60", default=True)
    world.copy(snapshot="nightly")
    world.want()
    world.drive(KEY)
    assert world.word("mine") == "night"


def test_an_image_is_not_imported_before_the_class_is_corrected(cluster: ApiServer, client: Client) -> None:
    images = ImagesWorld(cluster, client)
    put(cluster, "locked", "60", default=True)
    key = images.create()
    images.want()
    images.settle_until(key, "Failed")
    (copy,) = images.status()["copies"]
    assert REFUSAL in copy["message"]
    assert images.data == {}
    put(cluster, "locked", "0", default=True)
    images.clock.forward(minutes=5)
    images.settle(key)
    assert images.word("disk") == "debian"
