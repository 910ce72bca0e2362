"""Pages of lists that several callers share."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from csi_powerflex.csi.shared_pages import SharedPages
from csi_powerflex.operations.controller.pagination import KeptLists, Page, Paginator
from csi_powerflex.pb import csi_pb2

NUMBERS = [1, 2, 3, 4, 5, 6, 7, 8, 9]


class Maker:
    """Makes a message of a page, and counts how often."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, page: Page[int]) -> csi_pb2.ListVolumesResponse:
        self.made.append(page.key)
        entries = [
            csi_pb2.ListVolumesResponse.Entry(volume=csi_pb2.Volume(capacity_bytes=number)) for number in page
        ]
        return csi_pb2.ListVolumesResponse(entries=entries, next_token=page.next_token)


def sizes(answer: csi_pb2.ListVolumesResponse) -> list[int]:
    return [entry.volume.capacity_bytes for entry in answer.entries]


@pytest.fixture
def numbers() -> Paginator[int]:
    return Paginator(KeptLists(), "v")


def test_a_page_is_made_once_for_all_callers(numbers: Paginator[int]) -> None:
    pages, make = SharedPages(), Maker()
    for _ in range(3):
        first = pages.answer(numbers.page(lambda: NUMBERS, token="", max_entries=4), make)
        second = pages.answer(numbers.page(list, token=first.next_token, max_entries=4), make)
        last = pages.answer(numbers.page(list, token=second.next_token, max_entries=4), make)
        assert [*sizes(first), *sizes(second), *sizes(last)] == NUMBERS
        assert last.next_token == ""
    assert len(make.made) == 3


def test_callers_at_the_same_time_wait_for_the_one_that_makes_the_page(numbers: Paginator[int]) -> None:
    pages, make = SharedPages(), Maker()
    began, may_end = threading.Event(), threading.Event()
    page = numbers.page(lambda: NUMBERS, token="", max_entries=4)

    def slowly(page: Page[int]) -> csi_pb2.ListVolumesResponse:
        began.set()
        assert may_end.wait(30)
        return make(page)

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(pages.answer, page, slowly)
        assert began.wait(30)
        others = [pool.submit(pages.answer, page, make) for _ in range(3)]
        may_end.set()
        assert all(other.result(30) is first.result(30) for other in others)
    assert len(make.made) == 1


def test_pages_of_other_sizes_and_lists_are_other_pages(numbers: Paginator[int]) -> None:
    pages, make = SharedPages(), Maker()
    other = list(reversed(NUMBERS))
    assert sizes(pages.answer(numbers.page(lambda: NUMBERS, token="", max_entries=4), make)) == [1, 2, 3, 4]
    assert sizes(pages.answer(numbers.page(lambda: NUMBERS, token="", max_entries=2), make)) == [1, 2]
    assert sizes(pages.answer(numbers.page(lambda: other, token="", max_entries=2), make)) == [9, 8]
    assert len(set(make.made)) == 3


def test_a_list_of_one_page_is_not_shared(numbers: Paginator[int]) -> None:
    pages, make = SharedPages(), Maker()
    for _ in range(2):
        assert sizes(pages.answer(numbers.page(lambda: NUMBERS, token="", max_entries=0), make)) == NUMBERS
    assert make.made == ["", ""]


def test_only_the_last_pages_are_kept(numbers: Paginator[int]) -> None:
    pages, make = SharedPages(most=2), Maker()
    first = numbers.page(lambda: NUMBERS, token="", max_entries=2)
    second = numbers.page(list, token=first.next_token, max_entries=2)
    third = numbers.page(list, token=second.next_token, max_entries=2)
    for page in (first, second, first, third, first, second):
        pages.answer(page, make)
    assert make.made == [first.key, second.key, third.key, second.key]


def test_after_an_error_the_next_caller_makes_the_page(numbers: Paginator[int]) -> None:
    pages, make = SharedPages(), Maker()
    page = numbers.page(lambda: NUMBERS, token="", max_entries=4)

    def fail(_page: Page[int]) -> csi_pb2.ListVolumesResponse:
        raise RuntimeError("no message")

    with pytest.raises(RuntimeError, match="no message"):
        pages.answer(page, fail)
    assert sizes(pages.answer(page, make)) == [1, 2, 3, 4]
