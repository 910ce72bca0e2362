"""Running tools that read hostile input: limits, and an end at any time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from csi_powerflex.errors import Unavailable
from csi_powerflex.host.run import CommandFailed, CommandTimedOut, Limits, ToolMissing, run_limited
from csi_powerflex.units import GIB, MIB

SH = "/bin/sh"
WIDE = Limits(memory=GIB, processor=60, file=MIB)


def test_the_output_and_the_exit_code_are_those_of_the_command() -> None:
    done = run_limited([SH, "-c", "echo out; echo err >&2; exit 3"], limits=WIDE, cap=30, accept=(0, 3))
    assert (done.code, done.stdout, done.stderr) == (3, "out\n", "err\n")
    with pytest.raises(CommandFailed, match="failed with code 3: err"):
        run_limited([SH, "-c", "echo err >&2; exit 3"], limits=WIDE, cap=30)


def test_the_kernel_limits_the_command() -> None:
    wanted = Limits(memory=512 * MIB, processor=17, file=2 * MIB)
    done = run_limited([SH, "-c", "ulimit -v; ulimit -t; ulimit -f; ulimit -c"], limits=wanted, cap=30)
    memory, processor, file, core = done.stdout.split()
    assert int(memory) == 512 * 1024
    assert int(processor) == 17
    assert int(file) in (2 * MIB // 512, 2 * MIB // 1024)
    assert core == "0"


def test_a_file_beyond_the_limit_ends_the_command(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed):
        run_limited(
            ["/bin/dd", "if=/dev/zero", f"of={tmp_path / 'file'}", "bs=1M", "count=3"], limits=WIDE, cap=30
        )
    assert (tmp_path / "file").stat().st_size <= MIB


def test_a_command_without_end_is_killed() -> None:
    with pytest.raises(CommandTimedOut, match=r"did not end within 0.2 s and was killed"):
        run_limited([SH, "-c", "sleep 1000"], limits=WIDE, cap=0.2)
    with pytest.raises(CommandTimedOut, match="and was killed"):
        run_limited([SH, "-c", "sleep 1000"], limits=WIDE, cap=0.7)


def test_an_error_meanwhile_kills_the_command_and_passes(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def fail() -> None:
        if pid.exists() and pid.read_text().strip():
            raise Unavailable("the process has to end")

    with pytest.raises(Unavailable, match="the process has to end"):
        run_limited([SH, "-c", f"echo $$ > {pid}; exec sleep 1000"], limits=WIDE, cap=60, meanwhile=fail)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csi_powerflex.host.run.tools.find", lambda _tool: None)
    with pytest.raises(ToolMissing, match="install the package qemu-utils"):
        run_limited(["qemu-img", "info"], limits=WIDE, cap=30)
