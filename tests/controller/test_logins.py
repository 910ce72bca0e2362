"""Logins that the array refuses: the driver must not lock the account, and repeats the array's words."""

from __future__ import annotations

import grpc
import pytest

from csi_powerflex.config.secret import Secret
from csi_powerflex.errors import Unauthenticated
from csi_powerflex.gateway import refusals
from csi_powerflex.gateway.refusals import Refusals
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.message import json_response
from tests.controller.changed_answers import ChangeAnswer
from tests.controller.driver import refused
from tests.controller.sessions import LOGINS, attempts, create_at_once
from tests.controller.systems_file import SystemsFile
from tests.controller.world import World

WRONG = Secret("wrong-password")


@pytest.mark.parametrize("world", ["4.5", "5.0"], indirect=True)
def test_a_refused_password_is_sent_once_for_many_calls(world: World) -> None:
    world = world.reconfigured(password=WRONG, endpoints=(world.gateway.url, world.gateway.url + "/"))
    for _ in range(3):
        assert set(create_at_once(world, 16)) == {grpc.StatusCode.UNAUTHENTICATED}
    assert attempts(world) == 1


@pytest.mark.parametrize("world", ["3.6"], indirect=True)
def test_a_gateway_without_the_platform_login_gets_a_refused_password_once(world: World) -> None:
    world = world.reconfigured(password=WRONG)
    for _ in range(3):
        assert set(create_at_once(world, 16)) == {grpc.StatusCode.UNAUTHENTICATED}
    assert len(world.simulator.gateway.log.find(path=LOGINS["3.6"])) == 1


def test_the_error_says_when_the_same_password_is_sent_again(array45: World) -> None:
    world = array45.reconfigured(password=WRONG)
    refused(grpc.StatusCode.UNAUTHENTICATED, world.driver.create)
    text = refused(grpc.StatusCode.UNAUTHENTICATED, world.driver.create)
    assert "the driver tries the same password again within" in text
    assert "Invalid username or password" in text
    assert "wrong-password" not in text


def test_another_password_is_sent_at_once(array45: World) -> None:
    file = SystemsFile(array45)
    file.password.write_text("wrong-password")
    driver = array45.restart()
    refused(grpc.StatusCode.UNAUTHENTICATED, driver.create)
    file.password.write_text("Simulated1!")
    assert driver.create().volume_id


def test_a_refused_password_is_sent_again_later_with_longer_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    class Clock:
        def monotonic(self) -> float:
            return now

    monkeypatch.setattr(refusals, "time", Clock())
    known, error = Refusals(), Unauthenticated("refused")
    sent: list[float] = []
    for second in range(2000):
        now = float(second)
        try:
            known.check(WRONG)
        except Unauthenticated:
            continue
        sent.append(now)
        known.add(WRONG, error)
    assert sent == [0, 15, 45, 105, 225, 465, 945, 1545]
    known.check(Secret("other"))
    known.clear(WRONG)
    known.check(WRONG)


def test_a_password_that_worked_before_is_sent_once_more_after_a_refusal() -> None:
    known = Refusals()
    known.clear(WRONG)
    known.add(WRONG, Unauthenticated("refused"))
    known.check(WRONG)
    known.add(WRONG, Unauthenticated("refused"))
    with pytest.raises(Unauthenticated, match="tries the same password again within"):
        known.check(WRONG)


@pytest.mark.parametrize("status", [403, 423])
def test_the_words_of_a_refused_login_are_kept_and_the_account_is_left_alone(
    array45: World, change_answer: ChangeAnswer, status: int
) -> None:
    body = {"message": "User account is locked, Simulated1!"}
    change_answer("/rest/auth/login", lambda _: json_response(body, status))
    for _ in range(3):
        text = refused(grpc.StatusCode.UNAVAILABLE, array45.driver.create)
        assert (
            f"answered the login with HTTP {status} (the gateway says: User account is locked, ***)" in text
        )
    assert attempts(array45) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_an_overloaded_login_is_repeated_also_for_a_creation(world: World, status: int) -> None:
    path = LOGINS[world.array.dialect.version]
    world.simulator.gateway.inject(Fault(kind=FaultKind.ERROR, status=status, path=path, times=2))
    assert world.driver.create().volume_id


def test_a_login_whose_answer_is_lost_is_repeated_also_for_a_creation(world: World) -> None:
    path = LOGINS[world.array.dialect.version]
    world.simulator.gateway.inject(Fault(kind=FaultKind.LOST_REPLY, path=path, times=1))
    assert world.driver.create().volume_id
