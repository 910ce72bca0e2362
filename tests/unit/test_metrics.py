"""The table of metrics: its names and labels follow Prometheus, and the code sets each of them."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_powerflex.gateway import client
from csi_powerflex.observability import metrics
from csi_powerflex.observability.metrics import TABLE, Described

PACKAGE = Path(metrics.__file__).parents[1]
SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
ENDS = {"histogram": "_duration_seconds", "counter": "_total", "gauge": ""}


@functools.cache
def code() -> tuple[ast.AST, ...]:
    """Every node of the driver's code, except the table of metrics."""
    paths = [path for path in PACKAGE.rglob("*.py") if path != Path(metrics.__file__)]
    return tuple(node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def texts(node: ast.AST) -> Iterator[str]:
    """The beginnings of the texts in ``node``, up to the first placeholder."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def used() -> set[str]:
    return {
        node.attr
        for node in code()
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "metrics"
    }


@pytest.mark.parametrize("metric", TABLE, ids=lambda metric: metric.name)
def test_a_metric_name_has_its_unit(metric: Described) -> None:
    assert SNAKE.fullmatch(metric.name)
    assert metric.name.startswith("csi_powerflex_")
    assert metric.name.endswith(ENDS[metric.kind])
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert not re.search(r"_(seconds|bytes)_", metric.name)


@pytest.mark.parametrize("metric", TABLE, ids=lambda metric: metric.name)
def test_each_metric_and_each_of_its_labels_is_described(metric: Described) -> None:
    assert metric.description.endswith(".")
    for label, values in metric.labels.items():
        assert SNAKE.fullmatch(label)
        assert values


def test_names_are_unique_and_the_code_sets_each_metric() -> None:
    constants = {name for name in vars(metrics) if name.isupper() and name != "TABLE" and name[0] != "_"}
    assert len({metric.name for metric in TABLE}) == len(TABLE) == len(constants)
    assert constants - used() == set()


def test_a_literal_label_value_in_the_code_is_described() -> None:
    described = " ".join(values for metric in TABLE for values in metric.labels.values())
    calls = [
        node
        for node in code()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "labels"
    ]
    spelled = {
        argument.value for call in calls for argument in call.args if isinstance(argument, ast.Constant)
    }
    assert len(calls) > 10
    assert {"ok", "refused", "hosts"} <= spelled
    for text in map(str, spelled):
        assert SNAKE.fullmatch(text)
        assert text in re.findall(r"\w+", described)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ConnectFailed", "connect_failed"),
        ("StoragePool", "storage_pool"),
        ("VTree", "v_tree"),
        ("GET", "get"),
        ("HTTPError", "http_error"),
        ("Sdc", "sdc"),
    ],
)
def test_a_name_in_camel_case_becomes_a_value_in_snake_case(name: str, value: str) -> None:
    assert metrics.label_value(name) == value


def test_each_path_of_the_gateway_has_a_described_object() -> None:
    (values,) = (metric.labels["object"] for metric in TABLE if "object" in metric.labels)
    paths = {
        text
        for path in (PACKAGE / "gateway").glob("*.py")
        for text in texts(ast.parse(path.read_text(encoding="utf-8")))
        if re.match(r"/(api|rest|dtapi)/\w+/\w|/api/\w+$", text)
    }
    assert len(paths) > 15
    for path in paths:
        assert client._object(path) in re.findall(r"\w+", values.partition(": ")[2]), path


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/rest/auth/login", "login"),
        ("/rest/auth/update-token", "login"),
        ("/rest/auth/logout", "login"),
        ("/api/login", "login"),
        ("/api/logout", "login"),
        ("/dtapi/rest/v1/metrics/query", "metrics"),
        ("/api/types/Volume/instances/action/queryIdByKey", "volume"),
        ("/api/instances/StoragePool::d2a4c6e000000001/relationships/Statistics", "storage_pool"),
    ],
)
def test_logins_and_queries_of_metrics_have_an_object_too(path: str, name: str) -> None:
    assert client._object(path) == name
