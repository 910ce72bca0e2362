"""Calls that are abandoned when they do not end in time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from csi_powerflex import call_context
from csi_powerflex.errors import DeadlineExceeded
from csi_powerflex.host.time_limit import TimeLimit


def abandoned() -> set[threading.Thread]:
    """The threads of calls that have not ended."""
    return {thread for thread in threading.enumerate() if thread.name == "time-limit"}


def test_a_hanging_call_needs_one_thread_and_does_not_delay_others() -> None:
    time_limit = TimeLimit(2.0)
    answer = threading.Event()
    with pytest.raises(DeadlineExceeded, match="did not answer"):
        time_limit.call("read", "dead", lambda: answer.wait(60))
    threads = abandoned()
    with pytest.raises(DeadlineExceeded, match="does not answer, and has not for"):
        time_limit.call("read", "dead", lambda: answer.wait(60))
    assert abandoned() <= threads
    assert time_limit.call("read", "alive", lambda: 42) == 42
    answer.set()


def test_a_call_that_ended_late_can_be_made_again() -> None:
    time_limit = TimeLimit(1.0)
    answer, ended = threading.Event(), threading.Event()

    def slow() -> None:
        answer.wait(60)
        ended.set()

    with pytest.raises(DeadlineExceeded, match="did not answer"):
        time_limit.call("read", "slow", slow)
    answer.set()
    assert ended.wait(10)
    for thread in abandoned():
        thread.join(10)
    assert time_limit.call("read", "slow", lambda: 42) == 42


def test_the_deadline_of_the_rpc_is_the_limit_if_it_comes_first() -> None:
    answer = threading.Event()
    with (
        call_context.background("test", 0.1),
        pytest.raises(DeadlineExceeded, match=r"did not answer within 0\.\d s"),
    ):
        TimeLimit(60.0).call("read", "dead", lambda: answer.wait(60))
    answer.set()


def test_callers_at_the_same_time_share_one_call() -> None:
    time_limit, begun, go_on = TimeLimit(10.0), threading.Event(), threading.Event()
    asked: list[int] = []

    def slow() -> int:
        asked.append(1)
        begun.set()
        go_on.wait(10)
        return 42

    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(time_limit.call, "read", "slow", slow)
        assert begun.wait(10)
        threading.Timer(0.1, go_on.set).start()
        assert time_limit.call("read", "slow", slow) == 42
        assert first.result() == 42
    assert len(asked) == 1


def test_the_error_of_a_call_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        TimeLimit(10.0).call("read", "zero", lambda: 1 // 0)
