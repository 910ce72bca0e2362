"""A full copy of 16 GiB with 1 GiB of data, compared with dd between the same two devices.

``make bench-mover`` makes two loop devices over sparse files, and prints the table of docs/performance.md. It
needs root, and 2 GiB of free space in the temporary folder.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from csi_powerflex.model.mover import read_outcome
from csi_powerflex.units import GIB, MIB
from tests.commands import output_of
from tests.mover.devices import Loop, loop

_SIZE = 16 * GIB
_PIECES, _PIECE = 64, 16 * MIB
_ROUNDS = 3


def _fill(source: Loop) -> None:
    """Write 1 GiB of random data, in pieces spread over the device."""
    numbers = random.Random(1)  # noqa: S311 - test data
    for number in range(_PIECES):
        source.put(numbers.randbytes(_PIECE), number * (_SIZE // _PIECES))


def _empty(target: Loop) -> None:
    output_of(["blkdiscard", target.path])
    output_of(["sync"])


def _copy(source: Loop, target: Loop, *options: str) -> int:
    command = [
        sys.executable, "-m", "csi_powerflex", "mover", "copy", f"--source={source.path}",
        "--source-id=bench", f"--target={target.path}", "--job=bench", *options,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    outcome = read_outcome(done.stdout.splitlines()[-1])
    if done.returncode:
        raise click.ClickException(outcome.message)
    return outcome.written


def _dd(source: Loop, target: Loop, *options: str) -> int:
    files = f"if={source.path}", f"of={target.path}"
    output_of(["dd", *files, "bs=4M", "iflag=direct", "oflag=direct", *options, "status=none"])
    return _SIZE


def main() -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory() as folder, loop(Path(folder, "source"), _SIZE) as source:
        _fill(source)
        with loop(Path(folder, "target"), _SIZE) as target:
            ways: dict[str, Callable[[], int]] = {
                "`dd bs=4M conv=fsync`, direct": lambda: _dd(source, target, "conv=fsync"),
                "`dd bs=4M conv=sparse,fsync`, direct": lambda: _dd(source, target, "conv=sparse,fsync"),
                "mover, `--target-state new`": lambda: _copy(source, target, "--target-state=new"),
                "mover, which reads the target first": lambda: _copy(source, target),
            }
            click.echo("| copy of 16 GiB with 1 GiB of data | seconds | MiB/s of the disk | written |")
            click.echo("| --- | --- | --- | --- |")
            for name, way in ways.items():
                seconds, written = [], 0
                for _ in range(_ROUNDS):
                    _empty(target)
                    began = time.perf_counter()
                    way_written = way()
                    seconds.append(time.perf_counter() - began)
                    written = target.file.stat().st_blocks * 512 if "dd" in name else way_written
                    _compare(source, target)
                middle = statistics.median(seconds)
                rate = _SIZE / MIB / middle
                click.echo(f"| {name} | {middle:.1f} | {rate:.0f} | {written / MIB:.0f} MiB |")


def _compare(source: Loop, target: Loop) -> None:
    output_of(["cmp", source.path, target.path])


if __name__ == "__main__":
    main()
