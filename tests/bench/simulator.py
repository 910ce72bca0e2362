"""How fast the simulator is, also with thousands of connections: ``make bench-simulator``.

It starts ``csi-powerflex simulate`` in its own process with many volumes, and sends requests over loopback
for about a minute. The figures of docs/simulator.md come from here. It ends with an error if a request
failed.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import resource
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import uvloop

from tests.bench import load
from tests.controller_process import cpu_seconds

_VOLUMES = 131_072
_CROWD = 3_000
_CROWD_LATENCY_SECONDS = 0.1
_SECONDS_EACH = 5.0
_CROWD_SECONDS = 10.0
_START_SECONDS = 60
_DESCRIPTORS = 2 * _CROWD


@dataclass(frozen=True, slots=True)
class _Served:
    """A running simulator; ``ready`` is the content of its ready file."""

    process: subprocess.Popen[bytes]
    ready: dict[str, Any]
    starting_seconds: float

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ready["caFile"])

    def resident_mib(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) // 1024


@contextmanager
def _serving(folder: Path) -> Iterator[_Served]:
    ready = folder / "ready.json"
    state, volumes = f"--state={folder / 'state'}", f"--volumes={_VOLUMES}"
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "csi_powerflex", "simulate", state, volumes, f"--ready-file={ready}"],
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait(ready.exists, process)
        took = time.perf_counter() - began
        yield _Served(process, json.loads(ready.read_text(encoding="utf-8")), took)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _wait(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not condition():
        if process.poll() is not None:
            raise click.ClickException(f"the simulator ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise click.ClickException(f"the simulator was not ready within {_START_SECONDS} seconds")
        time.sleep(0.01)


# --- one request at a time -----------------------------------------------------------------------


@contextmanager
def _talking(served: _Served) -> Iterator[http.client.HTTPSConnection]:
    port = urlsplit(served.ready["url"]).port
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=served.context, timeout=60)
    try:
        yield connection
    finally:
        connection.close()


def _asked(connection: http.client.HTTPConnection, method: str, path: str, **more: Any) -> bytes:
    connection.request(method, path, **more)
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise click.ClickException(f"{method} {path} answered {response.status}: {content[:200]!r}")
    return content


def _token(served: _Served) -> str:
    login = json.dumps({name: served.ready[name] for name in ("username", "password")})
    with _talking(served) as connection:
        answer = json.loads(_asked(connection, "POST", "/rest/auth/login", body=login))
    return str(answer["access_token"])


def _listed(served: _Served, token: str) -> tuple[float, bytes]:
    """The list of all volumes, and the seconds until its last byte."""
    headers = {"Authorization": f"Bearer {token}"}
    with _talking(served) as connection:
        began = time.perf_counter()
        content = _asked(connection, "GET", "/api/types/Volume/instances", headers=headers)
        return time.perf_counter() - began, content


def _inject(served: _Served, fault: dict[str, object]) -> None:
    url = urlsplit(served.ready["adminUrl"])
    connection = http.client.HTTPConnection("127.0.0.1", url.port, timeout=10)
    try:
        _asked(connection, "POST", f"{url.path}/faults", body=json.dumps(fault))
    finally:
        connection.close()


# --- load ----------------------------------------------------------------------------------------


def _small_read(served: _Served, token: str, volume_id: str) -> load.Target:
    port = urlsplit(served.ready["url"]).port
    if port is None:
        raise click.ClickException(f"no port in {served.ready['url']}")
    lines = (
        f"GET /api/instances/Volume::{volume_id} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Authorization: Bearer {token}",
        "\r\n",
    )
    return load.Target(port, served.context, "\r\n".join(lines).encode())


@dataclass(frozen=True, slots=True)
class _Load:
    """The result of one run, and the seconds of processor time that the simulator took for it."""

    tally: load.Tally
    cpu: float


def _row(what: str, measured: str) -> None:
    click.echo(f"| {what} | {measured} |")


async def _loaded(served: _Served, target: load.Target, connections: int, seconds: float) -> _Load:
    began = cpu_seconds(served.process.pid)
    tally = await load.run(target, connections, seconds)
    return _Load(tally, cpu_seconds(served.process.pid) - began)


def _report(done: _Load, what: str, more: str = "") -> None:
    tally = done.tally
    if not tally.waits:
        raise click.ClickException(f"{what}: no answer at all, {tally.errors} errors")
    middle, late = (f"{tally.wait_of(share) * 1000:,.1f} ms" for share in (0.5, 0.99))
    of_cpu = len(tally.waits) / done.cpu
    measured = (
        f"{tally.rate:,.0f} requests/s, {of_cpu:,.0f} in a second of its processor time, "
        f"{tally.errors} errors; median {middle}, 99 % within {late}"
    )
    _row(what, measured + more)


async def _reads(served: _Served, target: load.Target) -> int:
    """Small reads without pauses; returns how many failed."""
    errors = 0
    for connections in (1, 32, 1_000):
        done = await _loaded(served, target, connections, _SECONDS_EACH)
        _report(done, f"`GET` one volume, connections: {connections:,}")
        errors += done.tally.errors
    return errors


async def _crowd(served: _Served, target: load.Target) -> int:
    """Thousands of connections that wait for slow answers; returns how many requests failed."""
    running = asyncio.create_task(_loaded(served, target, _CROWD, _CROWD_SECONDS))
    peak_mib = served.resident_mib()
    while not running.done():
        await asyncio.wait([running], timeout=0.5)
        peak_mib = max(peak_mib, served.resident_mib())
    done = running.result()
    more = f"; opened in {done.tally.opening_seconds:.1f} s; {peak_mib} MiB resident"
    latency = f"{_CROWD_LATENCY_SECONDS * 1000:.0f} ms latency"
    _report(done, f"`GET` one volume, connections: {_CROWD:,}, each with {latency}", more)
    return done.tally.errors


def _measure(served: _Served) -> int:
    _row("what", "measured")
    click.echo("|---|---|")
    _row(
        f"start with {_VOLUMES:,} new volumes",
        f"{served.starting_seconds:.1f} s; {served.resident_mib()} MiB resident",
    )
    token = _token(served)
    seconds, content = _listed(served, token)
    volumes = json.loads(content)
    _row(f"list all {len(volumes):,} volumes ({len(content) / 1e6:.0f} MB of JSON)", f"{seconds:.1f} s")
    target = _small_read(served, token, volumes[_VOLUMES // 2]["id"])
    del volumes, content
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        errors = runner.run(_reads(served, target))
        _inject(served, {"kind": "latency", "seconds": _CROWD_LATENCY_SECONDS, "route": "Volume.get"})
        return errors + runner.run(_crowd(served, target))


def _allow_descriptors() -> None:
    """Raise the limit of open files of this process for its connections. The simulator raises its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < _DESCRIPTORS:
        raise click.ClickException(f"{_DESCRIPTORS} open files are needed, and the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, _DESCRIPTORS), hard))


@click.command()
def main() -> None:
    """Measure the simulator on this machine; takes about a minute."""
    load_average = f"load {os.getloadavg()[0]:.1f}"
    click.echo(
        f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, {load_average}, load generator included\n"
    )
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, _serving(Path(folder)) as served:
        _allow_descriptors()
        errors = _measure(served)
    if errors:
        raise click.ClickException(f"{errors} requests or connections failed")


if __name__ == "__main__":
    main()
