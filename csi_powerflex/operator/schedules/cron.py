"""The times of a schedule: five fields of cron in a time zone, by the package cronsim.

Around a change of the clock it does what Debian's cron does: a run at a fixed hour that the clock leaves out
is made up right after it, and one in an hour that comes twice is done once.
"""

from __future__ import annotations

import datetime
import itertools
import zoneinfo
from collections.abc import Iterator

from cronsim import CronSim, CronSimError

from csi_powerflex.errors import InvalidArgument

_FIELDS = 5
# How far back the last run is looked for, so that a schedule of each minute is not counted through for years.
_WINDOWS = tuple(
    datetime.timedelta(hours=hours) for hours in (1, 24, 24 * 8, 24 * 32, 24 * 367, 24 * 367 * 9)
)


class Timing:
    """When the runs of a schedule are due. Times are in UTC.

    Args:
        schedule: five fields of cron.
        zone: the name of a time zone.

    Raises:
        InvalidArgument: one of them is not usable.
    """

    def __init__(self, schedule: str, zone: str) -> None:
        self._schedule = schedule
        try:
            self._zone = zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise InvalidArgument(f"timeZone is {zone!r}; give a name such as Europe/Berlin or UTC") from None
        # CronSim would take a sixth field for seconds.
        if len(schedule.split()) > _FIELDS:
            raise _unusable(schedule, f"it has more than {_FIELDS} fields")
        try:
            CronSim(schedule, datetime.datetime.now(datetime.UTC))
        except CronSimError as error:
            raise _unusable(schedule, str(error)) from error

    def after(self, time: datetime.datetime) -> datetime.datetime | None:
        """The first run after a time; None if there is none within 50 years."""
        return next(self._runs(time), None)

    def last(self, after: datetime.datetime, until: datetime.datetime) -> datetime.datetime | None:
        """The last run after one time and not after another; None if there is none."""
        begins = (max(after, until - window) for window in _WINDOWS)
        found = (self._last_since(begin, until) for begin in begins)
        return next((run for run in found if run is not None), None)

    def _last_since(self, begin: datetime.datetime, until: datetime.datetime) -> datetime.datetime | None:
        found = None
        for run in itertools.takewhile(lambda run: run <= until, self._runs(begin)):
            found = run
        return found

    def _runs(self, after: datetime.datetime) -> Iterator[datetime.datetime]:
        times = CronSim(self._schedule, after.astimezone(self._zone))
        runs = (local.astimezone(datetime.UTC) for local in times)
        # In an hour that comes twice, a run of the first pass is before a time in the second.
        return (run for run in runs if run > after)


def _unusable(schedule: str, why: str) -> InvalidArgument:
    return InvalidArgument(f"schedule is {schedule!r}; give five fields of cron, such as '0 3 * * *': {why}")
