"""What the mover tells the process that started it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from csi_powerflex import errors
from csi_powerflex.model.mover import (
    TERMINATION_BYTES,
    Exit,
    Outcome,
    Phase,
    Progress,
    UnreadableMessage,
    read_outcome,
)
from csi_powerflex.mover.outcome import Different, Refused, Stopped, TargetRefused, Work, exit_of
from csi_powerflex.mover.process import run_job


def test_an_outcome_is_read_as_it_was_written() -> None:
    outcome = Outcome(Exit.DONE, "copied", 10, 5, 2, 5, "raw", "sha256:00")
    assert read_outcome(outcome.text()) == outcome
    assert json.loads(outcome.text())["percent"] == 100


@pytest.mark.parametrize("letter", ["x", "ü", "\\", '"'])
def test_a_long_message_fits_into_a_termination_message(letter: str) -> None:
    text = Outcome(Exit.REFUSED, letter * 10_000).text()
    assert len(text.encode()) <= TERMINATION_BYTES
    assert read_outcome(text).message.startswith(letter * 100)


def test_control_characters_of_an_image_do_not_reach_terminals() -> None:
    text = Outcome(Exit.REFUSED, "a VMDK of the type \x1b]0;x\x07\r\u202e", format="ü\n").text()
    found = read_outcome(text)
    assert (found.message, found.format) == ("a VMDK of the type ?]0;x???", "ü?")


@pytest.mark.parametrize(
    "text", ["", "Killed", "{}", '{"exit":99,"message":""}', '{"exit":"0","message":""}']
)
def test_another_message_is_no_outcome(text: str) -> None:
    with pytest.raises(UnreadableMessage, match="the mover left no outcome"):
        read_outcome(text)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Refused(""), Exit.REFUSED),
        (TargetRefused(""), Exit.TARGET),
        (Different(""), Exit.DIFFERENT),
        (Stopped(""), Exit.STOPPED),
        (errors.InvalidArgument(""), Exit.USAGE),
        (errors.FailedPrecondition(""), Exit.USAGE),
        (errors.Unavailable(""), Exit.UNAVAILABLE),
        (errors.DeadlineExceeded(""), Exit.UNAVAILABLE),
    ],
)
def test_each_error_has_an_exit_status(error: errors.DriverError, status: Exit) -> None:
    assert exit_of(error) is status
    assert status.is_worth_repeating is (status in (Exit.UNAVAILABLE, Exit.STOPPED))


def test_progress_has_bytes_percent_and_speed() -> None:
    lines, times = list[str](), iter([0.0, 0.5, 2.0, 4.0])
    work = Work(write=lines.append, clock=lambda: next(times))
    work.begin(Phase.WRITING, 1000, at=100)
    work.at(200)
    work.at(500)
    work.end(1000)
    assert [json.loads(line) for line in lines] == [
        {"phase": "Writing", "bytes": 100, "total": 1000, "speed": 0, "percent": 10},
        {"phase": "Writing", "bytes": 500, "total": 1000, "speed": 200, "percent": 50},
        {"phase": "Writing", "bytes": 1000, "total": 1000, "speed": 225, "percent": 100},
    ]


def test_a_phase_of_unknown_length_has_no_percent() -> None:
    assert json.loads(Progress(Phase.UNPACKING, 5, None, 1).line())["percent"] is None
    assert Progress(Phase.WRITING, 0, 0, 0).percent == 100


def test_the_last_line_and_the_termination_message_are_the_outcome(tmp_path: Path) -> None:
    lines, file = list[str](), tmp_path / "message"
    status = run_job(lambda _work: Outcome(Exit.DONE, "done", size=10), termination=file, show=lines.append)
    assert status is Exit.DONE
    assert lines == [file.read_text()]
    assert read_outcome(lines[0]).message == "done"


def test_an_error_is_an_outcome(tmp_path: Path) -> None:
    def fail(_work: Work) -> Outcome:
        raise TargetRefused("the target has content")

    lines = list[str]()
    assert run_job(fail, termination=None, show=lines.append) is Exit.TARGET
    assert read_outcome(lines[0]) == Outcome(Exit.TARGET, "the target has content")


def test_an_unexpected_error_is_an_outcome_too() -> None:
    def fail(_work: Work) -> Outcome:
        raise KeyError("x")

    lines = list[str]()
    assert run_job(fail, termination=None, show=lines.append) is Exit.FAILED
    assert "a defect of the mover: KeyError('x')" in read_outcome(lines[0]).message


def test_sigterm_stops_at_the_next_step_and_its_handler_is_removed() -> None:
    before, lines = signal.getsignal(signal.SIGTERM), list[str]()

    def work_on(work: Work) -> Outcome:
        os.kill(os.getpid(), signal.SIGTERM)
        work.check()
        raise AssertionError("it did not stop")

    assert run_job(work_on, termination=None, show=lines.append) is Exit.STOPPED
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_termination_message_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    lines = list[str]()
    status = run_job(
        lambda _work: Outcome(Exit.DONE, ""), termination=tmp_path / "missing" / "file", show=lines.append
    )
    assert status is Exit.DONE
    assert read_outcome(lines[-1]).exit is Exit.DONE
