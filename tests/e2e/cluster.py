"""A Kubernetes cluster of two workers on this machine, with a simulated array as its storage."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.e2e import built, loops
from tests.e2e.array import Array
from tests.e2e.controlplane import ControlPlane
from tests.e2e.kubernetes import Kubernetes, Object
from tests.e2e.machine import CONTROL_ADDRESS, Machine, Sdc, prepare_network
from tests.e2e.pki import Authority

WORKERS = ("worker1", "worker2")
NAMESPACE = "powerflex"
RELEASE = "csi-powerflex"
DRIVER = "csi.powerflex.dev"
CHART = built.ROOT / "charts" / "csi-powerflex"
_VALUES = Path(__file__).with_name("values.yaml")


class Cluster:
    """All processes of the cluster. ``folder`` has their data and logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        authority = Authority(folder / "pki")
        self.authority = authority
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
        """Start the array, the control plane and the workers, and wait until the workers are ready."""
        prepare_network()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda part: part.start(), (self.array, self.plane)))
            list(pool.map(Machine.start, self.machines.values()))
        crds = built.crds()
        self.kubernetes.kubectl("apply", "--server-side", *(f"--filename={crd}" for crd in crds))
        self.plane.start_snapshot_controller()
        for name in self.machines:
            self.await_ready(name)

    def await_ready(self, worker: str, *, ready: bool = True, seconds: float = 120) -> None:
        """Wait until a worker is ready, or until Kubernetes shows that it is not."""
        self.kubernetes.until(
            "nodes",
            worker,
            None,
            lambda node: is_ready(node) == ready,
            what="ready" if ready else "known to be lost",
            seconds=seconds,
        )

    def install(self, *arguments: str) -> None:
        """Install or upgrade the chart, and wait until it is ready and registered at every kubelet."""
        self.kubernetes.helm(
            "upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE,
            "--values", str(_VALUES), "--wait", "--timeout=300s", *arguments,
        )  # fmt: skip
        self.await_driver(DRIVER)

    def uninstall(self) -> None:
        """Uninstall the chart. Volumes are kept."""
        self.kubernetes.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout=240s")

    def await_driver(self, driver: str) -> None:
        """Wait until a CSI driver is registered at every kubelet."""

        def has_driver(node: Object) -> bool:
            return any(each["name"] == driver for each in node["spec"].get("drivers") or ())

        for name in self.machines:
            self.kubernetes.until("csinodes", name, None, has_driver, what=f"known to have {driver}")

    def stop(self) -> None:
        """Stop everything, the array last. Pods that still run leave nothing behind."""
        for machine in self.machines.values():
            machine.stop()
        self.plane.stop()
        loops.remove_above_devices(self.folder)
        self.array.stop()

    def systems(self) -> dict[str, str]:
        """The files of an operator with the settings of the array, by name."""
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

    def make_secret(self, name: str = "powerflex", files: dict[str, str] | None = None) -> None:
        """Create or update a Secret with these files, by default those of ``systems``."""
        self.kubernetes.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "stringData": files or self.systems(),
            },
        )


def is_ready(node: Object) -> bool:
    """Whether a Node is ready."""
    conditions = node["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A cluster. After the block none of its processes runs."""
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
