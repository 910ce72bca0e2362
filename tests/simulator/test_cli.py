"""``csi-powerflex simulate`` as a process: its output, its files and its end."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner
from urllib3.exceptions import InsecureRequestWarning

from csi_powerflex.cli.simulate import command
from csi_powerflex.simulator import certificates
from tests.commands import output_of
from tests.controller.eventually import eventually
from tests.simulator.devices import nothing_is_left
from tests.simulator.process import mapped_volume, running, session


def test_the_authority_in_the_ready_file_issued_the_certificate(tmp_path: Path) -> None:
    with running(tmp_path, "--sdc", "a") as (_, ready), session(ready) as client:
        assert client.get(f"{ready['url']}/api/version", timeout=5).json() == "4.5"
        (system,) = client.get(f"{ready['url']}/api/types/System/instances", timeout=5).json()
        assert system["id"] == ready["systemId"]
        (sdc,) = client.get(f"{ready['url']}/api/types/Sdc/instances", timeout=5).json()
        assert sdc["sdcGuid"] == ready["hosts"]["a"]["guid"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_state_survives_the_end_of_the_process(tmp_path: Path, how: signal.Signals) -> None:
    state = ("--state", str(tmp_path / "state"))
    with running(tmp_path, *state) as (process, ready), session(ready) as client:
        (pool,) = client.get(f"{ready['url']}/api/types/StoragePool/instances", timeout=5).json()
        body = {"name": "kept", "storagePoolId": pool["id"], "volumeSizeInGb": "8"}
        made = client.post(f"{ready['url']}/api/types/Volume/instances", json=body, timeout=5).json()
        process.send_signal(how)
        process.wait(timeout=5)
    with running(tmp_path, *state) as (_, again), session(again) as client:
        (volume,) = client.get(f"{again['url']}/api/types/Volume/instances", timeout=5).json()
        assert (volume["name"], volume["id"]) == ("kept", made["id"])
        assert again["systemId"] == ready["systemId"]
        assert again["hosts"] == ready["hosts"]


def test_a_kept_state_takes_the_password_of_the_new_start(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"))
    with running(tmp_path, *state) as (_, ready), session(ready) as client:
        url = f"{ready['url']}/api/types/System/instances"
        (system,) = client.get(url, timeout=5).json()
    with running(tmp_path, *state, "--password", "Another1!") as (_, again), session(again) as client:
        assert again["password"] == "Another1!"
        (found,) = client.get(f"{again['url']}/api/types/System/instances", timeout=5).json()
        assert found["id"] == system["id"]


def test_it_serves_at_another_address_with_given_certificates(tmp_path: Path) -> None:
    made = certificates.ensure(tmp_path / "made")
    given = tmp_path / "given"
    given.mkdir()
    for source, name in ((made.authority, "ca.crt"), (made.server, "tls.crt"), (made.key, "tls.key")):
        (given / name).write_bytes(source.read_bytes())
    options = ("--address", "0.0.0.0", "--tls-dir", str(given), "--password", "Another1!")  # noqa: S104 - under test
    with running(tmp_path, *options) as (_, ready), session(ready) as client:
        assert (ready["caFile"], ready["password"]) == (str(given / "ca.crt"), "Another1!")
        other_address = ready["url"].replace("127.0.0.1", "127.0.0.2")
        client.verify = False  # the certificate is for 127.0.0.1
        with pytest.warns(InsecureRequestWarning):
            assert client.get(f"{other_address}/api/version", timeout=5).json() == "4.5"


def test_the_error_for_a_missing_certificate_is_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["--tls-dir", str(tmp_path)])
    assert (done.exit_code, done.output) == (1, f"Error: --tls-dir: there is no file {tmp_path / 'ca.crt'}\n")


@pytest.mark.needs("devices")
def test_a_new_folder_becomes_a_host_and_stays_one_after_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state"
    options = ("--state", str(state), "--hosts-by-folder")
    folder = state / "hosts" / "late"
    with running(tmp_path, *options) as (_, ready), session(ready) as client:
        folder.mkdir()
        eventually((folder / "drv_cfg").exists)
        guid = (folder / "guid").read_text().strip()
        ready["hosts"]["a"] = {"guid": guid, "byIdDir": str(folder / "by-id")}
        device = mapped_volume(client, ready)
        assert device.is_block_device()
    with running(tmp_path, *options) as (_, again):
        assert again["hosts"]["late"]["guid"] == guid
        assert device.is_block_device()


def test_sigint_ends_it_even_if_a_client_is_connected(tmp_path: Path) -> None:
    with running(tmp_path) as (process, ready), session(ready) as client:
        client.get(f"{ready['url']}/api/version", timeout=5)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


def test_the_ready_file_exists_while_the_simulator_runs(tmp_path: Path) -> None:
    with running(tmp_path) as (process, _):
        ready = tmp_path / "ready.json"
        assert ready.exists()
        process.terminate()
        assert process.wait(timeout=5) == 0
        assert not ready.exists()


def test_the_ready_file_of_a_killed_simulator_is_removed_at_the_next_start(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    ready.write_text("{}")
    faults = str(tmp_path / "missing.yaml")
    command = [sys.executable, "-m", "csi_powerflex", "simulate", f"--ready-file={ready}", "--faults", faults]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert not ready.exists()


def test_a_ready_file_of_another_simulator_is_not_removed(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    with running(tmp_path) as (process, _):
        ready.write_text("of another")
        process.terminate()
        process.wait(timeout=5)
        assert ready.read_text() == "of another"


def test_the_error_for_a_ready_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    ready = tmp_path / "missing" / "ready.json"
    command = [sys.executable, "-m", "csi_powerflex", "simulate", f"--ready-file={ready}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert done.stderr == f"Error: cannot write {ready}: No such file or directory\n"


def test_it_serves_more_connections_than_the_soft_limit_of_open_files(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 128), hard))  # the simulator inherits it
    try:
        with running(tmp_path) as (_, ready), contextlib.ExitStack() as opened:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            port = int(ready["url"].rpartition(":")[2])
            for _ in range(200):
                opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            with session(ready) as client:
                assert client.get(f"{ready['url']}/api/version", timeout=5).json() == "4.5"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_error_for_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with running(tmp_path) as (_, ready):
        port = ready["url"].rpartition(":")[2]
        command = [sys.executable, "-m", "csi_powerflex", "simulate", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 1
        assert done.stderr == f"Error: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_other_machines_reach_it_by_a_name_of_its_certificate(tmp_path: Path) -> None:
    names = ("--name", "gateway.test", "--name", "192.0.2.1")
    with running(tmp_path, "--address", "0.0.0.0", *names) as (_, ready):  # noqa: S104 - under test
        assert ready["url"].startswith("https://gateway.test:")
        port = int(ready["url"].rpartition(":")[2])
        trusting = ssl.create_default_context(cafile=ready["caFile"])
        for name in ("gateway.test", "192.0.2.1", "127.0.0.1"):
            with (
                socket.create_connection(("127.0.0.2", port), timeout=5) as plain,
                trusting.wrap_socket(plain, server_hostname=name) as secure,
            ):
                assert secure.version() is not None
        assert ready["adminUrl"].startswith("http://127.0.0.1:")


def test_the_error_for_an_address_of_another_machine_is_one_line() -> None:
    command = [sys.executable, "-m", "csi_powerflex", "simulate", "--address", "192.0.2.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: cannot listen on 192.0.2.1: Cannot assign requested address\n"


def test_the_tool_of_a_host_works_at_another_path(tmp_path: Path) -> None:
    with running(tmp_path, "--sdc", "a") as (_, ready):
        host = ready["hosts"]["a"]
        copied = shutil.copytree(Path(host["drvCfg"]).parent, tmp_path / "bin") / "drv_cfg"
        assert output_of([copied, "--query_guid"]) == host["guid"]


def test_one_file_describes_several_systems(tmp_path: Path) -> None:
    config = tmp_path / "systems.yaml"
    config.write_text(
        "systems:\n"
        "- name: east\n"
        "  domains: [{name: pdx, pools: [{name: packed, layout: FineGranularity}]}]\n"
        "- {name: west, version: '5.0', volumes: 3}\n"
    )
    with running(tmp_path, "--config", str(config), "--sdc", "a") as (_, ready):
        east, west = ready["systems"]
        assert (east["protectionDomain"], east["storagePool"]) == ("pdx", "packed")
        assert (east["version"], west["version"]) == ("4.5", "5.0")
        with session(west) as client:
            volumes = client.get(f"{west['url']}/api/types/Volume/instances", timeout=5).json()
            assert [volume["genType"] for volume in volumes] == ["EC"] * 3
        drv_cfg = [east["hosts"]["a"]["drvCfg"], "--query_mdms"]
        count, *mdms = output_of(drv_cfg).splitlines()
        assert count == "Retrieved 2 mdm(s)"
        assert {line.split()[1] for line in mdms} == {east["systemId"], west["systemId"]}


def test_faults_from_a_file_strike_from_the_start(tmp_path: Path) -> None:
    faults = tmp_path / "faults.yaml"
    faults.write_text("faults: [{kind: error, route: version, status: 503, times: 1}]\n")
    with running(tmp_path, "--faults", str(faults)) as (_, ready), session(ready) as client:
        statuses = [client.get(f"{ready['url']}/api/version", timeout=5).status_code for _ in range(2)]
        assert statuses == [503, 200]
        count = requests.get(f"{ready['adminUrl']}/requests/count?route=version", timeout=5).json()
        assert count["routes"] == {"version": 2}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("systems: [{name: x, version: '9'}]", "Invalid enum value '9' - at `$.systems[0].version`"),
        ("systems: [{title: x}]", "title"),
        (
            "systems: [{name: x, settings: {removal: 1}}]",
            "settings: Object contains unknown field `removal`",
        ),
        ("systems: [{name: x, domains: [{generation: EC}]}]", "version 4.5 has no erasure-coded"),
        ("systems: {", "is not YAML"),
    ],
)
def test_the_error_for_an_invalid_file_is_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    config = tmp_path / "systems.yaml"
    config.write_text(text)
    command = [sys.executable, "-m", "csi_powerflex", "simulate", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert complaint in line


def test_hosts_need_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = CliRunner().invoke(command, ["--host", "a", "--state", str(tmp_path)])
    assert result.exit_code == 1
    assert "the hosts a cannot have devices: block devices need root" in result.output


@pytest.mark.needs("devices")
def test_a_restart_after_a_kill_keeps_the_devices(tmp_path: Path) -> None:
    options = ("--state", str(tmp_path / "state"), "--host", "a")
    with running(tmp_path, *options) as (process, ready), session(ready) as client:
        link = mapped_volume(client, ready)
        device = link.readlink()
        link.write_bytes(b"before the kill".ljust(4096))
        process.kill()
        process.wait(timeout=5)
    with running(tmp_path, *options):
        assert link.readlink() == device
        with link.open("rb") as opened:
            assert opened.read(15) == b"before the kill"
    nothing_is_left(tmp_path)
