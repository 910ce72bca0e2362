"""The log of a controller process: its first lines, its calls, and SIGHUP."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import grpc
import pytest

from csi_powerflex import __version__
from csi_powerflex.pb import csi_pb2
from tests.controller.driver import refused
from tests.controller.eventually import eventually
from tests.controller.systems_file import SystemsFile
from tests.controller.world import World
from tests.controller_process import ControllerProcess


@pytest.fixture
def file(array45: World) -> SystemsFile:
    return SystemsFile(array45)


@pytest.fixture
def process(array45: World, file: SystemsFile) -> Iterator[ControllerProcess]:
    """The command, with the array of this world."""
    with ControllerProcess(array45.folder / "process", file.path) as process:
        yield process


def lines(process: ControllerProcess) -> list[str]:
    return process.output().decode().splitlines()


def test_the_first_lines_tell_version_names_systems_and_pools(process: ControllerProcess) -> None:
    process.wait_for("system found")
    first = lines(process)[0]
    assert "csi-powerflex started role=controller" in first
    assert f"version={__version__}" in first
    assert "driver_name=csi.powerflex.dev cluster_id=test systems=array0" in first
    (found,) = (line for line in lines(process) if "system found" in line)
    assert re.search(r"system=array0 system_id=[0-9a-f]{16} pools=pd1/sp1$", found)
    assert f'csi_powerflex_build_info{{role="controller",version="{__version__}"}} 1.0' in (
        process.metrics().decode()
    )


def test_lines_of_background_work_have_the_system_in_a_field_of_its_own(process: ControllerProcess) -> None:
    process.wait_for("system found")
    (line,) = (line for line in lines(process) if "logged in" in line)
    assert 'task="monitor array0" system=array0' in line
    assert "request_id=" not in line


def test_calls_that_only_look_leave_no_lines_and_one_that_changes_something_leaves_one(
    process: ControllerProcess,
) -> None:
    process.wait_for("system found")
    before = len(lines(process))
    for _ in range(5):
        process.driver.controller.GetCapacity(csi_pb2.GetCapacityRequest(), timeout=30)
        process.driver.controller.ListVolumes(csi_pb2.ListVolumesRequest(), timeout=30)
        process.driver.controller.ControllerGetCapabilities(
            csi_pb2.ControllerGetCapabilitiesRequest(), timeout=30
        )
    assert len(lines(process)) == before
    volume = process.driver.create()
    (line,) = (line for line in lines(process)[before:] if " call " in line)
    assert "call ended" in line
    assert "rpc=CreateVolume" in line
    assert volume.volume_id


def test_a_failed_call_is_found_by_the_message_of_its_event_and_by_the_name_of_the_claim(
    process: ControllerProcess,
) -> None:
    text = refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        lambda: process.driver.create("pvc-12", parameters={"storagepool": "nowhere"}),
    )
    (line,) = (line for line in lines(process) if "name=pvc-12" in line)
    assert "call failed" in line
    assert text in line
    assert re.search(r"request_id=[0-9a-f]{8}", line)


def test_sighup_makes_the_controller_compare_its_systems_file_at_once(
    process: ControllerProcess, file: SystemsFile
) -> None:
    process.wait_for("system found")
    file.entries[0]["storagePool"] = "elsewhere"
    file.write()
    os.kill(process.pid, signal.SIGHUP)
    process.wait_for("SIGHUP received, the systems file is compared now")
    process.wait_for("configuration changed")
    eventually(lambda: process.running)
    assert process.terminate() == 0


def test_a_configuration_that_cannot_be_used_has_a_metric(
    process: ControllerProcess, file: SystemsFile
) -> None:
    eventually(lambda: b"csi_powerflex_configuration_valid 1.0" in process.metrics())
    file.path.write_text("systems: []")
    os.kill(process.pid, signal.SIGHUP)
    eventually(lambda: b"csi_powerflex_configuration_valid 0.0" in process.metrics())
    assert process.running
