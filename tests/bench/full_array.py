"""A simulated array that is full of this cluster's volumes and snapshots, served by a process of its own.

``python -m tests.bench.full_array FOLDER VOLUMES SYSTEMS`` serves until SIGTERM or SIGINT. When it serves,
it writes the systems file for the controller, ``FOLDER/systems.yaml``.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from csi_powerflex import names
from csi_powerflex.simulator import model
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.initial_state import InitialState
from csi_powerflex.simulator.server import Server
from csi_powerflex.simulator.simulator import Simulator, SystemPlan
from tests.bench.simulator_process import running

CLUSTER_ID = "test"
MOST_VOLUMES = 131_072
NODES = 64
_PASSWORD = "Simulated1!"


@contextlib.contextmanager
def served(folder: Path, volumes: int, systems: int = 1) -> Iterator[Path]:
    """Serve full arrays from another process; the path of the systems file for a controller."""
    folder.mkdir(parents=True)
    file = folder / "systems.yaml"
    with running("tests.bench.full_array", folder, volumes, systems, ready=file):
        yield file


def _fill(array: Array) -> None:
    """Give half of the volumes to the cluster, each mapped to a node; make the others snapshots of them."""
    hosts = list(array.hosts)
    volumes = list(array.volumes.values())
    for number, (volume, copy) in enumerate(zip(volumes[::2], volumes[1::2], strict=False)):
        volume.name = names.array_name(names.Kind.VOLUME, CLUSTER_ID, f"pvc-{number}")
        volume.mappings = [model.Mapping(host_id=hosts[number % len(hosts)])]
        copy.name = names.array_name(names.Kind.SNAPSHOT, CLUSTER_ID, f"snapshot-{number}")
        copy.type = model.SNAPSHOT
        copy.ancestor_id = volume.id
        array.put(volume)
        array.put(copy)


def _serve(folder: Path, volumes: int, systems: int) -> None:
    plans = [
        SystemPlan(initial_state=InitialState(name=f"system{number}", volumes=volumes))
        for number in range(systems)
    ]
    sdcs = tuple(f"node{number}" for number in range(NODES))
    with Simulator(plans, folder=folder / "array", sdcs=sdcs) as simulator, Server(simulator) as server:
        for gateway in simulator.gateways:
            with gateway.array.lock:
                _fill(gateway.array)
        (folder / "password").write_text(_PASSWORD)
        entries = [
            {
                "name": f"array{number}",
                "endpoints": [url],
                "username": "admin",
                "passwordFile": str(folder / "password"),
                "caFile": str(server.certificates.authority),
            }
            for number, url in enumerate(server.urls)
        ]
        new = folder / "new"
        new.write_text(json.dumps({"systems": entries}))
        new.replace(folder / "systems.yaml")
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    _serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
