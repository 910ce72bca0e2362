"""Lists that are returned page by page."""

from __future__ import annotations

import pytest

from csi_powerflex.errors import Expired
from csi_powerflex.operations.controller.pagination import KeptLists, LazyList, Paginator


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def pages(kept: KeptLists | None = None, kind: str = "v") -> Paginator[int]:
    return Paginator(kept or KeptLists(), kind)


def test_a_list_is_read_once_for_all_its_pages() -> None:
    reads = []

    def read() -> list[int]:
        reads.append(1)
        return list(range(10))

    numbers = pages()
    page = numbers.page(read, token="", max_entries=4)
    found = list(page)
    while page.next_token:
        page = numbers.page(read, token=page.next_token, max_entries=4)
        found += page
    assert (found, len(reads)) == (list(range(10)), 1)


def test_a_token_expires() -> None:
    clock = Clock()
    numbers = pages(KeptLists(clock))
    token = numbers.page(lambda: [1, 2], token="", max_entries=1).next_token
    clock.now = 299.0
    assert list(numbers.page(list, token=token, max_entries=0)) == [2]
    clock.now = 301.0
    with pytest.raises(Expired):
        numbers.page(list, token=token, max_entries=0)


def test_the_number_of_kept_items_is_limited_and_the_list_not_used_for_the_longest_time_is_dropped() -> None:
    numbers = pages(KeptLists(max_kept_items=12))
    tokens = [numbers.page(lambda: list(range(4)), token="", max_entries=1).next_token for _ in range(3)]
    numbers.page(list, token=tokens[0], max_entries=1)
    tokens.append(numbers.page(lambda: list(range(4)), token="", max_entries=1).next_token)
    with pytest.raises(Expired):
        numbers.page(list, token=tokens[1], max_entries=0)
    left = [tokens[0], *tokens[2:]]
    assert [len(list(numbers.page(list, token=token, max_entries=0))) for token in left] == [3, 3, 3]


def test_the_two_newest_lists_are_always_kept() -> None:
    numbers = pages(KeptLists(max_kept_items=10))
    tokens = [numbers.page(lambda: list(range(50)), token="", max_entries=1).next_token for _ in range(3)]
    for token in tokens[1:]:
        assert len(list(numbers.page(list, token=token, max_entries=0))) == 49
    with pytest.raises(Expired):
        numbers.page(list, token=tokens[0], max_entries=0)


def test_callers_with_the_same_list_share_it_and_need_no_more_memory() -> None:
    shared = list(range(50))
    numbers = pages(KeptLists(max_kept_items=10))
    tokens = {numbers.page(lambda: shared, token="", max_entries=1).next_token for _ in range(6)}
    assert len(tokens) == 1


def test_lists_of_one_source_are_kept_and_dropped_together() -> None:
    kept = KeptLists(max_kept_items=10)
    source = range(100)
    tokens = [
        pages(kept).page(lambda: LazyList(source, [(source, int)]), token="", max_entries=1).next_token
        for _ in range(3)
    ]
    assert len(set(tokens)) == 3
    for token in tokens:
        assert list(pages(kept).page(list, token=token, max_entries=1)) == [1]
    for _ in range(2):
        pages(kept).page(lambda: list(range(50)), token="", max_entries=1)
    for token in tokens:
        with pytest.raises(Expired):
            pages(kept).page(list, token=token, max_entries=1)


def test_a_token_of_another_kind_of_list_is_not_known() -> None:
    kept = KeptLists()
    token = pages(kept, "v").page(lambda: [1, 2], token="", max_entries=1).next_token
    with pytest.raises(Expired):
        pages(kept, "s").page(list, token=token, max_entries=1)


@pytest.mark.parametrize("token", ["x", ".", "a.b", "a.-1", "1." + "9" * 30])
def test_an_invalid_token_is_expired(token: str) -> None:
    with pytest.raises(Expired):
        pages().page(lambda: [1], token=token, max_entries=0)


def test_a_lazy_list_makes_only_the_items_that_are_read() -> None:
    made: list[int] = []

    def make(position: int) -> int:
        made.append(position)
        return position * 10

    items = LazyList(range(9), [([1, 3], make), ([], make), ([5, 7, 8], make)])
    assert (len(items), items[1:4], items[-1]) == (5, [30, 50, 70], 80)
    assert made == [3, 5, 7, 8]
    assert list(items) == [10, 30, 50, 70, 80]
    assert (len(LazyList(range(9), [])), LazyList(range(9), [])[0:3]) == (0, [])
    with pytest.raises(IndexError):
        items[5]
