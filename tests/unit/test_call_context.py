"""The context of a call and its deadline."""

import contextlib
import contextvars
import time

import pytest

from csi_powerflex import call_context
from csi_powerflex.call_context import CallContext
from csi_powerflex.errors import DeadlineExceeded


def test_without_a_call_the_remaining_time_is_the_cap() -> None:
    assert call_context.current() is None
    assert call_context.remaining(7.5) == 7.5


def test_without_a_deadline_the_remaining_time_is_the_cap() -> None:
    with call_context.entered(CallContext("Probe", "1")):
        assert call_context.remaining(7.5) == 7.5


def test_the_remaining_time_is_the_smaller_of_cap_and_deadline() -> None:
    with call_context.entered(CallContext("Probe", "1", deadline=time.monotonic() + 60)):
        assert call_context.remaining(5) == 5
        assert 59 < call_context.remaining(600) <= 60


def test_a_passed_deadline_says_which_call_to_repeat() -> None:
    call = CallContext("CreateVolume", "1", deadline=time.monotonic())
    with (
        call_context.entered(call),
        pytest.raises(DeadlineExceeded, match="deadline of CreateVolume passed; repeat"),
    ):
        call_context.remaining(5)


def test_background_work_has_its_own_limit_and_the_error_names_it() -> None:
    with call_context.background("qos_sync", 60):
        assert 59 < call_context.remaining(600) <= 60
    with (
        call_context.background("qos_sync", -1),
        pytest.raises(DeadlineExceeded, match="task qos_sync did not end in time"),
    ):
        call_context.remaining(5)
    with call_context.background("qos_sync"):
        assert call_context.remaining(7.5) == 7.5


def test_calls_can_be_nested_and_the_outer_one_is_restored_after_an_error() -> None:
    outer, inner = CallContext("Outer", "1"), CallContext("Inner", "2")
    with call_context.entered(outer):
        with contextlib.suppress(KeyError), call_context.entered(inner):
            assert call_context.current() is inner
            raise KeyError
        assert call_context.current() is outer
    assert call_context.current() is None


def test_counts_belong_to_the_call() -> None:
    call = CallContext("Probe", "1")
    call_context.count("requests")
    with call_context.entered(call):
        call_context.count("requests")
        call_context.count("requests")
        call_context.count("commands")
    assert call.counts == {"requests": 2, "commands": 1}


def test_a_call_is_not_visible_in_another_context() -> None:
    with call_context.entered(CallContext("Probe", "1")):
        assert contextvars.Context().run(call_context.current) is None
