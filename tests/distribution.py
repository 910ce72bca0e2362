"""Which tests run on the same worker of pytest-xdist, and which start first.

Each worker is a process. Workers share the loop devices of the machine, and the number that one test
releases is the next that another test gets. So tests with devices run on one worker. The interrupted calls
of the node, half of these tests, are an exception: each step of a test has its own devices. The tests of
csi-sanity have their own processes and a folder for each cell, so each cell can run on any worker. Of the
other tests, those of one file run on one worker, together with their fixtures. The tests of the longest
files run one by one.
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
    "tests/mover/",
    "tests/node/",
    "tests/secrets/",
    "tests/simulator/test_cli.py",
    "tests/simulator/test_data.py",
    "tests/simulator/test_devices.py",
    "tests/simulator/test_ownership.py",
    "tests/simulator/test_run_cleanup.py",
    "tests/unit/test_devices.py",
)
_CELL = re.compile(r"tests/sanity/.*-((?:one|two)-[\d.]+-(?:mount|block))\]$")
_INTERRUPTED_NODE_CALLS = "tests/node/test_interrupted_calls.py"
_ONE_BY_ONE = ("tests/controller/test_interrupted_calls.py",)
# These take longest, so they start first. The order of the others is that of pytest-randomly.
_FIRST = (
    "tests/soak/",
    "tests/controller/test_model.py",
    _INTERRUPTED_NODE_CALLS,
    *WITH_DEVICES,
    "tests/controller/test_interrupted_calls.py",
)


def group(nodeid: str) -> str:
    """The group of a test; a group runs on one worker."""
    if nodeid.startswith(WITH_DEVICES) and not nodeid.startswith(_INTERRUPTED_NODE_CALLS):
        return "devices"
    if cell := _CELL.match(nodeid):
        return cell[1]
    return nodeid if nodeid.startswith(_ONE_BY_ONE) else nodeid.partition("::")[0]


class Workers:
    """The plugin. It is registered if pytest-xdist is installed."""

    @pytest.hookimpl
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Distribute the tests by group. The group marks of pytest-xdist would change the tests' names."""
        from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - it may not be installed

        scheduler = LoadScopeScheduling(config, log)
        scheduler._split_scope = group
        return scheduler

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Sort the tests of ``_FIRST`` to the beginning."""
        if hasattr(config, "workerinput"):
            items.sort(key=_rank)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(self) -> Generator[None, object, object]:
        """Make it possible to send a report from a worker to the run.

        The output of a test may contain halves of surrogate pairs, as hostile input does. They cannot be
        sent.
        """
        return _sendable((yield))


def _rank(item: pytest.Item) -> int:
    return next((rank for rank, path in enumerate(_FIRST) if item.nodeid.startswith(path)), len(_FIRST))


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
