"""Background tasks of the controller go on after an unexpected error, and do what they missed."""

from __future__ import annotations

import queue
from pathlib import Path
from typing import cast

from csi_powerflex.config.systems import loader
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.config.watch import SystemsWatch
from csi_powerflex.errors import NotFound, Unavailable
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.notices import NoNotices
from csi_powerflex.operations.controller.qos import Qos
from csi_powerflex.operations.controller.qos_sync import QosSync

TIMEOUT_SECONDS = 60.0
HANDLES = [VolumeHandle("0123456789abcdef", f"{number:016x}") for number in range(3)]


class ScriptedQos:
    """Raises the given errors first, and then notes each volume."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.applied: queue.SimpleQueue[VolumeHandle] = queue.SimpleQueue()
        self.attempts: list[VolumeHandle] = []

    def apply_current(self, handle: VolumeHandle) -> None:
        self.attempts.append(handle)
        if self._errors:
            raise self._errors.pop(0)
        self.applied.put(handle)

    def next(self) -> VolumeHandle:
        return self.applied.get(timeout=TIMEOUT_SECONDS)


def synced(qos: ScriptedQos) -> QosSync:
    sync = QosSync(cast("Qos", qos), NoNotices(), retry_seconds=0.0, first_pause=0.0)
    for handle in HANDLES:
        sync.changed(handle)
    sync.start()
    return sync


def test_an_unexpected_error_with_one_volume_does_not_keep_the_others_from_their_limits() -> None:
    qos = ScriptedQos(TypeError("a defect"))
    sync = synced(qos)
    assert [qos.next(), qos.next(), qos.next()] == [HANDLES[1], HANDLES[2], HANDLES[0]]
    sync.stop()


def test_an_array_that_is_down_is_asked_again_and_the_others_do_not_wait() -> None:
    qos = ScriptedQos(Unavailable("down"), Unavailable("down"))
    sync = synced(qos)
    assert {qos.next(), qos.next(), qos.next()} == set(HANDLES)
    assert qos.attempts[:3] == HANDLES
    sync.stop()


def test_a_volume_that_was_deleted_is_not_tried_again() -> None:
    qos = ScriptedQos(NotFound("deleted"))
    sync = synced(qos)
    assert [qos.next(), qos.next()] == HANDLES[1:]
    assert qos.attempts == HANDLES
    sync.stop()


def test_a_change_of_the_configuration_that_failed_is_applied_again(tmp_path: Path) -> None:
    file = tmp_path / "systems.yaml"
    line = "systems: [{{name: {}, endpoints: ['https://gateway.example'], username: u, password: p}}]\n"
    file.write_text(line.format("one"), encoding="utf-8")
    applied: queue.SimpleQueue[str] = queue.SimpleQueue()
    errors = [RuntimeError("a defect")]

    def changed(systems: tuple[SystemSettings, ...], _touched: frozenset[str]) -> None:
        if errors:
            raise errors.pop()
        applied.put(systems[0].label)

    watch = SystemsWatch(file, loader.load(file), changed, seconds=0.01, first_pause=0.0)
    file.write_text(line.format("two"), encoding="utf-8")
    watch.start()
    try:
        assert applied.get(timeout=TIMEOUT_SECONDS) == "two"
        file.write_text(line.format("three"), encoding="utf-8")
        assert applied.get(timeout=TIMEOUT_SECONDS) == "three"
    finally:
        watch.stop()
