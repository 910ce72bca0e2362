"""The documented ways to install: the quickstart of README.md and the plain manifests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import built
from tests.e2e.cluster import DRIVER, NAMESPACE, RELEASE, Cluster
from tests.e2e.kubernetes import Kubernetes
from tests.e2e.processes import await_true
from tests.e2e.space import Space, is_running

_MANIFESTS = built.ROOT / "deploy" / "csi-powerflex.yaml"
_APPLY = "sed s/CHANGE-ME/k8s1/ deploy/csi-powerflex.yaml | kubectl apply --filename -"
_SIMULATED = Path("/var/lib/csi-powerflex-simulator")
# These need another product or a volume of the reader's array, or this module creates them itself.
_NOT_RUN = {"kubevirt", "static-volume", "systems-secret"}


def _commands(part: str) -> list[str]:
    """The commands in the block of README.md with the mark ``part``."""
    text = (built.ROOT / "README.md").read_text()
    (block,) = re.findall(rf"<!-- quickstart: {part} -->\n+```console\n(.*?)```", text, flags=re.DOTALL)
    return [
        line.strip().replace("\\\n", "")
        for line in re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, flags=re.MULTILINE)
    ]


@pytest.fixture(scope="module")
def without_driver(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster without the driver. It is installed again afterwards."""
    yield cluster
    _clear(cluster)
    cluster.make_secret()
    cluster.install()


@pytest.fixture
def bare(without_driver: Cluster) -> Cluster:
    """The cluster without any part of the driver."""
    _clear(without_driver)
    return without_driver


def _clear(cluster: Cluster) -> None:
    kubernetes = cluster.kubernetes
    kubernetes.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait")
    kubernetes.kubectl("delete", "--ignore-not-found", "--filename", str(_MANIFESTS))
    kubernetes.kubectl("delete", "--ignore-not-found", "namespace", NAMESPACE)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The working folder of a reader of README.md: the cloned files, and those that the reader writes."""
    for name in ("charts", "deploy"):
        (tmp_path / name).symlink_to(built.ROOT / name)
    return tmp_path


@pytest.fixture
def one_machine(bare: Cluster) -> None:
    """Workers that share the folder of the simulated array, as if they were one machine."""
    for machine in bare.machines.values():
        machine.share(bare.folder / "simulated", _SIMULATED)
        machine.import_image(built.IMAGES / "simulator.tar")


def test_the_quickstart_with_an_array_creates_and_removes_a_pod_with_a_volume(
    bare: Cluster, checkout: Path
) -> None:
    before = set(bare.array.volumes())
    for name, text in bare.systems().items():
        (checkout / name).write_text(text)
    commands = [*_commands("install"), *_commands("use")]
    assert len(commands) > 8
    bare.kubernetes.shell("\n".join(commands), checkout)
    bare.array.await_volumes(before)


def test_the_quickstart_without_an_array_creates_and_removes_an_array_and_a_pod_with_a_volume(
    bare: Cluster, checkout: Path, one_machine: None
) -> None:
    before = set(bare.array.volumes())
    commands = [*_commands("simulate"), *_commands("use")]
    assert len(commands) > 8
    bare.kubernetes.shell("\n".join(commands), checkout, seconds=600)
    assert set(bare.array.volumes()) == before
    await_true(lambda: not _devices_of_simulated(bare), what="the simulated array's devices removed")


def _devices_of_simulated(cluster: Cluster) -> list[str]:
    machine = next(iter(cluster.machines.values()))
    listed = machine.run("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE").stdout
    return [line for line in listed.splitlines() if str(_SIMULATED) in line]


def test_every_example_works_with_the_plain_manifests(bare: Cluster, checkout: Path) -> None:
    kubernetes, array = bare.kubernetes, bare.array
    before = set(array.volumes())
    assert f"$ {_APPLY}\n" in (built.ROOT / "docs" / "install.md").read_text()
    kubernetes.shell(_APPLY, checkout)
    bare.make_secret("powerflex-systems")
    _until_rolled_out(kubernetes)
    bare.await_driver(DRIVER)
    space = Space(kubernetes, "examples")
    space.open()
    examples = built.ROOT / "deploy" / "examples"
    first = ["pod", "snapshot"]  # others copy their volumes, so these come first
    others = {path.stem for path in examples.glob("*.yaml")} - _NOT_RUN - {*first}
    for name in (*first, *sorted(others)):
        kubernetes.kubectl("apply", f"--namespace={space.name}", "--filename", str(examples / f"{name}.yaml"))
        _until_all_run(space)
        if name == "snapshot":
            space.until_snapshot("data-snapshot")
    for pod in ("copy-reader", "reader", "deployment/readers"):
        assert kubernetes.kubectl("logs", f"--namespace={space.name}", pod).strip()
    space.until_group_snapshot("bank")
    space.close()
    array.await_volumes(before)


def _until_rolled_out(kubernetes: Kubernetes) -> None:
    for workload in (f"deployment/{RELEASE}-controller", f"daemonset/{RELEASE}-node"):
        kubernetes.kubectl("rollout", "status", f"--namespace={NAMESPACE}", workload, seconds=300)


def _until_all_run(space: Space) -> None:
    def so() -> bool:
        pods = space.kubernetes.list("pods", space.name)
        return bool(pods) and all(is_running(pod) for pod in pods)

    await_true(so, what=f"every pod of {space.name} running", seconds=240)
