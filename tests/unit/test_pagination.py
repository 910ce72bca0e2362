"""Lists that are returned page by page."""

from __future__ import annotations

import pytest

from csi_powerflex.errors import Expired
from csi_powerflex.operations.controller.pagination import Paginator


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_list_is_read_once_for_all_its_pages() -> None:
    reads = []

    def read() -> list[int]:
        reads.append(1)
        return list(range(10))

    kept: Paginator[int] = Paginator()
    page = kept.page(read, token="", max_entries=4)
    found = list(page.items)
    while page.next_token:
        page = kept.page(read, token=page.next_token, max_entries=4)
        found += page.items
    assert (found, len(reads)) == (list(range(10)), 1)


def test_a_token_expires() -> None:
    clock = Clock()
    kept: Paginator[int] = Paginator(clock)
    token = kept.page(lambda: [1, 2], token="", max_entries=1).next_token
    clock.now = 299.0
    assert kept.page(list, token=token, max_entries=0).items == [2]
    clock.now = 301.0
    with pytest.raises(Expired):
        kept.page(list, token=token, max_entries=0)


def test_the_number_of_kept_items_is_limited_and_the_oldest_are_dropped() -> None:
    kept: Paginator[int] = Paginator(max_kept_items=10)
    tokens = [kept.page(lambda: list(range(4)), token="", max_entries=1).next_token for _ in range(3)]
    with pytest.raises(Expired):
        kept.page(list, token=tokens[0], max_entries=0)
    assert [len(kept.page(list, token=token, max_entries=0).items) for token in tokens[1:]] == [3, 3]


def test_the_newest_list_is_always_kept() -> None:
    kept: Paginator[int] = Paginator(max_kept_items=10)
    token = kept.page(lambda: list(range(50)), token="", max_entries=1).next_token
    assert len(kept.page(list, token=token, max_entries=0).items) == 49


@pytest.mark.parametrize("token", ["x", ".", "a.b", "a.-1", "1." + "9" * 30])
def test_an_invalid_token_is_expired(token: str) -> None:
    kept: Paginator[int] = Paginator()
    with pytest.raises(Expired):
        kept.page(lambda: [1], token=token, max_entries=0)
