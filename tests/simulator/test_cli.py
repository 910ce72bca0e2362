"""``csi-powerflex simulate`` as a process: what it prints, what it leaves, how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests


@contextmanager
def running(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "csi_powerflex", "simulate", "--ready-file", str(ready), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        deadline = time.monotonic() + 20
        while not ready.exists():
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            assert time.monotonic() < deadline, "the simulator was not ready within 20 seconds"
            time.sleep(0.01)
        yield process, json.loads(ready.read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)


@contextmanager
def session(ready: dict[str, Any]) -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.trust_env = False  # a CA bundle of the environment must not replace ours
        opened.verify = ready["caFile"]
        login = {"username": ready["username"], "password": ready["password"]}
        token = opened.post(f"{ready['url']}/rest/auth/login", json=login, timeout=5).json()["access_token"]
        opened.headers["Authorization"] = f"Bearer {token}"
        yield opened


def test_the_certificate_is_trusted_by_the_announced_authority(tmp_path: Path) -> None:
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


def test_it_ends_within_two_seconds_of_being_asked(tmp_path: Path) -> None:
    with running(tmp_path) as (process, ready), session(ready) as client:
        client.get(f"{ready['url']}/api/version", timeout=5)
        before = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=5) == 0
        assert time.monotonic() - before < 2


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with running(tmp_path) as (_, ready):
        port = ready["url"].rpartition(":")[2]
        command = [sys.executable, "-m", "csi_powerflex", "simulate", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 1
        assert done.stderr == f"Error: cannot listen on 127.0.0.1:{port}: Address already in use\n"
