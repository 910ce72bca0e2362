"""One cluster for all scenarios, a namespace for each, and checks after each."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, running
from tests.e2e.kubernetes import Kubernetes
from tests.e2e.run import FOLDER_VARIABLE
from tests.e2e.space import Space

_HERE = Path(__file__).parent
_results: list[tuple[str, str, float]] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """An option of the benchmark."""
    parser.addoption("--compare-with", type=Path, help="folder with another driver for bench.py (see there)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Require the namespaces of ``make e2e``, and give scenarios a longer limit."""
    for item in items:
        if _HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.timeout(600))
        if FOLDER_VARIABLE not in os.environ:
            item.add_marker(
                pytest.mark.skip(reason="needs a cluster in namespaces of its own: run `make e2e`")
            )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Keep the result of a scenario for the summary, and mark a failure for fixtures."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]  # pluggy's result
    if report.when == "call" or report.outcome != "passed":
        _results.append(
            (
                item.name,
                report.outcome if report.when == "call" else f"{report.outcome} in {report.when}",
                report.duration,
            )
        )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Show a failure at once, because the rest of a run takes minutes."""
    if report.failed and FOLDER_VARIABLE in os.environ:
        print(f"\n{report.longreprtext[-4000:]}", flush=True)  # noqa: T201


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the scenarios, results and times."""
    if not _results or FOLDER_VARIABLE not in os.environ:
        return
    terminalreporter.section("scenarios")
    for name, outcome, seconds in _results:
        sentence = name.removeprefix("test_").replace("_", " ")
        terminalreporter.write_line(f"{outcome:8} {seconds:6.1f} s  {sentence}")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster with the driver, which is installed as users install it."""
    with running(Path(os.environ[FOLDER_VARIABLE])) as cluster:
        cluster.make_secret()
        cluster.install()
        yield cluster


@pytest.fixture
def kubernetes(cluster: Cluster) -> Kubernetes:
    """The cluster's API."""
    return cluster.kubernetes


@pytest.fixture
def space(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Space]:
    """A namespace for the scenario. Afterwards the array must have exactly the volumes that it had before."""
    before = set(cluster.array.volumes())
    name = f"s{int(time.time() * 1000) % 10**9}"
    space = Space(cluster.kubernetes, name)
    space.open()
    yield space
    space.close()
    cluster.array.await_volumes(before)
