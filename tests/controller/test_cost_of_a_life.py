"""What the life of a volume costs a controller that runs as in production: requests, and processor time.

The processor time is compared with that of a call without any work in the same process, because a time says
more about the machine and the other programs on it. ``make bench-lives`` measures times.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import lives
from tests.controller_process import ControllerProcess
from tests.figures import Figures
from tests.soak import array
from tests.soak.array import SoakedArray

_LIVES = 150
_PROBES = 1600
_PARALLEL = 8
# 21, 23, 26 and 30 were measured with load 12 to 16 on 2 processors. Other programs disturb both figures.
_MOST_PROBES_PER_LIFE = 40.0


@pytest.fixture
def target() -> Iterator[SoakedArray]:
    """A simulated array in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="lives-") as folder, array.serving(Path(folder), "4.5") as served:
        yield served


@pytest.fixture
def controller(target: SoakedArray, tmp_path: Path) -> Iterator[ControllerProcess]:
    """A controller without the measurement of coverage, which would slow down Python alone."""
    systems = target.systems_file(tmp_path / "systems.yaml", request_seconds=60)
    with tempfile.TemporaryDirectory(prefix="lives-") as folder:
        options = {"watch-seconds": "0"}
        with ControllerProcess(Path(folder), systems, options, measured=False) as process:
            yield process


def lead(controller: ControllerProcess, target: SoakedArray, number: int) -> lives.Sample:
    """At least so many lives."""
    return lives.measured([controller], target, parallel=_PARALLEL, go_on=lambda ended: ended < number)


def test_a_life_costs_four_requests_and_a_bounded_part_of_the_processor(
    controller: ControllerProcess, target: SoakedArray, figures: Figures
) -> None:
    lead(controller, target, _PARALLEL)  # the controller logs in, and its caches are filled
    probe = lives.probe_seconds(controller, _PROBES)
    sample = lead(controller, target, _LIVES)
    assert sample.lives >= _LIVES
    assert sample.requests == 4 * sample.lives
    probes = sample.cpu_ms / 1000 / probe
    figures.tell([f"the life of a volume takes the processor time of {probes:.1f} calls without work"])
    assert probes <= _MOST_PROBES_PER_LIFE
