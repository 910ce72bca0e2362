"""The request log of a gateway and its bound."""

from __future__ import annotations

import json
import tracemalloc

from csi_powerflex.simulator.admin import Admin
from csi_powerflex.simulator.message import Request
from csi_powerflex.simulator.request_log import RequestLog
from tests.simulator.client import Array


def add(log: RequestLog, path: str = "/api/version") -> int:
    entry = log.add(started=0, method="GET", path=path, route="version", connection="127.0.0.1:1")
    return entry.number


def test_the_oldest_requests_are_forgotten_when_the_memory_is_used_up() -> None:
    log = RequestLog(100_000)
    numbers = [add(log) for _ in range(1000)]
    kept = [entry.number for entry in log.find()]
    assert 100 < len(kept) < 400
    assert kept == numbers[-len(kept) :]
    assert log.last == 1000


def test_a_long_path_takes_the_place_of_many_short_ones() -> None:
    log = RequestLog(100_000)
    for _ in range(100):
        add(log)
    add(log, "/api/" + "x" * 90_000)
    assert 1 < len(log.find()) < 50


def test_the_log_can_be_off_from_the_start_or_be_turned_off() -> None:
    log = RequestLog(0)
    assert add(log) == 1
    assert (log.find(), log.last) == ([], 1)
    log.limit(10_000)
    assert add(log) == 2
    assert len(log.find()) == 1
    log.limit(0)
    assert log.find() == []


def test_the_admin_port_turns_the_log_off(array: Array) -> None:
    port = Admin({"sim1": array.gateway})
    add(array.gateway.log)
    answer = port.handle(Request("POST", "/_sim/requests", body=json.dumps({"bytes": 0}).encode()))
    assert json.loads(answer.content()) == {"bytes": 0}
    add(array.gateway.log)
    listed = json.loads(port.handle(Request("GET", "/_sim/requests")).content())
    assert listed == {"last": 2, "requests": []}
    refused = port.handle(Request("POST", "/_sim/requests", body=json.dumps({"bytes": -1}).encode()))
    assert refused.status == 400


def fill(log: RequestLog, count: int) -> None:
    """Add requests with paths, connections and faults of many lengths."""
    for number in range(count):
        entry = log.add(
            started=float(number),
            method="GET",
            path=f"/api/instances/Volume::{number:016x}" + "/x" * (number % 50),
            route=f"Volume.{number % 20}",
            connection=f"127.0.0.1:{number % 1000}",
            faults=("latency",) * (number % 100),
        )
        entry.status, entry.seconds = 200, number / 7


def test_the_memory_of_the_log_is_bounded() -> None:
    """After many times as many requests as it can hold. The other log keeps the strings that both share."""
    limit = 400_000
    other, log = RequestLog(10 * limit), RequestLog(limit)
    fill(other, 1000)
    assert len(other.find()) == 1000
    used = []
    tracemalloc.start()
    try:
        for _ in range(8):
            fill(log, 1000)
            used.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert log.last == 8000
    assert 200 < len(log.find()) < 800
    assert limit / 2 < max(used) <= limit
