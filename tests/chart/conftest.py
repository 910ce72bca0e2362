"""Fixtures of the chart's tests."""

from __future__ import annotations

import pytest

from tests.chart import helm as chart
from tests.chart.helm import CASES, Case, Manifest


@pytest.fixture(scope="session")
def helm() -> str:
    """The path of Helm; skips where there is none."""
    found = chart.binary()
    if found is None:
        pytest.skip("helm is not installed; `make .cache/bin/helm` builds it with Go")
    return found


@pytest.fixture(scope="session")
def every_case(helm: str) -> dict[Case, list[Manifest]]:
    """The objects of every case, rendered once."""
    return {case: chart.rendered(helm, case) for case in CASES}


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def manifests(request: pytest.FixtureRequest, every_case: dict[Case, list[Manifest]]) -> list[Manifest]:
    """The objects of one case after the other."""
    return every_case[request.param]
