"""What the chart finds in the cluster decides as well: its APIs, and what an earlier release left there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart import helm as chart
from tests.chart.cluster import Cluster
from tests.chart.helm import CHART, SNAPSHOT_APIS, VALUES, Manifest
from tests.commands import output_of

DEPLOYMENT = "/apis/apps/v1/namespaces/storage/deployments/release-csi-powerflex-controller"
SIMULATOR_SECRET = "/api/v1/namespaces/storage/secrets/release-csi-powerflex-simulator"


def upgrade(helm: str, tmp_path: Path, cluster: Cluster, values: str, *settings: str) -> Any:
    """``helm template`` that asks the cluster, as an upgrade does."""
    if output_of([helm, "version", "--short"]).startswith("v3"):
        pytest.skip("Helm 3 renders with what a cluster has only where it installs into one")
    kubeconfig = tmp_path / "kubeconfig"
    cluster.write_kubeconfig(kubeconfig)
    command = [
        helm,
        "template",
        "release",
        str(CHART),
        "--namespace",
        "storage",
        "--dry-run=server",
        "--is-upgrade",
        "--disable-openapi-validation",
    ]
    command += ["--values", str(VALUES / f"{values}.yaml")]
    for setting in settings:
        command += ["--set-json", setting]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "HELM_CACHE_HOME": str(tmp_path / "cache")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)


def objects(done: Any) -> list[Manifest]:
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def deployment_of(*arguments: str) -> dict[str, Any]:
    containers = [
        {"name": "csi-attacher", "args": ["--v=2"]},
        {"name": "driver", "args": ["controller", *arguments]},
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "release-csi-powerflex-controller", "namespace": "storage"},
        "spec": {"template": {"spec": {"containers": containers}}},
    }


@pytest.mark.parametrize(
    ("present", "words"),
    [
        ("--cluster-id=k8s9", "clusterId is k8s1 and was k8s9: it must never change"),
        (
            "--driver-name=csi.old.example",
            "driverName is csi.powerflex.dev and was csi.old.example: it must never",
        ),
    ],
)
def test_an_upgrade_that_would_leave_volumes_behind_is_refused(
    helm: str, tmp_path: Path, present: str, words: str
) -> None:
    with Cluster("1.36", objects={DEPLOYMENT: deployment_of(present)}) as cluster:
        done = upgrade(helm, tmp_path, cluster, "minimal")
    assert done.returncode != 0
    assert words in done.stderr


def test_an_upgrade_with_the_same_mark_and_name_goes_on(helm: str, tmp_path: Path) -> None:
    present = deployment_of("--cluster-id=k8s1", "--driver-name=csi.powerflex.dev")
    with Cluster("1.36", objects={DEPLOYMENT: present}) as cluster:
        assert chart.of_kind(objects(upgrade(helm, tmp_path, cluster, "minimal")), "Deployment")


def test_an_upgrade_keeps_the_simulated_arrays_password_and_keys(helm: str, tmp_path: Path) -> None:
    kept = {"password": "a2VwdA==", "ca.crt": "Y2E=", "tls.crt": "Y3J0", "tls.key": "a2V5"}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "release-csi-powerflex-simulator", "namespace": "storage"},
        "data": kept,
    }
    with Cluster("1.36", objects={SIMULATOR_SECRET: secret}) as cluster:
        done = upgrade(helm, tmp_path, cluster, "simulator", 'simulator.existingSecret=""')
    assert chart.named(objects(done), "Secret", "-simulator")["data"] == kept


@pytest.mark.parametrize("apis", [(), SNAPSHOT_APIS])
def test_snapshots_follow_what_the_cluster_really_serves(
    helm: str, tmp_path: Path, apis: tuple[str, ...]
) -> None:
    with Cluster("1.36", apis) as cluster:
        manifests = objects(upgrade(helm, tmp_path, cluster, "minimal"))
    names = {name for _, name, _ in chart.containers(manifests)}
    assert ("csi-snapshotter" in names) is bool(apis)
