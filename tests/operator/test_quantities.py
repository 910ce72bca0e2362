"""Quantities of Kubernetes as bytes."""

from __future__ import annotations

import pytest

from csi_powerflex.operator.quantities import whole_bytes


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        ("0", 0),
        ("8589934592", 8 << 30),
        ("8Gi", 8 << 30),
        ("1.5Ki", 1536),
        ("10G", 10**10),
        ("12e6", 12_000_000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("1500m", 2),
        ("0.1", 1),
    ],
)
def test_a_quantity_is_rounded_up_to_whole_bytes(quantity: str, expected: int) -> None:
    assert whole_bytes(quantity) == expected


@pytest.mark.parametrize("quantity", ["", "Gi", "-1", "1gi", "1 Gi", "1Gi1", "٣", "1e999"])
def test_another_text_is_refused(quantity: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        whole_bytes(quantity)
