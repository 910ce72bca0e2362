"""What a schedule keeps."""

from __future__ import annotations

import datetime

import pytest

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.operator.schedules.retention import age


@pytest.mark.parametrize(("text", "minutes"), [("90m", 90), ("2h", 120), ("1d", 1440), ("1w", 10080)])
def test_an_age_is_a_number_with_a_unit(text: str, minutes: int) -> None:
    assert age(text) == datetime.timedelta(minutes=minutes)


@pytest.mark.parametrize("text", ["14", "d", "-1d", "1.5d", "14 d", "14y"])
def test_an_age_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="give a number with m, h, d or w"):
        age(text)
