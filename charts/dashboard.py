"""Generates the chart's Grafana dashboard: charts/csi-powerflex/files/dashboard.json.

``make docs`` writes the file. ``make check`` runs this script with ``--check``, which fails if it is stale.
Each panel has PromQL over the driver's metrics. Each replica of the controller reports the figures of the
array, so a query takes one of them: max or min by system and pool.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parent / "csi-powerflex" / "files" / "dashboard.json"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH = 24
_HERE = '{namespace=~"$namespace"}'
_ARRAY = '{namespace=~"$namespace",system=~"$system"}'

Panel = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and the name of its series in Grafana's form."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One panel.

    Attributes:
        kind: Grafana's name of the kind: stat, timeseries or table.
        unit: Grafana's name of the unit.
        most: the upper end of the axis, or None.
        red_from: the value from which on it is red, or None.
        red_below: the value below which it is red, or None.
    """

    title: str
    description: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    most: float | None = None
    red_from: float | None = None
    red_below: float | None = None


def _max(metric: str, *labels: str, where: str = _ARRAY) -> str:
    return f"max by ({', '.join(labels)}) ({metric}{where})"


_POOL = ("system", "pool")
_USED = f"1 - min by (system, pool) (csi_powerflex_pool_free_bytes{_ARRAY}) / " + _max(
    "csi_powerflex_pool_size_bytes", *_POOL
)
_RATE = "rate(csi_powerflex_rpc_duration_seconds_count"
_UNHEALTHY = '{namespace=~"$namespace",system=~"$system",state!="healthy"}'
_FAILED = '{namespace=~"$namespace",code!="OK"}'
_HIGH = '{namespace=~"$namespace",system=~"$system",level="high"}'

