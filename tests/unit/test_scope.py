"""The call being served and its deadline."""

import contextlib
import contextvars
import time

import pytest

from csi_powerflex import scope
from csi_powerflex.errors import DeadlineExceeded
from csi_powerflex.scope import Scope


def test_outside_of_a_call_the_cap_is_what_remains() -> None:
    assert scope.current() is None
    assert scope.remaining(7.5) == 7.5


def test_a_call_without_deadline_has_the_cap() -> None:
    with scope.entered(Scope("Probe", "1")):
        assert scope.remaining(7.5) == 7.5


def test_what_remains_is_the_lesser_of_cap_and_deadline() -> None:
    with scope.entered(Scope("Probe", "1", deadline=time.monotonic() + 60)):
        assert scope.remaining(5) == 5
        assert 59 < scope.remaining(600) <= 60


def test_a_passed_deadline_says_which_call_to_repeat() -> None:
    call = Scope("CreateVolume", "1", deadline=time.monotonic())
    with (
        scope.entered(call),
        pytest.raises(DeadlineExceeded, match="deadline of CreateVolume passed; repeat"),
    ):
        scope.remaining(5)


def test_calls_nest_and_the_outer_one_comes_back_even_after_an_error() -> None:
    outer, inner = Scope("Outer", "1"), Scope("Inner", "2")
    with scope.entered(outer):
        with contextlib.suppress(KeyError), scope.entered(inner):
            assert scope.current() is inner
            raise KeyError
        assert scope.current() is outer
    assert scope.current() is None


def test_counts_belong_to_the_call() -> None:
    call = Scope("Probe", "1")
    scope.count("requests")
    with scope.entered(call):
        scope.count("requests")
        scope.count("requests")
        scope.count("commands")
    assert call.counts == {"requests": 2, "commands": 1}


def test_a_call_is_not_seen_from_another_context() -> None:
    with scope.entered(Scope("Probe", "1")):
        assert contextvars.Context().run(scope.current) is None
