"""The alerts and the dashboard of the chart on what a controller reports of a simulated array.

The metrics of a real process, before and after the faults, become the series of a test of promtool.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import yaml

from csi_powerflex.pb import csi_pb2
from tests import alerting
from tests.alerting import Samples, firing, series
from tests.controller.driver import refused
from tests.controller.eventually import eventually
from tests.controller.systems_file import SystemsFile
from tests.controller.world import World
from tests.controller_process import ControllerProcess

ROOT = Path(__file__).parents[2]
FILES = ROOT / "charts" / "csi-powerflex" / "files"
# What this controller does not show: commands of nodes, repeated requests, and defects.
EMPTY = (
    "csi_powerflex_command_duration_seconds",
    "csi_powerflex_gateway_retries_total",
    "csi_powerflex_orphans",
    "csi_powerflex_rpc_unexpected_errors_total",
)
RULES = FILES / "rules.yaml"

pytestmark = pytest.mark.needs("promtool")


def samples(process: ControllerProcess) -> Samples:
    """The series of the driver, with the labels that Prometheus adds, and their values."""
    return alerting.samples(process.metrics().decode(), namespace="powerflex", pod="c-1")


def queries() -> Iterator[str]:
    """The queries of the dashboard, as Grafana sends them."""
    for panel in json.loads((FILES / "dashboard.json").read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            yield re.sub(r"\$(namespace|system)", ".*", re.sub(r"\$__\w+", "5m", target["expr"]))


@pytest.fixture
def process(array45: World) -> Iterator[ControllerProcess]:
    """A controller that checks the array all the time."""
    file = SystemsFile(array45)
    options = {"watch-seconds": "0.1"}
    with ControllerProcess(array45.folder / "process", file.path, options) as process:
        process.wait_for("system found")
        yield process


def test_alerts_fire_on_a_degraded_and_full_pool_and_a_lost_host_and_each_panel_has_data(
    array45: World, process: ControllerProcess, tmp_path: Path
) -> None:
    process.driver.create()
    refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: process.driver.create(parameters={"no": "key"}))
    process.driver.controller.ListVolumes(csi_pb2.ListVolumesRequest(), timeout=30)
    eventually(lambda: any("tree_members_max" in name for name in samples(process)))
    before = samples(process)
    gateway = array45.simulator.gateway
    assert gateway.set_health("sp1", "degraded")
    assert gateway.set_full("sp1", full=True)
    assert gateway.set_connected("a", connected=False)
    degraded = next(name for name in before if "pool_state" in name and '"degraded"' in name)
    lost = next(name for name in before if "host_connected" in name and 'host="a"' in name)
    full = next(name for name in before if "pool_free_bytes" in name)
    eventually(lambda: [samples(process)[name] for name in (degraded, lost, full)] == [1, 0, 0])
    pool = {"namespace": "powerflex", "system": "array0", "pool": "pd1/sp1"}
    host = {"namespace": "powerflex", "system": "array0", "host": "a"}
    given = series(before, samples(process))
    alerts = [
        firing("CSIPowerFlexPoolDegraded", **pool),
        firing("CSIPowerFlexPoolFull", **pool),
        firing("CSIPowerFlexPoolNearFull", **pool),
        firing("CSIPowerFlexHostLost", **host),
    ]
    panels = [query for query in queries() if not any(metric in query for metric in EMPTY)]
    assert len(panels) > 20
    alerting.check(tmp_path, RULES, given, [*alerts, *panels])


def test_an_array_that_works_gives_no_alert(process: ControllerProcess, tmp_path: Path) -> None:
    found = samples(process)
    absent = [f"absent({firing(name)})" for name in alert_names()]
    assert len(absent) > 15
    alerting.check(tmp_path, RULES, series(found, found), absent)


def alert_names() -> list[str]:
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
