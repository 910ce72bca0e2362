"""Locks of the objects that a call changes."""

import contextlib
import threading
from collections.abc import Iterable, Iterator

import pytest

from csi_powerflex.csi.locks import Locks
from csi_powerflex.errors import Busy


@contextlib.contextmanager
def holding(locks: Locks, keys: Iterable[str], holder: str) -> Iterator[None]:
    """Hold the keys during the block, as the interceptor does during a call."""
    held = locks.take(keys, holder)
    try:
        yield
    finally:
        locks.release(held)


def test_a_locked_key_is_refused_with_its_holder_and_unlocked_afterwards() -> None:
    locks = Locks()
    with holding(locks, ["volume a"], "NodeStageVolume"):
        with (
            pytest.raises(Busy, match="NodeStageVolume is still under way for volume a; try again later"),
            holding(locks, ["volume a"], "NodeUnstageVolume"),
        ):
            pass
        with holding(locks, ["volume b"], "NodeStageVolume"):
            pass
    with holding(locks, ["volume a"], "NodeUnstageVolume"):
        pass


def test_a_refused_call_takes_none_of_its_keys() -> None:
    locks = Locks()
    with (
        holding(locks, ["b"], "first"),
        pytest.raises(Busy, match="first is still under way for b"),
        holding(locks, ["a", "b", "c"], "second"),
    ):
        pass
    with holding(locks, ["a", "b", "c"], "third"):
        pass


def test_a_key_can_be_named_twice() -> None:
    locks = Locks()
    with holding(locks, ["a", "a"], "first"):
        pass
    with holding(locks, ["a"], "second"):
        pass


def test_keys_are_released_after_an_error() -> None:
    locks = Locks()
    with pytest.raises(KeyError), holding(locks, ["a"], "first"):
        raise KeyError
    with holding(locks, ["a"], "second"):
        pass


def test_only_one_of_many_threads_gets_the_lock() -> None:
    locks, threads = Locks(), 8
    all_tried = threading.Barrier(threads)
    outcomes: list[bool] = []

    def attempt() -> None:
        try:
            with holding(locks, ["a"], "attempt"):
                outcomes.append(True)
                all_tried.wait(timeout=30)
        except Busy:
            outcomes.append(False)
            all_tried.wait(timeout=30)

    workers = [threading.Thread(target=attempt) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(outcomes) == [False] * (threads - 1) + [True]
