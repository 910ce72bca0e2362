"""A Kubernetes cluster of two workers on this machine, with a simulated array as their storage."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.e2e import build
from tests.e2e.array import Array
from tests.e2e.controlplane import ControlPlane
from tests.e2e.kubernetes import Kubernetes
from tests.e2e.machine import CONTROL_ADDRESS, Machine, Sdc, prepare_network
from tests.e2e.pki import Authority

WORKERS = ("worker1", "worker2")
NAMESPACE = "powerflex"


class Cluster:
    """Everything that runs. ``folder`` holds all data and logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        authority = Authority(folder / "pki")
        self.array = Array(folder / "array", CONTROL_ADDRESS, WORKERS)
        self.plane = ControlPlane(folder / "control-plane", authority)
        self.kubernetes = Kubernetes(self.plane, authority.certificate)
        self.machines = {
            name: Machine(name, number, folder / name, authority, self._sdc(name))
            for number, name in enumerate(WORKERS, 1)
        }

    def _sdc(self, name: str) -> Sdc:
        host = self.folder / "array" / "state" / "hosts" / name
        return Sdc(tools=host, by_id=host / "by-id")

    def start(self) -> None:
        """Start the array, the control plane and the workers; the workers are ready when this returns."""
        prepare_network()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda part: part.start(), (self.array, self.plane)))
            list(pool.map(Machine.start, self.machines.values()))
        crds = build.snapshot_crds()
        self.kubernetes.kubectl("apply", "--server-side", *(f"--filename={crd}" for crd in crds))
        self.plane.start_snapshot_controller()
        for name in self.machines:
            self.await_ready(name)

    def await_ready(self, worker: str, *, ready: bool = True, seconds: float = 120) -> None:
        """Wait until a worker is ready, or is known not to be."""
        self.kubernetes.until(
            "nodes",
            worker,
            None,
            lambda node: is_ready(node) == ready,
            what="ready" if ready else "known to be lost",
            seconds=seconds,
        )

    def stop(self) -> None:
        """End everything, the array last."""
        for machine in self.machines.values():
            machine.stop()
        self.plane.stop()
        self.array.stop()

    def systems(self) -> dict[str, str]:
        """The files that an operator writes to say how the array is reached, by name."""
        facts = self.array.facts
        system = {
            "name": "array",
            "endpoints": [facts["url"]],
            "username": facts["username"],
            "passwordFile": "/etc/powerflex/password",
            "caFile": "/etc/powerflex/ca.pem",
            "protectionDomain": facts["protectionDomain"],
            "storagePool": facts["storagePool"],
        }
        return {
            "systems.yaml": json.dumps({"systems": [system]}),
            "password": facts["password"],
            "ca.pem": Path(facts["caFile"]).read_text(),
        }

    def make_secret(self) -> None:
        """Make or renew the Secret with these files."""
        self.kubernetes.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "powerflex", "namespace": NAMESPACE},
                "stringData": self.systems(),
            },
        )


def is_ready(node: dict[str, object]) -> bool:
    """Whether a Node is ready."""
    status = node["status"]
    assert isinstance(status, dict)
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", ()))


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A cluster; when the block ends, nothing of it runs."""
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
