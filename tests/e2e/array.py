"""The simulated PowerFlex with the volumes of the cluster. It is a process outside of the cluster.

It has four systems. The cluster uses the first one, and its first pool, unless a scenario says otherwise.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests

from tests.e2e.processes import Daemon, await_true

PORT = 8443
# An 8 GiB volume moves to another pool within six seconds: long enough to be seen while it moves.
_MIGRATION_KB_PER_SECOND = (8 << 20) // 6
SYSTEMS = [
    # The pools of the first system have different sizes, so that their free capacity can be told apart.
    {
        "name": "one",
        "domains": [{"name": "pd1"}, {"name": "pd2", "pools": [{"name": "sp2", "raw_gib": 128 * 1024}]}],
        "settings": {"migration_kb_per_second": _MIGRATION_KB_PER_SECOND},
    },
    {"name": "two"},
    # For the operator's scenarios. Volumes are multiples of 1 GiB, so a data mover takes seconds.
    {"name": "east", "version": "5.0"},
    {"name": "west", "version": "5.0"},
]


class Array:
    """``csi-powerflex simulate`` on ``address``. Its hosts are the workers."""

    def __init__(self, folder: Path, address: str, hosts: Sequence[str]) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._ready = folder / "ready.json"
        config = folder / "systems.json"
        config.write_text(json.dumps({"systems": SYSTEMS}))
        self._command = [
            sys.executable,
            "-m",
            "csi_powerflex",
            "simulate",
            f"--config={config}",
            f"--state={folder / 'state'}",
            f"--ready-file={self._ready}",
            f"--address={address}",
            f"--port={PORT}",
            *(f"--host={host}" for host in hosts),
        ]
        self._daemon = Daemon("array", self._command, folder)
        self.facts: dict[str, Any] = {}

    def start(self) -> None:
        """Start it and wait until it is ready. After ``stop`` or ``kill`` it continues with its state."""
        self._daemon.start_until(self._ready.exists)
        self.facts = json.loads(self._ready.read_text())

    def stop(self) -> None:
        """Stop it as an administrator does."""
        self._daemon.stop(seconds=30)

    def restart_with_password(self, password: str) -> None:
        """Change the password of its user. No volume may be in use, because its devices are created again."""
        self.stop()
        self._daemon = Daemon("array", [*self._command, f"--password={password}"], self._folder)
        self.start()

    def pause_gateway(self) -> None:
        """Let the gateway answer only HTTP 503, as a load balancer without servers. Data are not affected."""
        fault = {"kind": "html", "route": "*", "status": 503}
        requests.post(f"{self.facts['adminUrl']}/faults", json=fault, timeout=10).raise_for_status()

    def resume_gateway(self) -> None:
        """Remove that fault."""
        requests.delete(f"{self.facts['adminUrl']}/faults", timeout=10).raise_for_status()

    def set_pool_health(self, pool: str, health: str) -> None:
        """Let a pool of the first system be healthy, degraded or failed."""
        self._set(f"pools/{pool}", {"health": health})

    def advance_clock(self, seconds: int) -> None:
        """Put the clock of all systems forward. What was due in that time happens at once."""
        self._set("clock", {"seconds": seconds})

    def set_connected(self, host: str, *, connected: bool) -> None:
        """Let the first system lose or find the connection to the SDC of a host."""
        self._set(f"hosts/{host}", {"connected": connected})

    def _set(self, path: str, state: dict[str, Any]) -> None:
        requests.post(f"{self.facts['adminUrl']}/{path}", json=state, timeout=10).raise_for_status()

    def mdms_of(self, host: str) -> Path:
        """The file from which the tool of a host's SDC reads its MDMs."""
        return self._folder / "state" / "hosts" / host / "mdms"

    def requests_since(self, number: int) -> list[dict[str, Any]]:
        """The log of requests from ``number`` on."""
        reply = requests.get(f"{self.facts['adminUrl']}/requests", params={"since": number}, timeout=10)
        return list(reply.json()["requests"])

    # --- administration ----------------------------------------------------------------------------

    def _session(self, url: str) -> requests.Session:
        session = requests.Session()
        session.trust_env = False  # an authority in the environment would replace that of the array
        session.verify = self.facts["caFile"]
        login = {"username": self.facts["username"], "password": self.facts["password"]}
        reply = session.post(f"{url}/rest/auth/login", json=login, timeout=10)
        reply.raise_for_status()
        session.headers["Authorization"] = f"Bearer {reply.json()['access_token']}"
        return session

    def get(self, path: str, *, system: int = 0) -> Any:
        """The answer of a GET below /api of a system."""
        url = self.facts["systems"][system]["url"]
        with self._session(url) as session:
            reply = session.get(f"{url}/api/{path}", timeout=10)
            reply.raise_for_status()
            return reply.json()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The answer of a POST below /api of the first system."""
        url = self.facts["url"]
        with self._session(url) as session:
            reply = session.post(f"{url}/api/{path}", json=body, timeout=10)
            reply.raise_for_status()
            return reply.json()

    def volumes(self, *, system: int = 0) -> dict[str, dict[str, Any]]:
        """Every volume and snapshot of a system by its id."""
        return {volume["id"]: volume for volume in self.get("types/Volume/instances", system=system)}

    def pool_of(self, handle: str) -> tuple[int, str]:
        """The number of the system that has the volume with this CSI id, and the name of the pool."""
        system_id, _, volume_id = handle.partition("-")
        system = [each["systemId"] for each in self.facts["systems"]].index(system_id)
        volume = self.get(f"instances/Volume::{volume_id}", system=system)
        pool = self.get(f"instances/StoragePool::{volume['storagePoolId']}", system=system)
        return system, pool["name"]

    def await_volumes(self, wanted: set[str], *, system: int = 0, seconds: float = 120) -> None:
        """Wait until exactly the volumes with these ids exist on a system."""
        await_true(
            lambda: set(self.volumes(system=system)) == wanted,
            what=f"the array having only the volumes {sorted(wanted)}",
            seconds=seconds,
            every=0.3,
        )

    def hosts_of(self, volume_id: str) -> set[str]:
        """The names of the hosts that a volume is mapped to."""
        names = {sdc["id"]: sdc["name"] for sdc in self.get("types/Sdc/instances")}
        mapped = self.get(f"instances/Volume::{volume_id}")["mappedSdcInfo"] or []
        return {names[mapping["sdcId"]] for mapping in mapped}
