"""Long reads that several callers share."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from csi_powerflex import call_context
from csi_powerflex.errors import DeadlineExceeded, Unavailable
from csi_powerflex.shared_read import SharedRead
from tests.controller.eventually import eventually


class Source:
    """A read that ends when the test lets it, and counts how many run at the same time."""

    def __init__(self) -> None:
        self.reads = 0
        self.most = 0
        self.errors: list[Exception] = []
        self._running = 0
        self._lock = threading.Lock()
        self._go = threading.Semaphore(0)

    def __call__(self) -> int:
        with self._lock:
            self.reads += 1
            number = self.reads
            self._running += 1
            self.most = max(self.most, self._running)
        call_context.remaining(60)
        assert self._go.acquire(timeout=60)
        with self._lock:
            self._running -= 1
        if self.errors:
            raise self.errors.pop(0)
        return number

    def finish(self) -> None:
        self._go.release()


def start(pool: ThreadPoolExecutor, shared: SharedRead[int], source: Source) -> Future[int]:
    """Start the first read, and wait until it runs."""
    first = pool.submit(shared.get)
    eventually(lambda: source.reads == 1)
    return first


def waiting(pool: ThreadPoolExecutor, shared: SharedRead[int], count: int) -> list[Future[int]]:
    """Callers that come during a read."""
    calls = [pool.submit(shared.get) for _ in range(count)]
    eventually(lambda: shared._next is not None)
    eventually(lambda: all(call.running() for call in calls))
    return calls


def test_callers_during_a_read_share_the_next_one() -> None:
    source = Source()
    shared = SharedRead(source, seconds=60)
    with ThreadPoolExecutor(16) as pool:
        first = start(pool, shared, source)
        others = waiting(pool, shared, 8)
        assert source.reads == 1
        for _ in range(10):
            source.finish()
        assert first.result() == 1
        results = [call.result() for call in others]
    assert min(results) == 2, "a caller got a read that began before its call"
    assert source.most == 1


def test_a_caller_after_a_read_gets_a_new_one() -> None:
    source = Source()
    shared = SharedRead(source, seconds=60)
    for number in (1, 2):
        source.finish()
        assert shared.get() == number


def test_an_error_reaches_those_who_share_the_read_and_no_later_caller() -> None:
    source = Source()
    shared = SharedRead(source, seconds=60)
    source.errors = [Unavailable("no answer")]
    source.finish()
    with pytest.raises(Unavailable, match="no answer"):
        shared.get()
    source.finish()
    assert shared.get() == 2


def test_a_caller_waits_for_another_read_no_longer_than_its_deadline() -> None:
    source = Source()
    shared = SharedRead(source, seconds=60)
    with ThreadPoolExecutor(2) as pool:
        first = start(pool, shared, source)
        with call_context.background("test", 0.05), pytest.raises(DeadlineExceeded):
            shared.get()
        source.finish()
        assert first.result() == 1
        source.finish()
        assert shared.get() == 2


def test_a_caller_whose_leader_has_no_time_left_reads_itself() -> None:
    source = Source()
    shared = SharedRead(source, seconds=60)

    def impatient() -> int:
        with call_context.background("impatient", 0.3):
            return shared.get()

    with ThreadPoolExecutor(3) as pool:
        first = start(pool, shared, source)
        leader = pool.submit(impatient)
        eventually(lambda: shared._next is not None)
        follower = pool.submit(shared.get)
        with pytest.raises(DeadlineExceeded):
            leader.result()
        for _ in range(2):
            source.finish()
        assert first.result() == 1
        assert follower.result() == 2
    assert source.most == 1


def test_a_follower_waits_no_longer_than_its_deadline() -> None:
    source = Source()
    shared = SharedRead(source, seconds=60)
    with ThreadPoolExecutor(3) as pool:
        first = start(pool, shared, source)
        leader = pool.submit(shared.get)
        eventually(lambda: shared._next is not None)
        with (
            call_context.background("test", 0.05),
            pytest.raises(DeadlineExceeded, match="took too long; repeat the call"),
        ):
            shared.get()
        for _ in range(2):
            source.finish()
        assert (first.result(), leader.result()) == (1, 2)


def test_callers_at_the_same_time_share_a_read_after_one_that_took_long() -> None:
    reads = []

    def read() -> int:
        reads.append(1)
        time.sleep(0.5)
        return len(reads)

    shared = SharedRead(read, seconds=60, pause=0.5)
    assert shared.get() == 1
    together = threading.Barrier(6)

    def call(_: int) -> int:
        together.wait(60)
        return shared.get()

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(call, range(6)))
    assert 2 in found
    assert len(reads) <= 3


def test_what_is_kept_answers_without_a_read() -> None:
    source = Source()
    shared = SharedRead(source, seconds=60)
    assert shared.get_unless(lambda: 7) == 7
    assert source.reads == 0


def test_a_caller_takes_what_the_read_under_way_leaves() -> None:
    source = Source()
    shared = SharedRead(source, seconds=60)
    kept: list[int] = []
    with ThreadPoolExecutor(9) as pool:
        first = start(pool, shared, source)
        looked = threading.Semaphore(0)

        def look() -> int | None:
            looked.release()
            return kept[0] if kept else None

        others = [pool.submit(shared.get_unless, look) for _ in range(8)]
        for _ in others:
            assert looked.acquire(timeout=60)
        kept.append(11)
        source.finish()
        assert first.result() == 1
        assert {call.result() for call in others} == {11}
    assert source.reads == 1


def test_a_caller_that_the_read_under_way_does_not_help_gets_a_new_one() -> None:
    source = Source()
    shared = SharedRead(source, seconds=60)
    with ThreadPoolExecutor(2) as pool:
        first = start(pool, shared, source)
        looked = threading.Event()
        second = pool.submit(shared.get_unless, looked.set)
        assert looked.wait(60)
        for _ in range(2):
            source.finish()
        assert (first.result(), second.result()) == (1, 2)


def test_a_caller_waits_for_the_read_under_way_no_longer_than_its_deadline() -> None:
    source = Source()
    shared = SharedRead(source, seconds=60)
    with ThreadPoolExecutor(1) as pool:
        first = start(pool, shared, source)
        with call_context.background("test", 0.05), pytest.raises(DeadlineExceeded):
            shared.get_unless(lambda: None)
        source.finish()
        assert first.result() == 1


def test_a_read_that_begins_between_the_look_and_the_question_is_the_only_one() -> None:
    """Two callers find nothing. The second one is interrupted until the first one reads."""
    source = Source()
    shared = SharedRead(source, seconds=60)
    kept: list[int] = []
    looked, go_on = threading.Event(), threading.Event()

    def look() -> int | None:
        if not looked.is_set():
            looked.set()
            assert go_on.wait(60)
            return None
        return kept[0] if kept else None

    with ThreadPoolExecutor(2) as pool:
        second = pool.submit(shared.get_unless, look)
        assert looked.wait(60)
        first = start(pool, shared, source)
        go_on.set()
        kept.append(11)
        source.finish()
        assert (first.result(), second.result()) == (1, 11)
    assert source.reads == 1


def test_a_read_that_ends_between_the_look_and_the_question_is_the_only_one() -> None:
    source = Source()
    shared = SharedRead(source, seconds=60)
    kept: list[int] = []

    def look() -> int | None:
        if kept:
            return kept[0]
        source.finish()
        kept.append(shared.get())
        return None

    assert shared.get_unless(look) == 1
    assert source.reads == 1


def test_callers_that_the_read_under_way_does_not_help_share_the_one_that_began_since() -> None:
    source = Source()
    shared = SharedRead(source, seconds=60)
    looks, go_on = threading.Semaphore(0), threading.Event()

    def look() -> None:
        looks.release()

    def look_late() -> None:
        if source.reads == 1 and not first.done():
            looks.release()
        else:
            assert go_on.wait(60)

    with ThreadPoolExecutor(3) as pool:
        first = start(pool, shared, source)
        calls = [pool.submit(shared.get_unless, each) for each in (look, look_late)]
        for _ in calls:
            assert looks.acquire(timeout=60)
        eventually(lambda: waiters(shared._running) == 2)
        source.finish()
        eventually(lambda: source.reads == 2)
        go_on.set()
        eventually(lambda: waiters(shared._running) == 1)
        source.finish()
        assert first.result() == 1
        assert [call.result() for call in calls] == [2, 2]
    assert source.reads == 2


def waiters(future: Any) -> int:
    """How many threads wait for the end of a read."""
    return len(future._condition._waiters) + len(future._waiters)
