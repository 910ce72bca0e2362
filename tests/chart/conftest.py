"""Fixtures of the chart's tests."""

from __future__ import annotations

import pytest

from tests.chart import helm as chart
from tests.chart.helm import CASES, Case, Manifest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each test that uses the fixture ``helm`` need Helm."""
    for item in items:
        if isinstance(item, pytest.Function) and "helm" in item.fixturenames:
            item.add_marker(pytest.mark.needs("helm"))


@pytest.fixture(scope="session")
def helm() -> str:
    """The path of Helm."""
    found = chart.binary()
    assert found is not None  # else the test is skipped, see above
    return found


@pytest.fixture(scope="session")
def every_case(helm: str) -> dict[Case, list[Manifest]]:
    """The objects of every case, rendered once."""
    return {case: chart.rendered(helm, case) for case in CASES}


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def manifests(request: pytest.FixtureRequest, every_case: dict[Case, list[Manifest]]) -> list[Manifest]:
    """The objects of one case after the other."""
    return every_case[request.param]
