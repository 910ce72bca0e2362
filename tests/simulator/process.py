"""``csi-powerflex simulate`` in its own process, and clients of it."""

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

import requests

from tests.controller.eventually import eventually


@contextmanager
def running(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A running simulator and the content of its ready file, which is ``folder``/ready.json."""
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
    """A session with a login at the simulator of this ready file."""
    with requests.Session() as opened:
        opened.trust_env = False  # a CA bundle of the environment must not replace the simulator's
        opened.verify = ready["caFile"]
        login = {"username": ready["username"], "password": ready["password"]}
        token = opened.post(f"{ready['url']}/rest/auth/login", json=login, timeout=5).json()["access_token"]
        opened.headers["Authorization"] = f"Bearer {token}"
        yield opened


def mapped_volume(client: requests.Session, ready: dict[str, Any]) -> Path:
    """Create a volume and map it to the host a. Returns its link when it exists."""
    (pool,) = client.get(f"{ready['url']}/api/types/StoragePool/instances", timeout=5).json()
    body = {"storagePoolId": pool["id"], "volumeSizeInGb": "8"}
    volume = client.post(f"{ready['url']}/api/types/Volume/instances", json=body, timeout=5).json()["id"]
    action = f"{ready['url']}/api/instances/Volume::{volume}/action/addMappedSdc"
    client.post(action, json={"guid": ready["hosts"]["a"]["guid"]}, timeout=5).raise_for_status()
    link = Path(ready["hosts"]["a"]["byIdDir"]) / f"emc-vol-{ready['systemId']}-{volume}"
    eventually(link.exists)
    return link
