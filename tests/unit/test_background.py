"""Background loops: an unexpected error is logged and counted, and ends nothing."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

import pytest
from prometheus_client import REGISTRY

from csi_powerflex.background import Loop
from csi_powerflex.observability import tasks

TIMEOUT_SECONDS = 60.0


class Steps:
    """A step that reports each round, and then does what the test told it to do."""

    def __init__(self, *acts: Callable[[], float | None]) -> None:
        self._acts = list(acts)
        self._rounds: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._count = 0

    def __call__(self) -> float | None:
        self._count += 1
        self._rounds.put(self._count)
        return self._acts.pop(0)() if self._acts else 3600.0

    def round(self) -> int:
        """Wait for the next round, and return its number."""
        return self._rounds.get(timeout=TIMEOUT_SECONDS)


def fail() -> float:
    raise TypeError("a defect")


@pytest.fixture
def loop_of() -> Iterator[Callable[..., Loop]]:
    loops: list[Loop] = []

    def make(step: Callable[[], float | None], name: str = "test_task", **options: float) -> Loop:
        loops.append(Loop(name, step, **{"first_pause": 0.0, **options}))
        loops[-1].start()
        return loops[-1]

    yield make
    for loop in loops:
        assert loop.stop(TIMEOUT_SECONDS)


def errors(name: str) -> float:
    return REGISTRY.get_sample_value("csi_powerflex_background_errors_total", {"task": name}) or 0.0


def test_an_unexpected_error_is_logged_and_counted_and_the_loop_goes_on(
    loop_of: Callable[..., Loop], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="csi_powerflex")
    before = errors("test_task")
    steps = Steps(fail, fail)
    loop = loop_of(steps)
    assert [steps.round() for _ in range(3)] == [1, 2, 3]
    assert loop.stop(TIMEOUT_SECONDS)
    assert errors("test_task") == before + 2
    failed = [record for record in caplog.records if record.message == "background task failed"]
    assert [record.exc_info is not None for record in failed] == [True, True]
    assert "background task works again" in caplog.messages


def test_a_task_is_reported_as_failing_until_it_works_again(loop_of: Callable[..., Loop]) -> None:
    held = threading.Event()

    def wait() -> float:
        held.wait(TIMEOUT_SECONDS)
        return 3600.0

    steps = Steps(fail, wait)
    loop = loop_of(steps, name="failing_task")
    assert [steps.round(), steps.round()] == [1, 2]
    assert tasks.failing()["failing_task"] == "unexpected TypeError"
    held.set()
    loop.wake()
    steps.round()
    assert loop.stop(TIMEOUT_SECONDS)
    assert "failing_task" not in tasks.failing()


def test_pauses_double_up_to_the_longest(
    loop_of: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(Loop, "_wait", lambda _loop, seconds: pauses.append(seconds))
    steps = Steps(*[fail] * 5, lambda: None)
    loop_of(steps, first_pause=1.0, longest_pause=6.0)
    for _ in range(6):
        steps.round()
    assert pauses[:5] == [1.0, 2.0, 4.0, 6.0, 6.0]


def test_a_wake_ends_the_pause(loop_of: Callable[..., Loop]) -> None:
    steps = Steps()
    loop = loop_of(steps)
    assert steps.round() == 1
    loop.wake()
    assert steps.round() == 2


def test_a_step_that_returns_none_ends_the_loop(loop_of: Callable[..., Loop]) -> None:
    steps = Steps(lambda: None)
    loop = loop_of(steps)
    assert steps.round() == 1
    assert loop.stop(TIMEOUT_SECONDS)


def test_a_stop_does_not_wait_for_ever_for_a_round_that_hangs() -> None:
    hanging = threading.Event()
    began = threading.Event()

    def hang() -> float:
        began.set()
        hanging.wait(TIMEOUT_SECONDS)
        return 0.0

    loop = Loop("hanging_task", hang)
    loop.start()
    assert began.wait(TIMEOUT_SECONDS)
    assert not loop.stop(0.01)
    hanging.set()
    assert loop.stop(TIMEOUT_SECONDS)


def test_a_loop_that_was_never_started_can_be_stopped() -> None:
    assert Loop("unused_task", lambda: None).stop()
