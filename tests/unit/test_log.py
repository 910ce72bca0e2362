"""The two formats of the log."""

import ast
import io
import json
import logging
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import csi_powerflex
from csi_powerflex import call_context
from csi_powerflex.observability import log
from csi_powerflex.observability.log import MOST_CHARACTERS, Format, Log

here = Log("csi_powerflex.here")
LEVELS = ("debug", "info", "warning", "error", "unexpected")

HOSTILE = (
    st.text()
    | st.text('\n\r\x0b\x0c\x1b\x1c\x85\u2028\u2029\x9b\x7f"\\ =a\u202e\ud800', max_size=20)
    | st.just('x\n2026-01-01T00:00:00.000Z INFO    volume removed volume="all"')
)


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


@dataclass(frozen=True)
class Pool:
    name: str

    def __str__(self) -> str:
        return f"pool {self.name}"


@dataclass(frozen=True)
class Kept:
    name: str


def last_json(stream: io.StringIO) -> dict[str, object]:
    record = json.loads(lines(stream)[-1])
    assert isinstance(record, dict)
    return record


def test_text_has_time_level_event_and_fields(text_log: io.StringIO) -> None:
    here.info("volume created", volume="0123-4567", size=8)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    volume created volume=0123-4567 size=8\n",
        text_log.getvalue(),
    )


def test_json_has_the_same_as_one_object(json_log: io.StringIO) -> None:
    here.warning("volume created", volume="0123-4567", size=8)
    record = last_json(json_log)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(record.pop("time")))
    assert record == {
        "level": "warning",
        "event": "volume created",
        "logger": "csi_powerflex.here",
        "volume": "0123-4567",
        "size": 8,
    }


