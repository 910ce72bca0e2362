"""Copies whose process is killed at any step, and repeated."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from csi_powerflex.units import MIB
from tests.figures import Figures
from tests.mover.conftest import MakeLoop
from tests.mover.devices import SOME_DATA, disk

pytestmark = pytest.mark.needs("devices")

SIZE = 12 * MIB
NEVER = 1000


def test_a_copy_that_is_killed_at_each_step_is_complete_when_repeated(
    make_loop: MakeLoop, figures: Figures
) -> None:
    content = disk(SIZE, SOME_DATA)
    source = make_loop(SIZE)
    source.put(content, 0)

    def run(target: str, step: int) -> int:
        command = [sys.executable, "-m", "tests.mover.killed", str(source.path), target, str(step)]
        return subprocess.run(command, check=False).returncode

    killed = 0
    for step in range(1, NEVER):
        target = make_loop(SIZE)
        status = run(str(target.path), step)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        killed += 1
        assert run(str(target.path), NEVER) == 0
        assert target.content() == content
    assert killed > 10
    figures.add("copies killed and repeated", killed)


def test_a_copy_that_is_killed_again_and_again_still_ends(make_loop: MakeLoop) -> None:
    content = disk(SIZE, SOME_DATA)
    source, target = make_loop(SIZE), make_loop(SIZE)
    source.put(content, 0)
    for step in (3, 5, 8, NEVER):
        command = [sys.executable, "-m", "tests.mover.killed", str(source.path), str(target.path), str(step)]
        subprocess.run(command, check=False)
    assert target.content() == content
