"""The short form of the soak test. ``make soak`` runs the long form."""

from __future__ import annotations

import pytest

from tests.figures import Figures
from tests.soak.run import Plan, run


@pytest.mark.timeout(300)
def test_all_volume_lifecycles_end_well_in_spite_of_faults(figures: Figures) -> None:
    outcome = run(Plan(volumes=240, clients=32, restarts=3, storms=3, frozen_seconds=5))
    figures.tell(outcome.lines())
    assert outcome.errors() == []
    figures.add("volume life cycles with faults", outcome.ended)
    figures.add("gateway requests with faults", sum(outcome.faults.values()))
