"""The parts of the chart other than the driver: its test, and metrics for Prometheus."""

from __future__ import annotations

import pytest

from tests.e2e.cluster import NAMESPACE, RELEASE, Cluster
from tests.e2e.kubernetes import Object

_FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"


def test_helm_test_runs_the_doctor_writes_to_a_volume_without_root_and_removes_it(
    cluster: Cluster,
) -> None:
    before = set(cluster.array.volumes())
    told = cluster.kubernetes.helm("test", RELEASE, "--namespace", NAMESPACE, "--timeout=180s")
    assert f"{RELEASE}-test-doctor" in told
    assert f"{RELEASE}-test-volume" in told
    assert told.count("Succeeded") == 2
    cluster.array.await_volumes(before)


def _metrics(cluster: Cluster, part: str) -> list[tuple[Object, Object]]:
    """Each port of the metrics Service of a part, with that Service."""
    service = cluster.kubernetes.get("services", f"{RELEASE}-{part}-metrics", NAMESPACE)
    return [(service, port) for port in service["spec"]["ports"]]


@pytest.mark.parametrize("part", ["controller", "node"])
def test_a_pod_can_read_each_port_of_a_metrics_service_by_name(cluster: Cluster, part: str) -> None:
    ports = _metrics(cluster, part)
    assert len(ports) == {"controller": 5, "node": 1}[part]
    for service, port in ports:
        url = f"http://{service['metadata']['name']}.{NAMESPACE}:{port['port']}/metrics"
        shown = cluster.kubernetes.kubectl(
            "exec", "--namespace", NAMESPACE, f"deployment/{RELEASE}-controller", "--container=driver",
            "--", "python3", "-c", _FETCH, url,
        )  # fmt: skip
        assert "process_resident_memory_bytes" in shown


@pytest.mark.parametrize("part", ["controller", "node"])
def test_a_service_monitor_selects_the_service_and_names_each_of_its_ports(
    cluster: Cluster, part: str
) -> None:
    ports = _metrics(cluster, part)
    monitor = cluster.kubernetes.get("servicemonitors", f"{RELEASE}-{part}", NAMESPACE)
    labels = ports[0][0]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert [each["port"] for each in monitor["spec"]["endpoints"]] == [port["name"] for _, port in ports]
