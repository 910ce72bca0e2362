"""What runs beside what where pytest-xdist runs the tests on several workers, and what begins first.

A worker is a process of its own, and two share what a machine has once: above all its loop devices,
where the number that one test gives back is the next that another gets. So tests with devices run on one
worker, but for the breaks of the node, half of them: there everything belongs to one step of one test.
Those of csi-sanity, which come in cells with processes and a folder each, run wherever there is time. So
does the rest: the tests of a file together, with what they set up for all of them, and those of the
longest files one by one.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

import pytest

WITH_DEVICES = (
    "tests/chart/test_sdc_on_demand.py",
    "tests/chart/test_simulated_array.py",
    "tests/demo/",
    "tests/hostile/test_node.py",
    "tests/node/",
    "tests/secrets/",
    "tests/simulator/test_cli.py",
    "tests/simulator/test_data.py",
    "tests/simulator/test_devices.py",
    "tests/simulator/test_ownership.py",
)
_CELL = re.compile(r"tests/sanity/.*-((?:one|two)-[\d.]+-(?:mount|block))\]$")
_BREAKS_OF_THE_NODE = "tests/node/test_breaks.py"
_ONE_BY_ONE = ("tests/controller/test_interrupted_calls.py",)
# What would keep the run waiting if it began last; of the rest, the order is that of pytest-randomly.
_FIRST = (
    "tests/soak/",
    "tests/controller/test_model.py",
    _BREAKS_OF_THE_NODE,
    *WITH_DEVICES,
    "tests/controller/test_interrupted_calls.py",
)


def group(nodeid: str) -> str:
    """The group of a test; a group runs on one worker."""
    if nodeid.startswith(WITH_DEVICES) and not nodeid.startswith(_BREAKS_OF_THE_NODE):
        return "devices"
    if cell := _CELL.match(nodeid):
        return cell[1]
    return nodeid if nodeid.startswith(_ONE_BY_ONE) else nodeid.partition("::")[0]


class Workers:
    """The plugin; registered where pytest-xdist is."""

    @pytest.hookimpl
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Hand the tests out by group. Its own marks for groups would do so by changing the tests' names."""
        from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - pytest runs without it too

        scheduler = LoadScopeScheduling(config, log)
        scheduler._split_scope = group
        return scheduler

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Put first what is to begin first."""
        if hasattr(config, "workerinput"):
            items.sort(key=_turn)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(self) -> Generator[None, object, object]:
        """Make a report fit for the way from a worker to the run.

        What a test wrote may hold halves of surrogate pairs, as hostile input does, and these cannot be sent.
        """
        return _sendable((yield))


def _turn(item: pytest.Item) -> int:
    return next((turn for turn, path in enumerate(_FIRST) if item.nodeid.startswith(path)), len(_FIRST))


def _sendable(content: object) -> object:
    match content:
        case str():
            return content.encode("utf-8", "backslashreplace").decode("utf-8")
        case dict():
            return {_sendable(key): _sendable(value) for key, value in content.items()}
        case list() | tuple():
            return type(content)(map(_sendable, content))
        case _:
            return content