ROWS: dict[str, tuple[Plan, ...]] = {
    "Now": (
        Plan(
            "Systems",
            "1 while a system answers all controllers.",
            (Query(f"min by (system) (csi_powerflex_system_up{_ARRAY})", "{{system}}"),),
            kind="stat",
            width=5,
            red_below=1,
        ),
        Plan(
            "Pools that are not healthy",
            "Degraded, failed or inactive.",
            (Query(f"sum({_max('csi_powerflex_pool_state', *_POOL, 'state', where=_UNHEALTHY)})", "pools"),),
            kind="stat",
            width=5,
            red_from=1,
        ),
        Plan(
            "Hosts that are not connected",
            "Hosts that the array knows, of any cluster.",
            (
                Query(
                    f"count({_max('csi_powerflex_host_connected', 'system', 'host')} == 0) or vector(0)",
                    "hosts",
                ),
            ),
            kind="stat",
            width=5,
            red_from=1,
        ),
        Plan(
            "Orphans",
            "Volumes and snapshots of this cluster that nothing in Kubernetes needs.",
            (Query(f"sum by (kind) ({_max('csi_powerflex_orphans', 'system', 'kind')})", "{{kind}}"),),
            kind="stat",
            width=4,
            red_from=1,
        ),
        Plan(
            "Versions",
            "Processes of the driver by role and version.",
            (Query(f"count by (role, version) (csi_powerflex_build_info{_HERE})", "{{role}} {{version}}"),),
            kind="stat",
            width=5,
        ),
    ),
    "Pools": (
        Plan(
            "Used share",
            "The share of the pool's size that holds data, and the threshold that the array calls high.",
            (
                Query(_USED, "{{system}} {{pool}}"),
                Query(
                    _max("csi_powerflex_pool_used_threshold_ratio", *_POOL, where=_HIGH),
                    "{{system}} {{pool}} high",
                ),
            ),
            unit="percentunit",
            most=1,
        ),
        Plan(
            "Provisioned share of what the driver allows",
            "The sizes of all volumes, as a share of the pool's size times --over-commit.",
            (
                Query(
                    _max("csi_powerflex_pool_provisioned_bytes", *_POOL)
                    + " / "
                    + _max("csi_powerflex_pool_provisioned_limit_bytes", *_POOL),
                    "{{system}} {{pool}}",
                ),
            ),
            unit="percentunit",
        ),
        Plan(
            "Free capacity",
            "Bytes that hold no data yet.",
            (Query(f"min by (system, pool) (csi_powerflex_pool_free_bytes{_ARRAY})", "{{system}} {{pool}}"),),
            unit="bytes",
        ),
        Plan(
            "States that are not healthy",
            "1 while a pool has this state.",
            (
                Query(
                    _max("csi_powerflex_pool_state", *_POOL, "state", where=_UNHEALTHY) + " == 1",
                    "{{system}} {{pool}} {{state}}",
                ),
            ),
        ),
        Plan(
            "Largest tree",
            "Members of the largest tree of a volume, its snapshots and clones, as a share of the limit.",
            (
                Query(
                    _max("csi_powerflex_tree_members_max", "system")
                    + " / "
                    + _max("csi_powerflex_tree_members_limit", "system"),
                    "{{system}}",
                ),
            ),
            unit="percentunit",
            most=1,
        ),
        Plan(
            "Objects",
            "Volumes and SDCs, as a share of the limit of the array.",
            (
                Query(
                    _max("csi_powerflex_array_objects", "system", "kind")
                    + " / "
                    + _max("csi_powerflex_array_objects_limit", "system", "kind"),
                    "{{system}} {{kind}}",
                ),
            ),
            unit="percentunit",
        ),
    ),
    "Hosts": (
        Plan(
            "Connected hosts",
            "Hosts of any cluster that are connected to the system.",
            (
                Query(
                    _max("csi_powerflex_hosts_connected", "system", "transport"), "{{system}} {{transport}}"
                ),
            ),
            width=12,
        ),
        Plan(
            "Hosts that are not connected",
            "By name.",
            (Query(_max("csi_powerflex_host_connected", "system", "host") + " == 0", "{{system}} {{host}}"),),
            kind="table",
            width=12,
        ),
    ),
    "Calls": (
        Plan(
            "Calls",
            "Calls for each second, by method.",
            (Query(f"sum by (method) ({_RATE}{_HERE}[$__rate_interval]))", "{{method}}"),),
            unit="reqps",
        ),
        Plan(
            "Failed calls",
            "By method and code. ABORTED is normal: another call works on the same volume.",
            (Query(f"sum by (method, code) ({_RATE}{_FAILED}[$__rate_interval]))", "{{method}} {{code}}"),),
            unit="reqps",
        ),
        Plan(
            "Duration, 99 %",
            "Of 100 calls, 99 take at most this long.",
            (
                Query(
                    "histogram_quantile(0.99, sum by (method, le) (rate("
                    f"csi_powerflex_rpc_duration_seconds_bucket{_HERE}[$__rate_interval])))",
                    "{{method}}",
                ),
            ),
            unit="s",
        ),
        Plan(
            "Calls that wait",
            "Calls that wait for the array or for a device. A process serves 100 of them.",
            (Query(f"max by (pod) (csi_powerflex_rpc_slow_slots_in_use{_HERE})", "{{pod}}"),),
        ),
        Plan(
            "Commands on the hosts, 99 %",
            "Of 100 commands, 99 take at most this long.",
            (
                Query(
                    "histogram_quantile(0.99, sum by (tool, le) (rate("
                    f"csi_powerflex_command_duration_seconds_bucket{_HERE}[$__rate_interval])))",
                    "{{tool}}",
                ),
            ),
            unit="s",
        ),
        Plan(
            "Problems of the driver",
            "Unexpected errors, failing background tasks, unusable systems files. All should be 0.",
            (
                Query(
                    f"sum(increase(csi_powerflex_rpc_unexpected_errors_total{_HERE}[$__rate_interval]))",
                    "unexpected errors",
                ),
                Query(f"sum(csi_powerflex_background_tasks_failing{_HERE})", "background tasks"),
                Query(f"sum(1 - csi_powerflex_configuration_valid{_HERE})", "systems files"),
            ),
        ),
    ),
    "Gateways": (
        Plan(
            "Requests",
            "Requests to gateways for each second, by type of object.",
            (
                Query(
                    "sum by (system, object) (rate("
                    f"csi_powerflex_gateway_request_duration_seconds_count{_ARRAY}[$__rate_interval]))",
                    "{{system}} {{object}}",
                ),
            ),
            unit="reqps",
        ),
        Plan(
            "Duration, 99 %",
            "Of 100 requests, 99 take at most this long.",
            (
                Query(
                    "histogram_quantile(0.99, sum by (system, le) (rate("
                    f"csi_powerflex_gateway_request_duration_seconds_bucket{_ARRAY}[$__rate_interval])))",
                    "{{system}}",
                ),
            ),
            unit="s",
        ),
        Plan(
            "Logins and repeated requests",
            "Logins by result, and requests that were sent again by reason.",
            (
                Query(
                    "sum by (system, result) (rate("
                    f"csi_powerflex_gateway_logins_total{_ARRAY}[$__rate_interval]))",
                    "{{system}} login {{result}}",
                ),
                Query(
                    "sum by (system, reason) (rate("
                    f"csi_powerflex_gateway_retries_total{_ARRAY}[$__rate_interval]))",
                    "{{system}} again {{reason}}",
                ),
            ),
            unit="reqps",
        ),
    ),
}
"""The panels of each row."""


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    return {
        "uid": "csi-powerflex",
        "title": "csi-powerflex",
        "description": "PowerFlex systems and the CSI driver. Made by charts/dashboard.py.",
        "tags": ["csi", "powerflex", "storage"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_data_source(), _variable("namespace"), _variable("system")]},
        "panels": list(_panels()),
    }


