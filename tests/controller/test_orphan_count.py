"""Counting the volumes and snapshots that nothing in Kubernetes needs, from the lists that calls read."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from csi_powerflex.errors import Unavailable
from csi_powerflex.gateway.fleet import GatewayFleet
from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects import needed
from csi_powerflex.kube_objects.reader import CLAIMS, CONTENTS, VOLUMES
from csi_powerflex.model.cluster import Needed
from csi_powerflex.operations.controller.known_nodes import KnownNodes
from csi_powerflex.operations.controller.listing import Listing
from csi_powerflex.operations.controller.orphan_count import OrphanCount
from csi_powerflex.operations.controller.pagination import KeptLists
from tests.controller.conftest import MakeWorld
from tests.controller.eventually import eventually
from tests.controller.inventory_world import InventoryWorld
from tests.kube.api_server import ApiServer


class Counting:
    """An inventory world, and a count of it that is not started yet."""

    def __init__(self, inventory: InventoryWorld) -> None:
        self.inventory = inventory
        self.world = inventory.world
        self.fleet = GatewayFleet(self.world.systems)
        self.label = self.fleet.arrays()[0].label
        self.listing = Listing(self.fleet, KnownNodes(), "test", KeptLists())
        self.client = Client(inventory.cluster.config)
        self.asked = 0
        self.errors: list[Exception] = []
        self.least_age = datetime.timedelta()
        self.seconds = 0.0

    def needed(self) -> Needed:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return needed.read(self.client, "test")

    def figure(self, kind: str) -> float | None:
        labels = {"system": self.label, "kind": kind}
        return REGISTRY.get_sample_value("csi_powerflex_orphans", labels)

    def figures(self) -> tuple[float | None, float | None]:
        return self.figure("volume"), self.figure("snapshot")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        count = OrphanCount(
            self.fleet, self.listing, self.needed, "test", seconds=self.seconds, least_age=self.least_age
        )
        count.start()
        try:
            yield
        finally:
            count.stop()

    def list_until(self, figures: tuple[float | None, float | None]) -> None:
        """Read lists, as the attacher does, until the figures are these."""

        def reached() -> bool:
            self.listing.contents()
            return self.figures() == figures

        eventually(reached)


@pytest.fixture
def counting(make_world: MakeWorld, tmp_path: Path) -> Iterator[Counting]:
    with ApiServer(tmp_path) as cluster:
        made = Counting(InventoryWorld(make_world(), cluster))
        yield made
        made.client.close()
        made.fleet.close()


def test_the_figures_are_those_that_the_commands_list(counting: Counting) -> None:
    inventory = counting.inventory
    volume = inventory.provisioned("data")
    inventory.taken("nightly", volume.volume_id)
    inventory.provisioned("other")
    inventory.cluster.remove(CLAIMS, "shop/other")
    inventory.foreign("of a person")
    waiting = inventory.claim("waiting")
    counting.world.driver.create(f"pvc-{waiting}")
    counting.world.driver.create(f"pvc-{inventory.uid()}")
    counting.world.driver.snapshot(volume.volume_id, f"snapshot-{inventory.uid()}")
    counting.world.driver.snapshot(volume.volume_id, f"snapshot-{inventory.uid()}")
    promised = inventory.uid()
    inventory.content("being-taken", "", snapshot="soon", uid=promised)
    counting.world.driver.snapshot(volume.volume_id, f"snapshot-{promised}")
    with counting.running():
        counting.list_until((1, 2))


def test_an_object_that_is_younger_than_an_hour_does_not_count(counting: Counting) -> None:
    counting.world.driver.create(f"pvc-{counting.inventory.uid()}")
    counting.least_age = datetime.timedelta(hours=1)
    with counting.running():
        counting.list_until((0, 0))


def test_a_replica_without_lists_asks_neither_kubernetes_nor_the_array(counting: Counting) -> None:
    counting.world.driver.create(f"pvc-{counting.inventory.uid()}")
    before = len(counting.inventory.cluster.requests)
    with counting.running():
        eventually(lambda: counting.figures() == (None, None))
    assert counting.asked == 0
    assert len(counting.inventory.cluster.requests) == before


def test_between_two_counts_kubernetes_is_not_asked(counting: Counting) -> None:
    counting.seconds = 3600.0
    with counting.running():
        counting.list_until((0, 0))
        counting.world.driver.create(f"pvc-{counting.inventory.uid()}")
        for _ in range(5):
            counting.listing.contents()
    assert counting.figures() == (0, 0)
    assert counting.asked == 1


def test_a_cluster_that_cannot_be_asked_gives_no_figures(counting: Counting) -> None:
    counting.world.driver.create(f"pvc-{counting.inventory.uid()}")
    with counting.running():
        counting.list_until((1, 0))
        counting.errors = [Unavailable("away")]
        counting.list_until((None, None))


def test_the_figures_of_a_system_that_is_not_configured_any_more_do_not_come_back(
    counting: Counting,
) -> None:
    with counting.running():
        contents = counting.listing.contents()
        counting.fleet.replace((), frozenset())

        def counted() -> bool:
            assert counting.listing._after_read is not None
            counting.listing._after_read(contents, time.monotonic())
            return counting.asked > 1

        eventually(counted)
    assert counting.figures() == (None, None)


@pytest.mark.parametrize("resource", [VOLUMES, CLAIMS, CONTENTS])
def test_what_cannot_be_listed_is_an_error_and_never_no_need(counting: Counting, resource: str) -> None:
    counting.inventory.cluster.refused[resource] = 503
    with pytest.raises(Unavailable):
        counting.needed()


def test_a_cluster_without_snapshots_needs_none(counting: Counting) -> None:
    counting.inventory.provisioned("data")
    counting.inventory.cluster.refused[CONTENTS] = 404
    assert len(counting.needed().handles) == 1
