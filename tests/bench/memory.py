"""Memory and time of the controller's lists on a full array: ``make bench-memory``.

The controller runs in a memory cgroup with the chart's limit, where this machine lets root make one. The
figures of docs/performance.md come from here.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import grpc

from csi_powerflex.pb import csi_pb2, csi_pb2_grpc
from tests import memory_group
from tests.bench.full_array import MOST_VOLUMES, served
from tests.controller_process import ControllerProcess

_CALLERS = 4


def _status(pid: int, key: str) -> int:
    """A line of the process's status, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) // 1024


def _whole_list(call: Callable[..., Any], request: type[Any]) -> float:
    """Read all pages of a list; the seconds that it took."""
    began, token = time.monotonic(), ""
    while True:
        answer = call(request(starting_token=token), timeout=300)
        token = answer.next_token
        if not token:
            return time.monotonic() - began


def _round(process: ControllerProcess, callers: int, name: str, request: type[Any]) -> None:
    began = process.cpu_seconds()
    with contextlib.ExitStack() as stack:
        calls = []
        for number in range(callers):
            channel = stack.enter_context(
                grpc.insecure_channel(f"unix:{process.socket}", options=[("bench.caller", number)])
            )
            calls.append(getattr(csi_pb2_grpc.ControllerStub(channel), name))
        with ThreadPoolExecutor(callers) as pool:
            took = max(pool.map(lambda call: _whole_list(call, request), calls))
    cpu, peak = process.cpu_seconds() - began, _status(process.pid, "VmHWM")
    load = os.getloadavg()[0]
    click.echo(f"| {name}, callers: {callers} | {took:.1f} s | {cpu:.1f} s | {peak} MiB | {load:.0f} |")


def _measure(folder: Path, volumes: int, group: Path | None) -> None:
    with served(folder / str(volumes), volumes) as systems:
        process = ControllerProcess(folder / f"controller{volumes}", systems)
        with process:
            if group is not None:
                (group / "cgroup.procs").write_text(str(process.pid))
            click.echo(f"\n| {volumes:,} volumes | the longest list | CPU of all | peak until then | load |")
            click.echo("|---|---|---|---|---|")
            click.echo(f"| at the start | | | {_status(process.pid, 'VmRSS')} MiB | |")
            for callers in (1, _CALLERS):
                _round(process, callers, "ListVolumes", csi_pb2.ListVolumesRequest)
            _round(process, _CALLERS, "ListSnapshots", csi_pb2.ListSnapshotsRequest)
            health = csi_pb2.ControllerListVolumeHealthRequest
            _round(process, _CALLERS, "ControllerListVolumeHealth", health)
            if not process.running:
                raise click.ClickException("the controller was killed")


@click.command()
def main() -> None:
    """Measure the controller's lists on this machine; takes some minutes."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, contextlib.ExitStack() as stack:
        group = None
        try:
            group = stack.enter_context(memory_group.limited(memory_group.of_chart("controller")))
        except OSError as error:
            click.echo(f"without a limit of memory: {error}")
        click.echo(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
        for volumes in (10_000, 40_000, MOST_VOLUMES):
            _measure(Path(folder), volumes, group)


if __name__ == "__main__":
    main()
