"""The sizes of volumes on the array for CSI's capacity ranges."""

import pytest
from hypothesis import given, strategies as st

from csi_powerflex import units
from csi_powerflex.errors import OutOfRange

granularities = st.sampled_from([1, units.MIB, units.GIB, 8 * units.GIB])
sizes = st.one_of(st.integers(1, 64 * units.GIB), st.integers(1, units.INT64_MAX))


@given(required=sizes | st.just(0), limit=sizes | st.just(0), granularity=granularities, default=sizes)
def test_a_size_is_in_the_range_or_the_range_has_no_possible_size(
    required: int, limit: int, granularity: int, default: int
) -> None:
    top = (limit or units.INT64_MAX) // granularity * granularity
    bottom = units.round_up(max(required, 1), granularity)
    if bottom > top:
        with pytest.raises(OutOfRange):
            units.size_within(required=required, limit=limit, granularity=granularity, default=default)
        return
    size = units.size_within(required=required, limit=limit, granularity=granularity, default=default)
    assert size % granularity == 0
    assert max(required, 1) <= size <= (limit or units.INT64_MAX)


@given(required=st.integers(1, 1024 * units.TIB), granularity=granularities)
def test_a_size_is_the_smallest_multiple_of_the_granularity(required: int, granularity: int) -> None:
    size = units.size_within(required=required, limit=0, granularity=granularity, default=units.GIB)
    assert size - required < granularity


def test_a_range_without_a_size_gets_the_default() -> None:
    assert units.size_within(required=0, limit=0, granularity=8, default=20) == 24


def test_a_limit_below_the_default_without_required_size_gives_the_largest_possible_size() -> None:
    assert units.size_within(required=0, limit=20, granularity=8, default=32) == 16


def test_a_limit_between_the_default_and_its_rounded_size_is_not_an_error() -> None:
    assert units.size_within(required=0, limit=23, granularity=8, default=20) == 16


@pytest.mark.parametrize(("required", "limit"), [(-1, 0), (0, -1), (-5, -5)])
def test_negative_capacities_are_out_of_range(required: int, limit: int) -> None:
    with pytest.raises(OutOfRange, match="cannot be negative"):
        units.size_within(required=required, limit=limit, granularity=8, default=8)


def test_a_limit_below_the_required_size_is_out_of_range() -> None:
    with pytest.raises(OutOfRange, match="limit of 9 bytes is below the required 10 bytes"):
        units.size_within(required=10, limit=9, granularity=1, default=8)


def test_the_refusal_names_granularity_and_limit() -> None:
    with pytest.raises(OutOfRange, match=r"allots 8 GiB at a time: 8 GiB is the least.*limit is 5 GiB"):
        units.size_within(
            required=units.GIB, limit=5 * units.GIB, granularity=8 * units.GIB, default=units.GIB
        )


def test_a_size_beyond_64_bits_is_out_of_range() -> None:
    with pytest.raises(OutOfRange):
        units.size_within(required=units.INT64_MAX, limit=0, granularity=units.GIB, default=units.GIB)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1536, "1536 bytes"),
        (3 * units.MIB, "3 MiB"),
        (1025 * units.GIB, "1025 GiB"),
        (2 * units.TIB, "2 TiB"),
    ],
)
def test_sizes_are_shown_exactly(size: int, text: str) -> None:
    assert units.readable(size) == text


@pytest.mark.parametrize(
    ("duration", "text"), [(0.25, "0.2 s"), (2.94, "2.9 s"), (9.97, "10 s"), (59.8, "60 s"), (60.3, "60 s")]
)
def test_a_duration_has_no_fractions_that_differ_from_call_to_call(duration: float, text: str) -> None:
    assert units.seconds(duration) == text


@pytest.mark.parametrize(
    ("duration", "text"),
    [(0, "some seconds"), (59, "10 seconds"), (61, "a minute"), (3599, "10 minutes"), (1e6, "a day")],
)
def test_a_long_duration_changes_its_text_only_a_few_times(duration: float, text: str) -> None:
    assert units.at_least(duration) == text
