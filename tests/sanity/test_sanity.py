"""The official csi-sanity: each of its cases in each cell of the matrix is a test."""

from __future__ import annotations

import functools

import pytest

from tests import tools
from tests.figures import Figures
from tests.sanity.run import Cell, Outcome, cases, run

CELLS = [
    Cell(version, access, endpoints)
    for endpoints in ("one", "two")
    for version in ("3.6", "4.5", "5.0")
    for access in ("mount", "block")
] + [Cell("5.0", access, "two", "nvme") for access in ("mount", "block")]

# The only cases that may be skipped, with the reasons.
NOT_OFFERED = {
    "should succeed when creating a snapshot with accessibility requirements": (
        "snapshot topology (SNAPSHOT_ACCESSIBILITY_CONSTRAINTS) is not offered"
    ),
    "pagination should detect volumes added between pages": "pending in csi-sanity itself",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    sanity = tools.built("csi-sanity")
    if sanity is None:  # the cases are unknown, and the test is skipped
        metafunc.parametrize("case", [pytest.param("", id="every case")])
        metafunc.parametrize("cell", [CELLS[0]], ids=str)
        return
    metafunc.parametrize("case", cases(sanity), ids=str)
    metafunc.parametrize("cell", CELLS, ids=str)


@functools.cache
def outcomes(cell: Cell) -> dict[str, Outcome]:
    """The outcome of each case of a cell. The cell runs once."""
    sanity = tools.built("csi-sanity")
    assert sanity is not None
    return run(sanity, cell)


@pytest.mark.needs("devices", "csi-sanity")
def test_csi_sanity(cell: Cell, case: str, figures: Figures) -> None:
    outcome = outcomes(cell)[case]
    reason = next((reason for words, reason in NOT_OFFERED.items() if words in case), None)
    if outcome.status in ("skipped", "pending") and reason is not None:
        pytest.skip(reason)
    assert outcome.status == "passed", outcome.message
    figures.add("csi-sanity cases passed")
