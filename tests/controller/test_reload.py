"""A changed systems file or password takes effect without a restart."""

from __future__ import annotations

import shutil
from pathlib import Path

import grpc
import pytest

from tests.controller.driver import refused
from tests.controller.eventually import eventually
from tests.controller.systems_file import SystemsFile, loads, replace
from tests.controller.world import World


@pytest.fixture
def file(array45: World) -> SystemsFile:
    file = SystemsFile(array45)
    array45.watching(file=file.path)
    return file


def test_a_changed_password_is_used_by_the_next_call(array45: World, file: SystemsFile) -> None:
    before = loads("ok")
    replace(file.password, "wrong")
    eventually(lambda: loads("ok") > before)
    refused(grpc.StatusCode.UNAUTHENTICATED, array45.driver.create)
    replace(file.password, "Simulated1!\n")
    eventually(lambda: loads("ok") > before + 1)
    assert array45.driver.create().volume_id


def test_a_changed_pool_is_used_and_unchanged_systems_keep_their_sessions(
    pair: World,
) -> None:
    file = SystemsFile(pair)
    driver = pair.watching(file=file.path)
    for name in ("array0", "array1"):
        driver.create(f"pvc-{name}", parameters={"systemID": name})
    logins = [gateway.log.find(path="/rest/auth/login") for gateway in pair.simulator.gateways]
    file.entries[0]["storagePool"] = "elsewhere"
    before = loads("ok")
    file.write()
    eventually(lambda: loads("ok") > before)
    text = refused(
        grpc.StatusCode.INVALID_ARGUMENT, lambda: driver.create("pvc-2", parameters={"systemID": "array0"})
    )
    assert "'elsewhere'" in text
    driver.create("pvc-2", parameters={"systemID": "array1"})
    now = [gateway.log.find(path="/rest/auth/login") for gateway in pair.simulator.gateways]
    assert len(now[0]) == len(logins[0]) + 1
    assert len(now[1]) == len(logins[1])


def test_a_change_between_the_start_and_the_first_check_is_used(array45: World) -> None:
    file = SystemsFile(array45)
    file.entries[0]["storagePool"] = "elsewhere"
    before = loads("ok")
    file.write()
    driver = array45.watching(file=file.path)
    eventually(lambda: loads("ok") > before)
    assert "'elsewhere'" in refused(grpc.StatusCode.INVALID_ARGUMENT, driver.create)


def test_a_broken_file_changes_nothing(array45: World, file: SystemsFile) -> None:
    before = loads("refused")
    file.path.write_text("systems: [")
    eventually(lambda: loads("refused") > before)
    assert array45.driver.create().volume_id
    file.write()
    eventually(lambda: array45.driver.create("pvc-2").volume_id != "")


def test_a_secret_that_is_replaced_by_a_link_is_read_again(array45: World, file: SystemsFile) -> None:
    """Kubernetes mounts a Secret as links into a folder, and replaces that folder by renaming another."""
    first, second = file.folder / "..1", file.folder / "..2"
    for folder, password in ((first, "Simulated1!"), (second, "wrong")):
        folder.mkdir()
        (folder / "password").write_text(password)
    data = file.folder / "..data"
    data.symlink_to(first)
    link = file.folder / "link"
    link.symlink_to(data / "password")
    link.replace(file.password)  # the file exists at all times and has the same content
    before = loads("ok")
    swapped = file.folder / "..new"
    swapped.symlink_to(second)
    swapped.replace(data)
    eventually(lambda: loads("ok") > before)
    refused(grpc.StatusCode.UNAUTHENTICATED, array45.driver.create)
    shutil.rmtree(first)


def test_a_removed_system_is_no_longer_served(pair: World) -> None:
    file = SystemsFile(pair)
    driver = pair.watching(file=file.path)
    volume = driver.create("pvc-1", parameters={"systemID": "array1"})
    before = loads("ok")
    del file.entries[1]
    file.write()
    eventually(lambda: loads("ok") > before)
    text = refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: driver.delete(volume.volume_id))
    assert "not in the systems file" in text
    assert Path(file.path).exists()
