"""A changed configuration takes effect without a restart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_powerflex.config import systems as systems_file
from csi_powerflex.observability import metrics
from csi_powerflex.simulator.blueprint import Blueprint
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.conftest import MakeWorld
from tests.controller.driver import refused
from tests.controller.eventually import eventually
from tests.controller.world import World


class Files:
    """The systems file of a world, as an operator would write it, with the password in a file of its own."""

    def __init__(self, world: World) -> None:
        self.folder = world.folder / "configuration"
        self.folder.mkdir()
        self.systems = self.folder / "systems.yaml"
        self.password = self.folder / "password"
        self.password.write_text("Simulated1!")
        self.entries: list[dict[str, Any]] = [
            {
                "name": settings.name,
                "endpoints": list(settings.endpoints),
                "username": settings.username,
                "passwordFile": str(self.password),
                "caFile": settings.ca_file,
                "protectionDomain": "pd1",
                "storagePool": "sp1",
            }
            for settings in world.systems
        ]
        self.write()
        world.systems = systems_file.load(self.systems)

    def write(self) -> None:
        new = self.folder / "new"
        new.write_text(json.dumps({"systems": self.entries}))
        new.replace(self.systems)


@pytest.fixture
def files(array45: World) -> Files:
    files = Files(array45)
    array45.watching(file=files.systems)
    return files


def loads(result: str) -> float:
    return float(metrics.CONFIGURATION_LOADS.labels(result)._value.get())


def test_a_changed_password_is_used_by_the_next_call(array45: World, files: Files) -> None:
    before = loads("OK")
    files.password.write_text("wrong")
    eventually(lambda: loads("OK") > before)
    refused(grpc.StatusCode.UNAUTHENTICATED, array45.driver.create)
    files.password.write_text("Simulated1!\n")
    eventually(lambda: loads("OK") > before + 1)
    assert array45.driver.create().volume_id


def test_a_changed_default_pool_is_used_and_what_is_unchanged_keeps_its_session(
    make_world: MakeWorld,
) -> None:
    world = make_world(
        SystemPlan(blueprint=Blueprint(name="one")), SystemPlan(blueprint=Blueprint(name="two"))
    )
    files = Files(world)
    driver = world.watching(file=files.systems)
    for name in ("array0", "array1"):
        driver.create(f"pvc-{name}", parameters={"systemID": name})
    logins = [gateway.log.find(path="/rest/auth/login") for gateway in world.simulator.gateways]
    files.entries[0]["storagePool"] = "elsewhere"
    before = loads("OK")
    files.write()
    eventually(lambda: loads("OK") > before)
    text = refused(
        grpc.StatusCode.INVALID_ARGUMENT, lambda: driver.create("pvc-2", parameters={"systemID": "array0"})
    )
    assert "'elsewhere'" in text
    driver.create("pvc-2", parameters={"systemID": "array1"})
    now = [gateway.log.find(path="/rest/auth/login") for gateway in world.simulator.gateways]
    assert len(now[0]) == len(logins[0]) + 1
    assert len(now[1]) == len(logins[1])


def test_a_change_between_the_reading_at_start_and_the_first_look_is_taken_up(array45: World) -> None:
    files = Files(array45)
    files.entries[0]["storagePool"] = "elsewhere"
    before = loads("OK")
    files.write()
    driver = array45.watching(file=files.systems)
    eventually(lambda: loads("OK") > before)
    assert "'elsewhere'" in refused(grpc.StatusCode.INVALID_ARGUMENT, driver.create)


def test_a_broken_file_changes_nothing(array45: World, files: Files) -> None:
    before = loads("refused")
    files.systems.write_text("systems: [")
    eventually(lambda: loads("refused") > before)
    assert array45.driver.create().volume_id
    files.write()
    eventually(lambda: array45.driver.create("pvc-2").volume_id != "")


def test_a_secret_swapped_by_its_link_is_seen(array45: World, files: Files) -> None:
    """Kubernetes mounts a Secret as links through a folder that it replaces by renaming."""
    first, second = files.folder / "..1", files.folder / "..2"
    for folder, password in ((first, "Simulated1!"), (second, "wrong")):
        folder.mkdir()
        (folder / "password").write_text(password)
    data = files.folder / "..data"
    data.symlink_to(first)
    link = files.folder / "link"
    link.symlink_to(data / "password")
    link.replace(files.password)  # never missing, and the same content
    before = loads("OK")
    swapped = files.folder / "..new"
    swapped.symlink_to(second)
    swapped.replace(data)
    eventually(lambda: loads("OK") > before)
    refused(grpc.StatusCode.UNAUTHENTICATED, array45.driver.create)
    shutil.rmtree(first)


def test_a_system_that_is_taken_out_is_no_longer_served(make_world: MakeWorld) -> None:
    world = make_world(
        SystemPlan(blueprint=Blueprint(name="one")), SystemPlan(blueprint=Blueprint(name="two"))
    )
    files = Files(world)
    driver = world.watching(file=files.systems)
    volume = driver.create("pvc-1", parameters={"systemID": "array1"})
    before = loads("OK")
    del files.entries[1]
    files.write()
    eventually(lambda: loads("OK") > before)
    text = refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: driver.delete(volume.volume_id))
    assert "not in the systems file" in text
    assert Path(files.systems).exists()
