"""Following the objects of a cluster through changes, breaks and a forgotten history."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest

from csi_powerflex import call_context
from csi_powerflex.errors import DeadlineExceeded, Unavailable
from csi_powerflex.kube import informer as informer_module
from csi_powerflex.kube.client import Client, KubeObject
from csi_powerflex.kube.informer import Informer
from tests.controller.eventually import eventually
from tests.kube.api_server import PATIENCE_SECONDS, Answer, ApiServer

WIDGETS = "/apis/test.example/v1/widgets"


class Widget(KubeObject, frozen=True, rename="camel"):
    size: int = 0


Change = tuple[str, int | None, int | None]
"""The name of a widget, and its sizes before and after a change; None where it does not exist."""


class Recorder:
    """Keeps the changes that an informer reports, for a test that waits for them."""

    def __init__(self) -> None:
        self._changes: queue.Queue[Change] = queue.Queue()
        self.errors: list[Exception] = []
        """What to raise at the next changes, which are not kept then."""

    def __call__(self, before: Widget | None, after: Widget | None) -> None:
        if self.errors:
            raise self.errors.pop(0)
        known = after or before
        assert known is not None
        sizes = [item.size if item is not None else None for item in (before, after)]
        self._changes.put((known.metadata.name, sizes[0], sizes[1]))

    def next(self, many: int = 1) -> list[Change]:
        """Wait for changes."""
        return [self._changes.get(timeout=PATIENCE_SECONDS) for _ in range(many)]

    @property
    def is_empty(self) -> bool:
        return self._changes.empty()


@pytest.fixture
def changes() -> Recorder:
    return Recorder()


@pytest.fixture
def informer(
    client: Client, changes: Recorder, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Informer[Widget]]:
    """Not started: a test first puts what exists before. It repeats without long pauses."""
    monkeypatch.setattr(informer_module, "_SHORT_WATCH_SECONDS", 0.0)
    made = Informer(client, WIDGETS, Widget, changes, first_pause=0.01)
    yield made
    made.close()


def put(cluster: ApiServer, name: str, size: int) -> None:
    cluster.put(WIDGETS, name, {"size": size})


# --- in the ordinary course ---------------------------------------------------------------------------


def test_what_exists_is_reported_before_it_is_synced(
    cluster: ApiServer, informer: Informer[Widget], changes: Recorder
) -> None:
    put(cluster, "a", 1)
    put(cluster, "b", 2)
    informer.start()
    informer.wait_until_synced()
    assert not changes.is_empty
    assert changes.next(2) == [("a", None, 1), ("b", None, 2)]
    assert changes.is_empty


def test_later_changes_are_reported_in_their_order(
    cluster: ApiServer, informer: Informer[Widget], changes: Recorder
) -> None:
    informer.start()
    informer.wait_until_synced()
    put(cluster, "a", 1)
    put(cluster, "a", 2)
    cluster.remove(WIDGETS, "a")
    put(cluster, "a", 3)
    assert changes.next(4) == [("a", None, 1), ("a", 1, 2), ("a", 2, None), ("a", None, 3)]


def test_a_watch_that_ends_is_resumed_without_a_list(
    cluster: ApiServer, informer: Informer[Widget], changes: Recorder
) -> None:
    put(cluster, "a", 1)
    informer.start()
    cluster.wait_for_watches()
    put(cluster, "a", 2)
    changes.next(2)
    cluster.end_watches()
    put(cluster, "a", 3)
    assert changes.next() == [("a", 2, 3)]
    assert cluster.lists(WIDGETS) == 1
    assert cluster.watched_from(WIDGETS) == ["2", "3"]


def test_a_bookmark_is_where_the_next_watch_begins(
    cluster: ApiServer, informer: Informer[Widget], changes: Recorder
) -> None:
    informer.start()
    cluster.wait_for_watches()
    version = cluster.bookmark(WIDGETS)
    cluster.end_watches()
    put(cluster, "a", 1)
    changes.next()
    assert cluster.watched_from(WIDGETS) == ["1", version]


def test_it_sees_only_what_is_relevant(client: Client, cluster: ApiServer, changes: Recorder) -> None:
    put(cluster, "small", 1)
    put(cluster, "large", 100)
    informer = Informer(client, WIDGETS, Widget, changes, relevant=lambda widget: widget.size >= 10)
    informer.start()
    assert changes.next() == [("large", None, 100)]
    put(cluster, "small", 50)
    put(cluster, "large", 2)
    put(cluster, "large", 3)
    cluster.remove(WIDGETS, "large")
    put(cluster, "last", 10)
    assert changes.next(3) == [("small", None, 50), ("large", 100, None), ("last", None, 10)]
    informer.close()


# --- when something breaks ----------------------------------------------------------------------------


def test_a_watch_that_breaks_is_resumed_without_a_list(
    cluster: ApiServer, informer: Informer[Widget], changes: Recorder
) -> None:
    informer.start()
    cluster.wait_for_watches()
    cluster.break_watches()
    put(cluster, "a", 1)
    assert changes.next() == [("a", None, 1)]
    assert cluster.lists(WIDGETS) == 1


def test_after_a_forgotten_history_a_list_gives_the_differences(
    cluster: ApiServer, informer: Informer[Widget], changes: Recorder
) -> None:
    for name in ("same", "changed", "removed", "replaced"):
        put(cluster, name, 1)
    informer.start()
    cluster.wait_for_watches()
    changes.next(4)
    cluster.down = True
    cluster.break_watches()
    put(cluster, "changed", 2)
    cluster.remove(WIDGETS, "removed")
    cluster.remove(WIDGETS, "replaced")
    put(cluster, "replaced", 3)
    put(cluster, "added", 4)
    cluster.forget_history()
    cluster.down = False
    assert sorted(changes.next(5), key=str) == [
        ("added", None, 4),
        ("changed", 1, 2),
        ("removed", 1, None),
        ("replaced", 1, None),
        ("replaced", None, 3),
    ]
    cluster.wait_for_watches()
    assert changes.is_empty
    assert cluster.lists(WIDGETS) == 2


def test_after_several_failures_it_lists_again(
    cluster: ApiServer, informer: Informer[Widget], changes: Recorder
) -> None:
    informer.start()
    cluster.wait_for_watches()
    cluster.prescribe(*[Answer.status_object(504, "Too large resource version")] * 5)
    cluster.break_watches()
    cluster.wait_for_watches()
    assert cluster.lists(WIDGETS) == 2
    put(cluster, "a", 1)
    assert changes.next() == [("a", None, 1)]


def test_before_the_first_list_a_call_waits_and_then_says_why(
    cluster: ApiServer, informer: Informer[Widget], changes: Recorder
) -> None:
    cluster.down = True
    put(cluster, "a", 1)
    informer.start()
    while cluster.lists(WIDGETS) < 2:
        with pytest.raises(Unavailable, match="the Kubernetes API has not listed its widgets yet: "):
            informer.wait_until_synced(0.05)
    with pytest.raises(Unavailable, match="answered 503"):
        informer.wait_until_synced(0.05)
    cluster.down = False
    informer.wait_until_synced()
    assert changes.next() == [("a", None, 1)]


def test_only_some_calls_wait_for_the_first_list_and_the_others_fail_at_once(
    informer: Informer[Widget],
) -> None:
    waiting = [threading.Thread(target=wait_for_nothing, args=(informer,)) for _ in range(8)]
    for thread in waiting:
        thread.start()
    eventually(lambda: informer._waiting._value == 0)
    for _ in range(100):
        with pytest.raises(Unavailable, match="has not listed its widgets yet"):
            informer.wait_until_synced(60.0)
    assert all(thread.is_alive() for thread in waiting)
    informer.start()
    for thread in waiting:
        thread.join()


def wait_for_nothing(informer: Informer[Widget]) -> None:
    informer.wait_until_synced(60.0)


def test_a_call_waits_no_longer_than_its_deadline(informer: Informer[Widget]) -> None:
    with call_context.background("test", 0.05), pytest.raises(Unavailable, match="widgets yet: no answer"):
        informer.wait_until_synced()
    with call_context.background("test", -1.0), pytest.raises(DeadlineExceeded):
        informer.wait_until_synced()


def test_once_synced_a_call_needs_no_time(cluster: ApiServer, informer: Informer[Widget]) -> None:
    informer.start()
    informer.wait_until_synced()
    with call_context.background("test", -1.0):
        informer.wait_until_synced()


def test_a_change_is_reported_again_after_an_unexpected_error(
    cluster: ApiServer, informer: Informer[Widget], changes: Recorder
) -> None:
    put(cluster, "a", 1)
    changes.errors = [ValueError("unexpected")]
    with pytest.raises(ValueError, match="unexpected"):
        informer.step()
    informer.start()
    assert changes.next() == [("a", None, 1)]


def test_pauses_grow_while_the_api_is_down_and_the_log_says_it_once(
    cluster: ApiServer, informer: Informer[Widget], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="csi_powerflex.kube")
    cluster.down = True
    pauses = [informer.step() for _ in range(14)]
    assert all(0.005 * 2**number <= pauses[number] <= 0.01 * 2**number for number in range(11))
    assert all(15.0 <= pause <= 30.0 for pause in pauses[12:])
    assert [record.message for record in caplog.records] == ["Kubernetes API request failed"]
    cluster.down = False
    informer.start()
    cluster.wait_for_watches()
    assert [record.message for record in caplog.records][1:] == ["Kubernetes API works again"]


def test_a_watch_that_ends_at_once_is_repeated_with_pauses(
    cluster: ApiServer, client: Client, changes: Recorder
) -> None:
    empty = Answer.of({"metadata": {"resourceVersion": "1"}, "items": []})
    cluster.prescribe(empty, Answer(), Answer(), Answer())
    informer = Informer(client, WIDGETS, Widget, changes, first_pause=1.0)
    pauses = [informer.step() for _ in range(3)]
    assert all(0.5 * 2**number <= pause <= 2**number for number, pause in enumerate(pauses))
    assert cluster.watched_from(WIDGETS) == ["1", "1", "1"]


def test_a_watch_whose_history_is_always_forgotten_is_repeated_with_pauses(
    cluster: ApiServer, client: Client, changes: Recorder
) -> None:
    empty = Answer.of({"metadata": {"resourceVersion": "1"}, "items": []})
    forgotten = Answer(
        chunks=(b'{"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "old"}}\n',)
    )
    cluster.prescribe(*[empty, forgotten] * 4)
    informer = Informer(client, WIDGETS, Widget, changes, first_pause=1.0)
    pauses = [informer.step() for _ in range(4)]
    assert all(0.5 * 2**number <= pause <= 2**number for number, pause in enumerate(pauses))
    assert cluster.lists(WIDGETS) == 4


# --- the end ------------------------------------------------------------------------------------------


def test_closing_ends_the_thread_although_its_watch_is_silent(
    cluster: ApiServer, informer: Informer[Widget]
) -> None:
    informer.start()
    cluster.wait_for_watches()
    assert "informer widgets" in [thread.name for thread in threading.enumerate()]
    informer.close()
    assert "informer widgets" not in [thread.name for thread in threading.enumerate()]


def test_it_can_be_closed_twice_and_before_it_starts(informer: Informer[Widget]) -> None:
    informer.close()
    informer.close()
