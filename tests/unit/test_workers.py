"""The threads that serve calls."""

import subprocess
import sys
import threading

import pytest

from csi_powerflex.csi.workers import Workers

PATIENCE_SECONDS = 10.0


def test_results_and_errors_reach_the_caller() -> None:
    pool = Workers(2, "test")
    assert pool.submit(divmod, 7, 2).result(PATIENCE_SECONDS) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 7, 0).result(PATIENCE_SECONDS)
    pool.shutdown()


def test_no_more_threads_are_started_than_are_needed() -> None:
    pool = Workers(8, "few")
    for number in range(50):
        assert pool.submit(abs, -number).result(PATIENCE_SECONDS) == number
        while pool.busy():
            pass
    started = [thread for thread in threading.enumerate() if thread.name.startswith("few_")]
    # A thread counts as free only shortly after its answer was taken, so a second one may be started.
    assert 1 <= len(started) <= 2
    pool.shutdown()


def test_calls_wait_while_all_threads_are_busy() -> None:
    pool = Workers(2, "test")
    go_on, inside = threading.Event(), threading.Semaphore(0)

    def hold() -> bool:
        inside.release()
        return go_on.wait(PATIENCE_SECONDS)

    calls = [pool.submit(hold) for _ in range(5)]
    for _ in range(2):
        assert inside.acquire(timeout=PATIENCE_SECONDS)
    assert pool.busy() == 2
    assert not inside.acquire(blocking=False)
    go_on.set()
    assert all(call.result(PATIENCE_SECONDS) for call in calls)
    pool.shutdown()


def test_after_the_shutdown_accepted_calls_end_and_new_ones_are_refused() -> None:
    pool = Workers(1, "test")
    go_on = threading.Event()
    running, waiting = pool.submit(go_on.wait, PATIENCE_SECONDS), pool.submit(abs, -1)
    pool.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(abs, -1)
    go_on.set()
    pool.shutdown()
    assert running.result(0)
    assert waiting.result(0) == 1
    assert pool.busy() == 0


def test_calls_that_have_not_begun_can_be_dropped() -> None:
    pool = Workers(1, "test")
    go_on, inside = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        go_on.wait(PATIENCE_SECONDS)

    pool.submit(hold)
    waiting = pool.submit(abs, -1)
    assert inside.wait(PATIENCE_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    assert waiting.cancelled()
    go_on.set()
    pool.shutdown()


def test_a_hanging_call_does_not_keep_the_process_from_ending() -> None:
    script = (
        "import threading; from csi_powerflex.csi.workers import Workers\n"
        "inside = threading.Event(); pool = Workers(1, 'test')\n"
        "pool.submit(lambda: (inside.set(), threading.Event().wait())); inside.wait()"
    )
    done = subprocess.run([sys.executable, "-c", script], timeout=PATIENCE_SECONDS * 3, check=False)
    assert done.returncode == 0
