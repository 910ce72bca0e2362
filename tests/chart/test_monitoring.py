"""The alerts and the dashboard of the chart: they fire when they should, and name what the driver has."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from csi_powerflex.observability import metrics
from tests import tools
from tests.chart import helm as chart
from tests.chart.helm import CHART, ROOT, Case, Manifest

RULES = CHART / "files" / "rules.yaml"
DASHBOARD = CHART / "files" / "dashboard.json"
ALERT_TESTS = Path(__file__).parent / "alerts.yaml"
MONITORING_API = ("monitoring.coreos.com/v1",)
# Labels that Prometheus adds, or that a histogram has.
SCRAPED = {"namespace", "pod", "le"}
_METRIC = re.compile(r"\bcsi_powerflex_\w+")


def groups() -> list[dict[str, Any]]:
    content: dict[str, list[dict[str, Any]]] = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return content["groups"]


def rules(kind: str) -> list[dict[str, Any]]:
    return [rule for group in groups() for rule in group["rules"] if kind in rule]


def panels() -> list[dict[str, Any]]:
    content: dict[str, list[dict[str, Any]]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [panel for panel in content["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Every query with the name of its alert, record or panel."""
    for rule in (*rules("alert"), *rules("record")):
        yield rule.get("alert") or rule["record"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def known_metrics() -> dict[str, set[str]]:
    """Every series of the driver with its labels."""
    found: dict[str, set[str]] = {}
    for described in metrics.TABLE:
        names = [described.name]
        if described.kind == "histogram":
            names = [f"{described.name}_{end}" for end in ("bucket", "count", "sum")]
        found |= {name: set(described.labels) for name in names}
    return found


QUERIES = tuple(queries())


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    path = tools.built("promtool")
    assert path is not None
    return subprocess.run([path, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.needs("promtool")
def test_each_alert_fires_when_it_should_and_not_before() -> None:
    done = promtool("test", "rules", ALERT_TESTS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_test_that_fires() -> None:
    expected = re.findall(
        r"exp_samples:\n +- \{labels: 'ALERTS\{alertname=\"(\w+)\"", ALERT_TESTS.read_text()
    )
    assert set(expected) == {rule["alert"] for rule in rules("alert")}
    assert len(expected) >= 15


@pytest.mark.needs("promtool")
def test_prometheus_accepts_the_rules_and_every_query_of_the_dashboard(tmp_path: Path) -> None:
    """The variables of Grafana have a value, as when it sends the queries."""
    made = [
        {"record": f"panel:{number}", "expr": re.sub(r"\$__\w+", "5m", target["expr"])}
        for number, target in enumerate(target for panel in panels() for target in panel["targets"])
    ]
    assert len(made) > 20
    file = tmp_path / "dashboard.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": made}]}))
    done = promtool("check", "rules", "--lint=none", RULES, file)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "query"), QUERIES, ids=[name for name, _ in QUERIES])
def test_a_query_names_only_metrics_and_labels_that_the_driver_has(name: str, query: str) -> None:
    plain = re.sub(r"system_pool:\w+:ratio", "", query)
    known = known_metrics()
    found = set(_METRIC.findall(plain))
    assert found <= known.keys()
    labels = {label for metric in found for label in known[metric]} | SCRAPED
    if "system_pool:" in query:
        labels |= {"system", "pool"}
    grouped = {part.strip() for part in ",".join(re.findall(r"by \(([^)]*)\)", query)).split(",")} - {""}
    matched = set(re.findall(r"(\w+)=~?\"", query)) | set(re.findall(r"(\w+)!=\"", query))
    assert grouped | matched <= labels, name


def test_a_legend_and_an_annotation_use_only_labels_of_their_query() -> None:
    texts = [
        (rule["alert"], rule["expr"], re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        for rule in rules("alert")
    ]
    texts += [
        (panel["title"], target["expr"], re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        for panel in panels()
        for target in panel["targets"]
    ]
    for name, query, used in texts:
        grouped = {part.strip() for part in ",".join(re.findall(r"by \(([^)]*)\)", query)).split(",")}
        if "system_pool:" in query:
            grouped |= {"system", "pool"}
        assert set(used) <= grouped, name


def test_an_alert_says_what_it_is_how_grave_it_is_and_what_to_do() -> None:
    for rule in rules("alert"):
        assert re.fullmatch(r"CSIPowerFlex[A-Z]\w+", rule["alert"])
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "action"}
        assert all(text.endswith(".") for text in rule["annotations"].values())


def test_metrics_that_an_operator_must_know_have_an_alert() -> None:
    named = {
        metric for rule in (*rules("alert"), *rules("record")) for metric in _METRIC.findall(rule["expr"])
    }
    for metric in ("system_up", "pool_state", "pool_used_threshold_ratio", "host_connected", "build_info"):
        assert f"csi_powerflex_{metric}" in named


def test_the_dashboard_is_what_its_script_writes() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "charts" / "dashboard.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def of(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return chart.of_kind(manifests, kind)


def test_the_chart_has_the_rules_and_the_dashboard_of_the_files(
    every_case: dict[Case, list[Manifest]],
) -> None:
    manifests = next(found for case, found in every_case.items() if case.values == "full")
    (rule,) = of(manifests, "PrometheusRule")
    assert rule["spec"] == {"groups": groups()}
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    (config,) = of(manifests, "ConfigMap")
    assert json.loads(config["data"]["csi-powerflex.json"]) == json.loads(
        DASHBOARD.read_text(encoding="utf-8")
    )
    assert config["metadata"]["labels"]["grafana_dashboard"] == "true"


@pytest.mark.parametrize(
    ("settings", "apis", "count"),
    [
        ((), MONITORING_API, 0),
        (('metrics.prometheusRule="auto"',), (), 0),
        (('metrics.prometheusRule="auto"',), MONITORING_API, 1),
        (("metrics.prometheusRule=true",), (), 1),
        (("metrics.prometheusRule=true", "metrics.enabled=false"), MONITORING_API, 0),
    ],
)
def test_a_prometheus_rule_is_made_where_it_is_wanted_and_with_auto_where_the_api_is(
    helm: str, settings: tuple[str, ...], apis: tuple[str, ...], count: int
) -> None:
    manifests = chart.rendered(helm, Case("minimal", "1.36", apis, settings=settings))
    assert len(of(manifests, "PrometheusRule")) == count
    assert of(manifests, "ConfigMap") == []