def test_values_with_spaces_or_quotes_are_quoted_in_text(text_log: io.StringIO) -> None:
    here.info("said", word="plain", words="two words", quote='say "hi"', empty="", accent="Zürich 1")
    assert lines(text_log)[0].endswith(
        r'said word=plain words="two words" quote="say \"hi\"" empty="" accent="Zürich 1"'
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(value=HOSTILE, event=HOSTILE)
def test_one_event_is_one_line_of_text_and_its_values_can_be_read_back(
    text_log: io.StringIO, value: str, event: str
) -> None:
    text_log.seek(0)
    text_log.truncate()
    here.info(event, value=value, after="end")
    (line,) = lines(text_log)
    assert line.isprintable()
    assert line.endswith(" after=end")
    written = line[: -len(" after=end")].rpartition(" value=")[2] if " value=" not in value else None
    if written is not None:
        assert (json.loads(written) if written.startswith('"') else written) == value


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(value=HOSTILE, event=HOSTILE)
def test_one_event_is_one_line_of_json(json_log: io.StringIO, value: str, event: str) -> None:
    json_log.seek(0)
    json_log.truncate()
    here.info(event, value=value)
    (line,) = lines(json_log)
    assert line.isprintable()
    assert json.loads(line)["value"] == value
    assert json.loads(line)["event"] == event


LONG = "x" * (MOST_CHARACTERS + 1)
TRUNCATED = f"{LONG[:-1]}...(truncated, {len(LONG)} characters)"


def test_a_long_value_or_event_is_truncated_in_text_and_the_line_says_so(text_log: io.StringIO) -> None:
    here.info(LONG, path=Path(LONG), exact=LONG[:-1], pool=Pool(LONG), kept=Kept(LONG), after="end")
    of_pool = f"pool {LONG[:-6]}...(truncated, {len(LONG) + 5} characters)"
    (line,) = lines(text_log)
    long = f'path="{TRUNCATED}" exact={LONG[:-1]} pool="{of_pool}" kept.name="{TRUNCATED}"'
    assert line.endswith(f"INFO    {TRUNCATED} {long} after=end")


def test_a_long_value_or_event_is_truncated_in_json_and_the_object_says_so(json_log: io.StringIO) -> None:
    here.info(LONG, path=Path(LONG), exact=LONG[:-1], kept=Kept(LONG), several=[LONG])
    record = last_json(json_log)
    assert (record["event"], record["path"], record["exact"]) == (TRUNCATED, TRUNCATED, LONG[:-1])
    assert record["kept"] == {"name": TRUNCATED}
    assert len(str(record["several"])) < MOST_CHARACTERS + 40


@pytest.mark.parametrize("form", Format)
def test_a_long_line_of_a_stack_is_truncated(form: Format) -> None:
    stream = io.StringIO()
    log.configure(form=form, stream=stream)
    here.unexpected("call failed unexpectedly", RuntimeError(LONG * 9))
    assert f"...(truncated, {9 * len(LONG) + len('RuntimeError: ')} characters)" in stream.getvalue()
    assert len(stream.getvalue()) < 2 * MOST_CHARACTERS


def test_lines_of_a_call_have_its_request_and_rpc(json_log: io.StringIO) -> None:
    with call_context.entered(call_context.CallContext(rpc="CreateVolume", request_id="ab12")):
        here.info("inside")
    inside = last_json(json_log)
    here.info("outside")
    assert (inside["request_id"], inside["rpc"]) == ("ab12", "CreateVolume")
    assert not log.RESERVED & last_json(json_log).keys() - {"time", "level", "event", "logger"}


def test_lines_of_background_work_have_its_name_and_no_request(json_log: io.StringIO) -> None:
    with call_context.background("qos_sync"):
        here.info("inside")
    inside = last_json(json_log)
    assert inside["task"] == "qos_sync"
    assert not {"request_id", "rpc"} & inside.keys()


@pytest.mark.parametrize("name", sorted(log.RESERVED - {"event"}))
@pytest.mark.parametrize("form", Format)
def test_a_field_never_replaces_what_belongs_to_the_line(form: Format, name: str) -> None:
    stream = io.StringIO()
    log.configure(form=form, stream=stream)
    with call_context.entered(call_context.CallContext(rpc="CreateVolume", request_id="ab12")):
        here.info("volume created", **{name: "forged"})
    (line,) = lines(stream)
    assert line.count("forged") == 1
    assert (f"field_{name}=forged" if form is Format.TEXT else f'"field_{name}": "forged"') in line


def log_calls() -> Iterator[tuple[Path, ast.Call]]:
    """Every call of the driver that writes to the log."""
    for path in sorted(Path(csi_powerflex.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and "pb" not in path.parts:
                of = node.func.value
                if node.func.attr in LEVELS and isinstance(of, ast.Name) and of.id == "log":
                    yield path, node


def test_no_call_gives_a_field_a_reserved_name() -> None:
    calls = list(log_calls())
    assert len(calls) > 60
    found = [
        f"{path.name}:{call.lineno} {keyword.arg}"
        for path, call in calls
        for keyword in call.keywords
        if keyword.arg in log.RESERVED
    ]
    assert found == []


@dataclass(frozen=True)
class Limits:
    iops: int
    bandwidth: int


@dataclass(frozen=True)
class Mapped:
    host: str
    limits: Limits
    pool: Pool


def test_a_dataclass_is_written_by_its_fields_unless_it_has_a_text(text_log: io.StringIO) -> None:
    here.info("mapped", limits=Limits(100, 0), pool=Pool("a"), mapping=Mapped("n1", Limits(1, 2), Pool("b")))
    assert lines(text_log)[0].endswith(
        'mapped limits.iops=100 limits.bandwidth=0 pool="pool a" mapping.host=n1 mapping.limits.iops=1 '
        'mapping.limits.bandwidth=2 mapping.pool="pool b"'
    )


def test_a_dataclass_is_an_object_in_json_unless_it_has_a_text(json_log: io.StringIO) -> None:
    here.info("mapped", mapping=Mapped("n1", Limits(1, 2), Pool("b")), kind=Mapped)
    record = last_json(json_log)
    assert record["mapping"] == {"host": "n1", "limits": {"iops": 1, "bandwidth": 2}, "pool": "pool b"}
    assert "Mapped" in str(record["kind"])


def test_a_signal_turns_debug_lines_on_and_off_again() -> None:
    stream = io.StringIO()
    before = signal.getsignal(signal.SIGUSR1)
    log.configure(stream=stream)
    try:
        log.toggle_debug_by_signal()
        for text in ("one", "two", "three"):
            here.debug(text)
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    events = [line[33:] for line in lines(stream)]
    changed = "log level changed log_level="
    assert events == [f"{changed}debug", "two", f"{changed}info", f"{changed}debug"]


def fail() -> None:
    raise RuntimeError("first line\n2026-01-01T00:00:00.000Z INFO    volume removed\x1b[2J")


def test_an_unexpected_error_has_its_stack_indented_below_the_event(text_log: io.StringIO) -> None:
    try:
        fail()
    except RuntimeError as error:
        here.unexpected("call failed unexpectedly", error, volume="v")
    event, *stack = lines(text_log)
    assert event.endswith("call failed unexpectedly volume=v")
    assert stack[0] == "    Traceback (most recent call last):"
    assert any("in fail" in line for line in stack)
    assert all(line.startswith("    ") and line.isprintable() for line in stack)


def test_an_unexpected_error_has_its_stack_in_the_json_object(json_log: io.StringIO) -> None:
    try:
        fail()
    except RuntimeError as error:
        here.unexpected("call failed unexpectedly", error)
    (line,) = lines(json_log)
    assert "in fail" in json.loads(line)["stack"]
    assert json.loads(line)["level"] == "error"


@pytest.mark.parametrize("form", Format)
def test_lines_below_the_level_are_not_written(form: Format) -> None:
    stream = io.StringIO()
    log.configure(level="warning", form=form, stream=stream)
    here.debug("one")
    here.info("two")
    assert not here.debugging
    assert stream.getvalue() == ""
    here.warning("three")
    here.error("four")
    assert len(lines(stream)) == 2


def test_debugging_says_whether_debug_lines_are_written(text_log: io.StringIO) -> None:
    assert here.debugging
    here.debug("seen")
    assert "DEBUG   seen" in text_log.getvalue()


def test_libraries_log_from_level_warning_on(text_log: io.StringIO) -> None:
    logging.getLogger("somebody.else").info("quiet")
    logging.getLogger("somebody.else").warning("loud: %s", "two\nlines")
    (line,) = lines(text_log)
    assert line.endswith(r"WARNING loud: two\nlines")


def test_configuring_again_replaces_the_stream(text_log: io.StringIO) -> None:
    other = io.StringIO()
    log.configure(stream=other)
    here.info("moved")
    assert text_log.getvalue() == ""
    assert len(lines(other)) == 1


def test_values_of_any_type_are_written(json_log: io.StringIO) -> None:
    here.info("odd", path=io.StringIO, items=[1, Kept("a")])
    assert last_json(json_log)["items"] == [1, {"name": "a"}]
    assert "StringIO" in str(last_json(json_log)["path"])
