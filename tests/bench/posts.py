"""The processor time of one POST to a gateway, by the way it takes: ``make bench-requests``.

Each way sends the same POST over one TLS connection that is kept open. The server runs in its own process, so
only the client's time is counted. The ways take turns, so that other programs disturb all of them alike. The
figures of docs/performance.md come from here.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import multiprocessing
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import click
import requests
import requests.adapters
import urllib3

from csi_powerflex.config.secret import Secret
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.gateway.http import Http, Request
from csi_powerflex.simulator import certificates
from csi_powerflex.simulator.certificates import Certificates

_ROUNDS = 7
_REQUESTS = 1_000
_WARM_UP = 50
_TIMEOUT_SECONDS = 60.0
_MOST_BYTES = 1 << 20
_PATH = "/api/instances/Volume::7a3064dd00000001/action/addMappedSdc"
_BODY = b'{"guid": "602B6EFD-0C76-4C6B-9A52-27A5B6D1C4B0", "allowMultipleMappings": "FALSE"}'
_HEADERS = {
    "Authorization": "Bearer " + "a" * 800,
    "Accept": "application/json",
    "Content-Type": "application/json",
}
_COMPLETE = {**_HEADERS, "Accept-Encoding": "identity", "Content-Length": str(len(_BODY))}

Post = Callable[[], int]
"""Sends one POST, reads the answer, and returns its status."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Write nothing."""


def _serve(files: Certificates, port: Connection) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.server, files.key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    port.send(server.server_address[1])
    server.serve_forever()


@contextlib.contextmanager
def _served(files: Certificates) -> Iterator[int]:
    """The port of a server in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(files, theirs))
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _ways(files: Certificates, port: int, stack: contextlib.ExitStack) -> dict[str, Post]:
    """Each way, by what it is called in the table."""
    url, authority = f"https://127.0.0.1:{port}{_PATH}", str(files.authority)
    settings = SystemSettings(
        endpoints=(f"https://127.0.0.1:{port}",), username="admin", password=Secret("x"), ca_file=authority
    )
    driver = stack.enter_context(contextlib.closing(Http(settings)))
    session = stack.enter_context(requests.Session())
    session.trust_env = False
    session.headers.clear()
    adapter = requests.adapters.HTTPAdapter()
    stack.callback(adapter.close)
    context = ssl.create_default_context(cafile=authority)
    pool = stack.enter_context(urllib3.HTTPSConnectionPool("127.0.0.1", port, ssl_context=context))
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context)
    stack.callback(connection.close)

    def by_driver() -> int:
        request = Request("POST", url, _HEADERS, _BODY, repeatable=False, max_bytes=_MOST_BYTES)
        return driver.send(request).status

    def by_session() -> int:
        headers = {**_HEADERS, "Accept-Encoding": "identity"}
        with session.post(
            url, data=_BODY, headers=headers, verify=authority, timeout=_TIMEOUT_SECONDS, stream=True
        ) as response:
            response.raw.read()
            return response.status_code

    def by_adapter() -> int:
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url, prepared.body = "POST", url, _BODY
        prepared.headers = dict(_COMPLETE)  # type: ignore[assignment]  # as the driver does
        with adapter.send(prepared, stream=True, timeout=_TIMEOUT_SECONDS, verify=authority) as response:
            response.raw.read()
            return response.status_code

    def by_urllib3() -> int:
        return pool.request("POST", _PATH, body=_BODY, headers=_COMPLETE, timeout=_TIMEOUT_SECONDS).status

    def by_http_client() -> int:
        connection.request("POST", _PATH, body=_BODY, headers=_COMPLETE)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    return {
        "`requests.Session`": by_session,
        "the adapter of requests, as it is": by_adapter,
        "the driver (`gateway/http.py`)": by_driver,
        "urllib3": by_urllib3,
        "`http.client`": by_http_client,
    }


def _microseconds(post: Post, count: int) -> float:
    """The processor time of one of ``count`` requests."""
    began = time.process_time()
    for _ in range(count):
        status = post()
        if status != 200:
            raise AssertionError(f"the server answered {status}")
    return (time.process_time() - began) / count * 1e6


@click.command()
@click.option("--rounds", default=_ROUNDS, show_default=True, type=click.IntRange(1))
@click.option("--requests", "count", default=_REQUESTS, show_default=True, type=click.IntRange(1))
def main(rounds: int, count: int) -> None:
    """Print the processor time of one POST by each way."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        files = certificates.ensure(Path(folder))
        ways = _ways(files, stack.enter_context(_served(files)), stack)
        took: dict[str, list[float]] = {name: [] for name in ways}
        for post in ways.values():
            _microseconds(post, _WARM_UP)
        for _ in range(rounds):
            for name, post in ways.items():
                took[name].append(_microseconds(post, count))
    click.echo("| way of one POST | fastest | median |\n| --- | --- | --- |")
    for name, each in took.items():
        click.echo(f"| {name} | {min(each):.0f} µs | {statistics.median(each):.0f} µs |")


if __name__ == "__main__":
    main()
