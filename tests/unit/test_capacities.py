"""The remembered capacity of pools: asked for again after a change and after some seconds."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest

from csi_powerflex.errors import Unavailable
from csi_powerflex.gateway.cache import CAPACITY_SECONDS, Capacities
from csi_powerflex.gateway.client import Client
from csi_powerflex.model.array import Pool, PoolCapacity
from tests.controller.eventually import eventually


class Asked:
    """An array with two pools, which counts the questions."""

    def __init__(self) -> None:
        self.client = SimpleNamespace(state=object())
        self.now = 0.0
        self.questions: list[str] = []
        self.error: Exception | None = None
        self.total = 1 << 40
        client = cast("Client", self.client)
        self.capacities = Capacities(client, self._read, seconds=60, clock=lambda: self.now)
        # Given to an answer that may end. Without any, answers come at once.
        self.released: threading.Semaphore | None = None

    def _read(self, pool: Pool) -> PoolCapacity:
        self.questions.append(pool.id)
        if self.released is not None:
            assert self.released.acquire(timeout=60)
        if self.error is not None:
            raise self.error
        return PoolCapacity(self.total, self.total, 0, self.total, self.total)

    def of(self, pool_id: str = "a") -> Any:
        return self.capacities.of(cast("Pool", SimpleNamespace(id=pool_id)))


@pytest.fixture
def asked() -> Asked:
    """The array, before the first question."""
    return Asked()


def test_it_is_asked_for_once_for_each_pool(asked: Asked) -> None:
    assert asked.of("a") is asked.of("a")
    assert asked.of("b") is not asked.of("a")
    assert asked.questions == ["a", "b"]


def test_it_is_asked_for_again_after_some_seconds(asked: Asked) -> None:
    first = asked.of()
    asked.now = CAPACITY_SECONDS - 0.1
    assert asked.of() is first
    asked.now = CAPACITY_SECONDS
    assert asked.of() is not first


def test_it_is_asked_for_again_after_a_change(asked: Asked) -> None:
    first = asked.of()
    asked.client.state = object()
    assert asked.of() is not first


def test_an_answer_during_which_something_changed_is_not_remembered(asked: Asked) -> None:
    before = asked.client.state
    asked.of()
    asked.client.state = object()
    asked.of()
    asked.client.state = before
    asked.of()
    assert len(asked.questions) == 3


def test_an_error_is_not_remembered(asked: Asked) -> None:
    asked.error = Unavailable("the gateway does not answer")
    with pytest.raises(Unavailable):
        asked.of()
    asked.error = None
    assert asked.of() is asked.of()


def test_an_answer_without_figures_is_not_remembered(asked: Asked) -> None:
    asked.total = 0
    assert asked.of().total == 0
    asked.total = 1 << 40
    assert asked.of().total == 1 << 40
    assert asked.questions == ["a", "a"]


def test_callers_at_the_same_time_share_one_look_at_a_pool(asked: Asked) -> None:
    asked.released = threading.Semaphore(0)
    with ThreadPoolExecutor(20) as threads:
        calls = [threads.submit(asked.of, "a")]
        eventually(lambda: asked.questions == ["a"])
        calls += [threads.submit(asked.of, "a") for _ in range(19)]
        asked.released.release(20)
        assert len({id(call.result()) for call in calls}) == 1
    assert asked.questions == ["a"]


def test_a_caller_after_a_change_does_not_get_an_answer_that_was_asked_for_before(asked: Asked) -> None:
    asked.released = threading.Semaphore(0)
    with ThreadPoolExecutor(2) as threads:
        before = threads.submit(asked.of, "a")
        eventually(lambda: asked.questions == ["a"])
        asked.client.state = object()
        after = threads.submit(asked.of, "a")
        asked.released.release(2)
        assert before.result() is not after.result()
    assert asked.questions == ["a", "a"]
