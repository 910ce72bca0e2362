"""Rules of Prometheus on metrics that a running driver reported, evaluated by promtool.

What was read from a driver becomes the series of a test of promtool, repeated for as long as the rules wait.
So no server has to run, and no test has to wait.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests import tools

Samples = dict[str, float]
"""Values by series, as Prometheus writes them."""

_COUNTS = re.compile(r"_(total|count|sum|bucket)\{")


def samples(text: str, **labels: str) -> Samples:
    """The driver's series in ``text``, with the labels that Prometheus adds, such as ``pod``."""
    return {
        f"{sample.name}{{{written({**sample.labels, **labels})}}}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("csi_powerflex_")
    }


def written(labels: dict[str, str]) -> str:
    """Labels as in a query."""
    return ",".join(f'{name}="{value}"' for name, value in labels.items())


def series(before: Samples, after: Samples) -> list[dict[str, str]]:
    """Ten minutes of the one and an hour of the other. Counters grow."""
    found = []
    for name in before.keys() | after.keys():
        if _COUNTS.search(name):
            values = f"{after.get(name, 0)}+1x70"
        else:
            values = " ".join(
                f"{part[name]}x{minutes}" if name in part else f"_x{minutes}"
                for part, minutes in ((before, 10), (after, 60))
            )
        found.append({"series": name, "values": values})
    return found


def firing(name: str, **labels: str) -> str:
    """The query for an alert that fires."""
    return f"ALERTS{{{written({'alertname': name, 'alertstate': 'firing', **labels})}}}"


def check(folder: Path, rules: Path, given: Sequence[dict[str, str]], expressions: Iterable[str]) -> None:
    """Assert that each expression has a result after 70 minutes with these rules and series."""
    tests = [
        {
            "expr": f"count({expression}) > bool 0",
            "eval_time": "69m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for expression in expressions
    ]
    document = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": list(given), "promql_expr_test": tests}],
    }
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump(document))
    promtool = tools.built("promtool")
    assert promtool is not None
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
