"""The demo's processes when Ctrl-C comes during their start."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from csi_powerflex.demo.processes import Process, ended


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_during_the_start_of_a_process_ends_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class InterruptedPopen(subprocess.Popen[bytes]):
        """Ctrl-C comes when the process runs but its handle is not stored yet."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", InterruptedPopen)
    process = Process("simulate", ["simulate", f"--state={tmp_path / 'state'}"], tmp_path / "log")

    def run() -> None:
        with ended(process):
            process.start(lambda: False)

    with pytest.raises(KeyboardInterrupt):
        run()
    (child,) = started
    assert child.poll() is not None