def _data_source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _variable(label: str) -> dict[str, Any]:
    metric = {"namespace": "csi_powerflex_build_info", "system": "csi_powerflex_system_up"}[label]
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": f"label_values({metric}, {label})", "refId": label},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panels() -> Iterable[Panel]:
    number, top = 0, 0
    for title, plans in ROWS.items():
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": _at(0, top, _WIDTH, 1),
        }
        top, left = top + 1, 0
        height = 4 if all(plan.kind == "stat" for plan in plans) else 8
        for plan in plans:
            number += 1
            if left + plan.width > _WIDTH:
                left, top = 0, top + height
            yield {"id": number, "gridPos": _at(left, top, plan.width, height), **_panel(plan)}
            left += plan.width
        top += height


def _at(left: int, top: int, width: int, height: int) -> dict[str, int]:
    return {"x": left, "y": top, "w": width, "h": height}


def _panel(plan: Plan) -> Panel:
    defaults: dict[str, Any] = {"unit": plan.unit, "min": 0, "thresholds": _thresholds(plan)}
    if plan.most is not None:
        defaults["max"] = plan.most
    table = plan.kind == "table"
    return {
        "type": plan.kind,
        "title": plan.title,
        "description": plan.description,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {}
        if plan.kind != "stat"
        else {"colorMode": "value", "graphMode": "none", "textMode": "auto"},
        "targets": [
            {
                "refId": "ABCDEFGH"[number],
                "datasource": _SOURCE,
                "expr": query.expression,
                "legendFormat": query.legend,
                "instant": table or plan.kind == "stat",
                "range": not (table or plan.kind == "stat"),
                **({"format": "table"} if table else {}),
            }
            for number, query in enumerate(plan.queries)
        ],
    }


def _thresholds(plan: Plan) -> dict[str, Any]:
    if plan.red_below is not None:
        steps = [{"color": "red", "value": None}, {"color": "green", "value": plan.red_below}]
    elif plan.red_from is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": plan.red_from}]
    else:
        steps = [{"color": "green", "value": None}]
    return {"mode": "absolute", "steps": steps}


def main() -> None:
    """Write the file. With ``--check``: compare it."""
    text = json.dumps(dashboard(), indent=1) + "\n"
    if "--check" not in sys.argv:
        _FILE.write_text(text, encoding="utf-8")
    elif not _FILE.exists() or _FILE.read_text(encoding="utf-8") != text:
        sys.exit(f"stale: {_FILE}; run `make docs`")


if __name__ == "__main__":
    main()
