"""Load with trouble, in short; ``make soak`` is the long form."""

from __future__ import annotations

import pytest

from tests.figures import Figures
from tests.soak.run import Plan, run


@pytest.mark.timeout(300)
def test_every_volume_ends_right_and_nothing_leaks_whatever_the_trouble(figures: Figures) -> None:
    outcome = run(Plan(volumes=240, clients=32, restarts=3, storms=3, frozen_seconds=5))
    figures.tell(outcome.lines())
    assert outcome.faults_found() == []
    figures.add("volume lives in trouble", outcome.ended)
    figures.add("gateway requests met by faults", sum(outcome.faults.values()))
