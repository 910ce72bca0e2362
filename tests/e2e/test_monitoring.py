"""The chart's alerts on what the driver's pods report.

The rules are those of the PrometheusRule in the cluster, and the series those of the running pods. Promtool
evaluates them, so no Prometheus has to run and the test need not wait as long as the alerts do.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests import alerting
from tests.alerting import Samples, firing
from tests.e2e.cluster import NAMESPACE, RELEASE, Cluster
from tests.e2e.kubernetes import Object
from tests.e2e.processes import await_true

_FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"
_POOL, _HOST = "pd1/sp1", "worker1"


@pytest.fixture(scope="module")
def watched(cluster: Cluster) -> Iterator[Cluster]:
    """The driver with alerts; it checks the array each second. Afterwards it is installed as before."""
    try:
        cluster.install("--set", "controller.watchSeconds=1", "--set", "metrics.prometheusRule=auto")
        yield cluster
    finally:
        cluster.install()


def _rules(cluster: Cluster, folder: Path) -> Path:
    """The rules in the cluster, as a file of Prometheus."""
    found = cluster.kubernetes.get("prometheusrules", RELEASE, NAMESPACE)
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": found["spec"]["groups"]}))
    return file


def _reported(cluster: Cluster) -> Samples:
    """What the driver reports in each of its pods."""
    return {name: value for pod in _pods(cluster) for name, value in _metrics(cluster, pod).items()}


def _pods(cluster: Cluster) -> list[Object]:
    selector = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component in (controller,node)"
    pods = cluster.kubernetes.list("pods", NAMESPACE, labels=selector)
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def _metrics(cluster: Cluster, pod: Object) -> Samples:
    name = pod["metadata"]["name"]
    (port,) = (
        port["containerPort"]
        for container in pod["spec"]["containers"]
        if container["name"] == "driver"
        for port in container["ports"]
        if port["name"] == "metrics"
    )
    text = cluster.kubernetes.kubectl(
        "exec", "--namespace", NAMESPACE, name, "--container=driver",
        "--", "python3", "-c", _FETCH, f"http://127.0.0.1:{port}/metrics",
    )  # fmt: skip
    return alerting.samples(text, namespace=NAMESPACE, pod=name)


def _values(reported: Samples, name: str, **labels: str) -> list[float]:
    """The values of a metric with these labels, one of each controller."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return [
        value
        for series, value in reported.items()
        if series.startswith(f"{name}{{") and all(each in series for each in wanted)
    ]


def _shows(cluster: Cluster, *, degraded: bool, connected: bool) -> bool:
    """Whether both controllers have seen this state of the pool and the host."""
    reported = _reported(cluster)
    states = _values(reported, "csi_powerflex_pool_state", pool=_POOL, state="degraded")
    hosts = _values(reported, "csi_powerflex_host_connected", host=_HOST)
    return states == [degraded] * 2 and hosts == [connected] * 2


def test_alerts_fire_on_a_degraded_pool_and_a_lost_sdc_and_on_nothing_before(
    watched: Cluster, tmp_path: Path
) -> None:
    array, rules = watched.array, _rules(watched, tmp_path)
    what = "both controllers reporting the pool and the host"
    await_true(lambda: _shows(watched, degraded=False, connected=True), what=f"{what} as healthy")
    before = _reported(watched)
    try:
        array.set_pool_health("sp1", "degraded")
        array.set_connected(_HOST, connected=False)
        await_true(lambda: _shows(watched, degraded=True, connected=False), what=f"{what} as lost")
        after = _reported(watched)
    finally:
        array.set_pool_health("sp1", "healthy")
        array.set_connected(_HOST, connected=True)
    alerts = [
        firing("CSIPowerFlexPoolDegraded", namespace=NAMESPACE, system="array", pool=_POOL),
        firing("CSIPowerFlexHostLost", namespace=NAMESPACE, system="array", host=_HOST),
    ]
    alerting.check(tmp_path, rules, alerting.series(before, after), alerts)
    # Counters of errors in earlier scenarios would grow in this hour, so other alerts may fire.
    alerting.check(tmp_path, rules, alerting.series(before, before), [f"absent({each})" for each in alerts])
    await_true(lambda: _shows(watched, degraded=False, connected=True), what=f"{what} as healthy again")
