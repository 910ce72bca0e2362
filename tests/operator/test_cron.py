"""The times of a schedule, also around changes of the clock."""

from __future__ import annotations

import datetime

import pytest

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.operator.schedules.cron import Timing


def utc(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "expected"),
    [
        ("0 3 * * *", "UTC", "2026-11-26T09:00", "2026-11-27T03:00"),
        ("0 3 * * *", "Europe/Berlin", "2026-11-26T09:00", "2026-11-27T02:00"),
        ("0 3 * * *", "Asia/Kolkata", "2026-11-26T09:00", "2026-11-26T21:30"),
        ("*/15 * * * *", "UTC", "2026-11-26T09:00", "2026-11-26T09:15"),
        ("0 0 29 2 *", "UTC", "2026-11-26T09:00", "2028-02-29T00:00"),
        # The clock goes from 2 to 3 o'clock on 2027-03-28 in Berlin.
        ("30 2 * * *", "Europe/Berlin", "2027-03-27T12:00", "2027-03-28T01:00"),
        # It goes from 3 back to 2 o'clock on 2026-10-25: the hour comes twice, the run once.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", "2026-10-25T00:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30", "2026-10-26T01:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10", "2026-10-26T01:30"),
    ],
)
def test_the_next_run_is_the_one_of_the_time_zone(
    schedule: str, zone: str, after: str, expected: str
) -> None:
    assert Timing(schedule, zone).after(utc(after)) == utc(expected)


@pytest.mark.parametrize(
    ("schedule", "after", "until", "expected"),
    [
        ("0 3 * * *", "2026-11-26T09:00", "2026-11-26T23:00", None),
        ("0 3 * * *", "2026-11-26T03:00", "2026-11-27T02:59", None),
        ("0 3 * * *", "2026-11-26T03:00", "2026-11-27T03:00", "2026-11-27T03:00"),
        ("0 3 * * *", "2026-11-01T00:00", "2026-11-27T09:00", "2026-11-27T03:00"),
        ("* * * * *", "2020-01-01T00:00", "2026-11-27T09:00", "2026-11-27T09:00"),
        ("0 0 29 2 *", "2020-01-01T00:00", "2026-11-27T09:00", "2024-02-29T00:00"),
        ("0 0 1 1 *", "2026-01-02T00:00", "2026-11-27T09:00", None),
        # 2100 has no 29 February, so there is none within nine years.
        ("0 0 29 2 *", "2080-01-01T00:00", "2103-12-31T00:00", "2096-02-29T00:00"),
        ("0 0 29 2 *", "1970-01-01T00:00", "2105-01-01T00:00", "2104-02-29T00:00"),
    ],
)
def test_the_last_run_between_two_times_is_found(
    schedule: str, after: str, until: str, expected: str | None
) -> None:
    found = Timing(schedule, "UTC").last(utc(after), utc(until))
    assert found == (utc(expected) if expected else None)


@pytest.mark.parametrize("schedule", ["", "* * * *", "60 * * * *", "@daily", "a b c d e", "* * 31 2 *"])
def test_a_schedule_that_cannot_be_read_is_refused(schedule: str) -> None:
    with pytest.raises(InvalidArgument, match="five fields of cron"):
        Timing(schedule, "UTC")


@pytest.mark.parametrize("zone", ["", "Nowhere", "../UTC", "/etc/localtime", "Europe"])
def test_a_time_zone_that_does_not_exist_is_refused(zone: str) -> None:
    with pytest.raises(InvalidArgument, match="timeZone"):
        Timing("* * * * *", zone)
