"""What a source is: its size as Kubernetes writes it."""

from __future__ import annotations

import pytest

from csi_powerflex.operator.sources import size_of


@pytest.mark.parametrize(
    ("storage", "size"),
    [
        ("8589934592", 8 << 30),
        ("8Gi", 8 << 30),
        ("1.5k", 1500),
        ("1e3", 1000),
        ("1E", 10**18),
        ("1500m", 2),
        ("0", 0),
        ("-1", 0),
        ("8 GiB", 0),
        ("", 0),
    ],
)
def test_a_size_is_read_in_all_forms_and_rounded_up(storage: str, size: int) -> None:
    assert size_of({"storage": storage}) == size


def test_a_size_that_is_missing_is_not_known() -> None:
    assert (size_of({}), size_of(None)) == (0, 0)
