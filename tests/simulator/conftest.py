from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csi_powerflex.simulator.clock import ManualClock
from csi_powerflex.simulator.initial_state import InitialState
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import Simulator, SystemPlan
from tests.simulator.client import Array
from tests.simulator.nvme import NvmeArray, nvme_array

MakeArray = Callable[..., Array]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def make_array(tmp_path: Path, clock: ManualClock) -> Iterator[MakeArray]:
    """A function that makes an array in this process, without sockets and devices, with the SDCs a and b."""
    opened: list[Simulator] = []

    def make(
        version: str = "4.5", *, initial_state: InitialState | None = None, settings: Settings | None = None
    ) -> Array:
        plan = SystemPlan(version, initial_state or InitialState(), settings or Settings())
        simulator = Simulator([plan], folder=tmp_path / f"array{len(opened)}", sdcs=("a", "b"), clock=clock)
        opened.append(simulator)
        return Array(simulator)

    yield make
    for simulator in opened:
        simulator.close()


@pytest.fixture
def array(make_array: MakeArray) -> Array:
    """A 4.5 array."""
    return make_array()


@pytest.fixture
def nvme(tmp_path: Path) -> Iterator[NvmeArray]:
    """A 5.0 array with two portals for NVMe/TCP."""
    with nvme_array(tmp_path / "nvme") as array:
        yield array
