"""A simulated array with many hosts, volumes and zones, served by a process of its own.

``python -m tests.bench.scaled_array FOLDER HOSTS VOLUMES ZONES`` serves until SIGTERM or SIGINT. When it
serves, it writes ``FOLDER/volumes.json``, the CSI ids of the volumes, and then ``FOLDER/ready.json``.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex import names
from csi_powerflex.simulator import ready
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState
from csi_powerflex.simulator.server import Server
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import Simulator, SystemPlan
from tests.bench.simulator_process import running
from tests.soak.array import SoakedArray

CLUSTER_ID = "test"


@dataclass(frozen=True)
class ScaledArray:
    """The array, with the systems file for its controllers, its nodes and its volumes by their CSI ids."""

    target: SoakedArray
    systems: Path
    nodes: Sequence[str]
    volumes: Sequence[str]

    def connect(self, *, connected: bool) -> None:
        """Connect or disconnect every host."""
        for name in self.target.ready["hosts"]:
            self.target.connect(name, connected=connected)


@contextlib.contextmanager
def served(folder: Path, *, hosts: int, volumes: int, zones: int) -> Iterator[ScaledArray]:
    """Serve such an array from another process. Zone ``z0`` is protection domain ``pd1``, and so on."""
    ready_file = folder / "ready.json"
    with running("tests.bench.scaled_array", folder, hosts, volumes, zones, ready=ready_file) as pid:
        target = SoakedArray(json.loads(ready_file.read_text()), pid)
        yield ScaledArray(
            target,
            _systems_file(folder, target, zones),
            [target.node(name) for name in target.ready["hosts"]],
            json.loads((folder / "volumes.json").read_text()),
        )


def _systems_file(folder: Path, target: SoakedArray, zones: int) -> Path:
    system = {key: target.ready[key] for key in ("username", "password", "caFile")}
    system |= {
        "name": "array",
        "endpoints": [target.ready["url"]],
        "zones": [
            {"name": f"z{number}", "protectionDomain": f"pd{number + 1}", "storagePools": ["sp1"]}
            for number in range(zones)
        ],
    }
    path = folder / "systems.yaml"
    path.write_text(json.dumps({"systems": [system]}))
    return path


def _name(array: Array) -> list[str]:
    """Let the cluster own all volumes; returns their CSI ids."""
    for number, volume in enumerate(list(array.volumes.values())):
        array.change(volume, name=names.array_name(names.Kind.VOLUME, CLUSTER_ID, f"pvc-{number}"))
    array.commit()
    return [f"{array.system.id}-{volume_id}" for volume_id in array.volumes]


def _serve(folder: Path, hosts: int, volumes: int, zones: int) -> None:
    plan = SystemPlan(
        initial_state=InitialState(
            domains=tuple(DomainPlan(name=f"pd{number + 1}") for number in range(zones)), volumes=volumes
        ),
        settings=Settings(max_volumes_per_domain=volumes // zones + 2),
    )
    sdcs = tuple(f"node{number}" for number in range(hosts))
    with Simulator([plan], folder=folder / "array", sdcs=sdcs) as simulator, Server(simulator) as server:
        with simulator.gateway.array.lock:
            ids = _name(simulator.gateway.array)
        (folder / "volumes.json").write_text(json.dumps(ids))
        with ready.ready_file(folder / "ready.json", server):
            signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    _serve(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
