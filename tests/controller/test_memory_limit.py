"""The controller works within the memory limit of the chart, also if the array is full of volumes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from csi_powerflex.pb import csi_pb2
from tests import memory_group
from tests.bench.full_array import MOST_VOLUMES, served
from tests.controller_process import ControllerProcess

_CALLERS = 4


def entries(call: Callable[..., Any], request: type[Any]) -> int:
    """Read all pages of a list; the number of its entries."""
    found, token = 0, ""
    while True:
        answer = call(request(starting_token=token), timeout=300)
        found += len(answer.entries)
        token = answer.next_token
        if not token:
            return found


@pytest.mark.needs("memory-groups")
def test_four_callers_of_each_list_of_a_full_array_stay_within_the_limit_of_the_chart(tmp_path: Path) -> None:
    limit = memory_group.of_chart("controller")
    with (
        served(tmp_path / "array", MOST_VOLUMES) as systems,
        memory_group.limited(limit) as group,
        ControllerProcess(tmp_path / "controller", systems) as process,
    ):
        (group / "cgroup.procs").write_text(str(process.pid))
        stub = process.driver.controller
        calls = [
            *[partial(entries, stub.ListVolumes, csi_pb2.ListVolumesRequest)] * _CALLERS,
            *[partial(entries, stub.ListSnapshots, csi_pb2.ListSnapshotsRequest)] * _CALLERS,
        ]
        with ThreadPoolExecutor(len(calls)) as pool:
            found = list(pool.map(lambda call: call(), calls))
        assert found == [MOST_VOLUMES // 2] * len(calls)
        assert process.running
