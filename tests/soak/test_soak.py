"""Load with trouble, in short; ``make soak`` is the long form."""

from __future__ import annotations

import pytest

from tests.figures import Figures
from tests.soak.run import Plan, run


@pytest.mark.timeout(300)
def test_every_volume_ends_right_and_nothing_leaks_whatever_the_trouble(
    capsys: pytest.CaptureFixture[str], figures: Figures
) -> None:
    outcome = run(Plan(volumes=240, clients=32, restarts=3, storms=3, frozen_seconds=5))
    with capsys.disabled():
        print("\n", *outcome.lines(), sep="\n")  # noqa: T201 - the figures belong into the log of CI
    assert outcome.faults_found() == []
    figures.add("volume lives in trouble", outcome.ended)
    figures.add("gateway requests met by faults", sum(outcome.faults.values()))
