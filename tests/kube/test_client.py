"""Listing and watching through a real HTTPS server."""

from __future__ import annotations

import dataclasses
import json
import queue
import socket
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from csi_powerflex import call_context
from csi_powerflex.errors import (
    ConnectFailed,
    DeadlineExceeded,
    DriverError,
    Expired,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from csi_powerflex.kube import client as client_module, config as config_module
from csi_powerflex.kube.client import Client, KubeObject, WatchEvent
from csi_powerflex.kube.config import ClusterConfig
from tests.e2e.pki import Authority
from tests.kube.api_server import Answer, ApiServer

WIDGETS = "/apis/test.example/v1/widgets"


class Widget(KubeObject, frozen=True, rename="camel"):
    spec: dict[str, int]


def names(client: Client) -> list[str]:
    return [item.metadata.name for item in client.list(WIDGETS, Widget).items]


def watched(client: Client) -> list[WatchEvent[Widget]]:
    with client.watch(WIDGETS, Widget, "1", seconds=60) as watch:
        return list(watch)


def event(kind: str, item: object) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


# --- lists --------------------------------------------------------------------------------------------


def test_a_list_reads_all_pages_over_one_connection(
    cluster: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_PAGE_OBJECTS", 2)
    for number in range(5):
        cluster.put(WIDGETS, f"w{number}", {"spec": {"size": number}, "status": {"ignored": True}})
    listing = client.list(WIDGETS, Widget)
    assert [item.metadata.name for item in listing.items] == ["w0", "w1", "w2", "w3", "w4"]
    assert listing.items[3].spec == {"size": 3}
    assert listing.resource_version == "6"
    assert [request.query.get("continue") for request in cluster.requests] == [None, "2", "4"]
    assert cluster.connections == 1


def test_a_list_without_objects_is_empty(client: Client) -> None:
    assert client.list(WIDGETS, Widget).items == ()


def test_the_path_of_the_server_stands_before_that_of_the_resource(cluster: ApiServer) -> None:
    config = dataclasses.replace(cluster.config, server=f"{cluster.url}/k8s/clusters/one/")
    client = Client(config)
    client.list(WIDGETS, Widget)
    client.close()
    assert cluster.requests[0].path == f"/k8s/clusters/one{WIDGETS}"


def test_a_request_names_the_driver_and_what_it_accepts(cluster: ApiServer, client: Client) -> None:
    names(client)
    headers = cluster.requests[0].headers
    assert headers["User-Agent"].startswith("csi-powerflex/")
    assert headers["Accept"] == "application/json"
    assert "Authorization" not in headers


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (400, Unavailable, "answered 400: no way"),
        (401, Unauthenticated, "answered 401: no way; check the token"),
        (403, PermissionDenied, "answered 403: no way; allow list and watch"),
        (404, NotFound, "answered 404: no way; this version of Kubernetes"),
        (410, Expired, "answered 410: no way"),
        (429, Unavailable, "answered 429: no way"),
        (500, Unavailable, "answered 500: no way"),
    ],
)
def test_a_refusal_is_the_error_of_its_code_with_the_reason_of_the_api(
    cluster: ApiServer, client: Client, status: int, error: type[DriverError], words: str
) -> None:
    cluster.prescribe(Answer.status_object(status, "no way"))
    with pytest.raises(error, match=words):
        names(client)


@pytest.mark.parametrize("status", [400, 422])
def test_a_change_that_a_policy_refuses_is_refused_for_good(
    cluster: ApiServer, client: Client, status: int
) -> None:
    answer = Answer.status_object(status, "denied")
    cluster.prescribe(answer, answer, answer)
    with pytest.raises(PermissionDenied, match="denied; change what refuses it"):
        client.create(WIDGETS, {"metadata": {"name": "w"}})
    with pytest.raises(PermissionDenied, match="denied; change what refuses it"):
        client.patch(WIDGETS, "w", {})
    with pytest.raises(PermissionDenied, match="denied; change what refuses it"):
        client.delete(WIDGETS, "w", uid="u")


def test_a_refusal_that_is_no_status_object_has_no_reason(cluster: ApiServer, client: Client) -> None:
    cluster.prescribe(Answer(502, (b"<html>",)))
    with pytest.raises(Unavailable, match="answered 502: without a reason"):
        names(client)


def test_the_reason_of_a_refusal_is_cut_off(cluster: ApiServer, client: Client) -> None:
    cluster.prescribe(Answer.status_object(500, "x" * 10_000))
    with pytest.raises(Unavailable) as caught:
        names(client)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "content", [b"not JSON", b"[]", b'{"metadata": {}}', b'{"metadata": {}, "items": [{"spec": 5}]}', b"\xff"]
)
def test_an_answer_of_another_form_is_unavailable(cluster: ApiServer, client: Client, content: bytes) -> None:
    cluster.prescribe(Answer(200, (content,)))
    with pytest.raises(Unavailable, match="sent something unexpected"):
        names(client)


def test_an_answer_that_breaks_off_is_unavailable(cluster: ApiServer, client: Client) -> None:
    cluster.prescribe(Answer(200, (b'{"metadata": {}, "items": []}',), declared=1000))
    with pytest.raises(Unavailable, match="connection to the Kubernetes API broke"):
        names(client)


def test_a_page_may_not_be_larger_than_the_limit(
    cluster: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_MAX_PAGE_BYTES", 1000)
    cluster.prescribe(Answer(200, (b" " * 1001,)))
    with pytest.raises(Unavailable, match="more than 1000 bytes"):
        names(client)


def test_a_redirect_is_not_followed(cluster: ApiServer, client: Client) -> None:
    cluster.prescribe(Answer(302, location=f"{cluster.url}/elsewhere"))
    with pytest.raises(Unavailable, match="answered 302"):
        names(client)
    assert len(cluster.requests) == 1


# --- time ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [(200, DeadlineExceeded), (500, Unavailable)],
)
def test_an_answer_has_to_end_within_the_calls_time(
    cluster: ApiServer, client: Client, status: int, error: type[DriverError]
) -> None:
    cluster.prescribe(Answer(status, (b"{",), declared=1_000_000, endless=True))
    with call_context.background("test", 0.3), pytest.raises(error):
        names(client)


def test_a_server_that_says_nothing_exceeds_the_calls_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Client(ClusterConfig(f"https://127.0.0.1:{silent.getsockname()[1]}"))
        with call_context.background("test", 0.2), pytest.raises(DeadlineExceeded):
            names(client)


def test_without_time_left_nothing_is_asked(cluster: ApiServer, client: Client) -> None:
    with call_context.background("test", -1.0), pytest.raises(DeadlineExceeded):
        names(client)
    assert cluster.requests == []


# --- certificates and tokens --------------------------------------------------------------------------


def test_a_token_file_is_read_at_each_request(cluster: ApiServer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    client = Client(dataclasses.replace(cluster.config, token=file))
    cluster.token = "first"
    names(client)
    cluster.token = "second"
    with pytest.raises(Unauthenticated):
        names(client)
    file.write_text("second\n")
    names(client)
    file.unlink()
    with pytest.raises(FailedPrecondition, match="token cannot be read: No such file"):
        names(client)
    client.close()


@pytest.mark.parametrize("token", [b"two words", b"two\r\nlines", "ümlaut".encode()])
def test_what_cannot_be_a_token_is_refused_and_not_shown(cluster: ApiServer, token: bytes) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        Client(dataclasses.replace(cluster.config, token=token))
    assert "two" not in str(caught.value)
    assert "mlaut" not in str(caught.value)


def test_a_configuration_does_not_show_its_secrets() -> None:
    config = ClusterConfig("https://a", token=b"geheim", key=b"geheim")
    assert "geheim" not in repr(config)


def test_a_server_of_another_authority_is_refused(cluster: ApiServer, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    client = Client(dataclasses.replace(cluster.config, authority=other.certificate))
    with pytest.raises(ConnectFailed, match="does not have the authority that signed it"):
        names(client)
    client.close()


def test_a_server_that_the_systems_authorities_do_not_know_is_refused(cluster: ApiServer) -> None:
    client = Client(dataclasses.replace(cluster.config, authority=None))
    with pytest.raises(ConnectFailed, match="does not have the authority that signed it"):
        names(client)
    client.close()


def test_a_new_authority_counts_for_the_next_request(cluster: ApiServer, tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(Authority(tmp_path / "other").certificate.read_bytes())
    client = Client(dataclasses.replace(cluster.config, authority=file))
    with pytest.raises(ConnectFailed):
        names(client)
    file.write_bytes(cluster.authority.certificate.read_bytes())
    assert names(client) == []
    client.close()


def test_the_certificate_must_have_the_name_of_the_server(tmp_path: Path) -> None:
    with ApiServer(tmp_path, name="10.96.0.1") as cluster:
        client = Client(cluster.config)
        with pytest.raises(ConnectFailed, match=r"it is not for the address 127\.0\.0\.1"):
            names(client)
        client.close()
        named = Client(dataclasses.replace(cluster.config, server_name="10.96.0.1"))
        assert names(named) == []
        named.close()


@pytest.mark.parametrize("as_data", [False, True])
def test_a_client_certificate_says_who_asks(cluster: ApiServer, *, as_data: bool) -> None:
    pair = cluster.authority.issue("somebody")
    certificate, key = (pair.certificate, pair.key)
    config = dataclasses.replace(
        cluster.config,
        certificate=certificate.read_bytes() if as_data else certificate,
        key=key.read_bytes() if as_data else key,
    )
    client = Client(config)
    names(client)
    client.close()
    assert cluster.requests[0].user == "somebody"


def test_a_key_with_a_passphrase_is_refused_without_a_question(cluster: ApiServer, tmp_path: Path) -> None:
    pair = cluster.authority.issue("somebody")
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"geheim"),
        )
    )
    with pytest.raises(FailedPrecondition, match="certificate or key of the configuration cannot be used"):
        Client(dataclasses.replace(cluster.config, certificate=pair.certificate, key=locked))


@pytest.mark.parametrize("authority", [b"no PEM", "ümlaut".encode()])
def test_an_authority_that_is_no_certificate_is_refused(cluster: ApiServer, authority: bytes) -> None:
    with pytest.raises(FailedPrecondition, match="certificate or key of the configuration cannot be used"):
        Client(dataclasses.replace(cluster.config, authority=authority))


def test_an_authority_that_cannot_be_read_is_named(cluster: ApiServer, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match=r"missing.crt cannot be read: No such file"):
        Client(dataclasses.replace(cluster.config, authority=tmp_path / "missing.crt"))


def test_the_environment_names_no_proxy_for_it(
    cluster: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    assert names(client) == []


def test_a_server_that_does_not_listen_is_a_failed_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    client = Client(ClusterConfig(f"https://127.0.0.1:{port}"))
    with pytest.raises(ConnectFailed, match="no connection to the Kubernetes API"):
        names(client)


def test_an_ipv6_address_is_taken_as_an_address() -> None:
    client = Client(ClusterConfig("https://[::1]:1"))
    with pytest.raises(ConnectFailed, match="cannot connect: ") as caught:
        names(client)
    assert "resolve" not in str(caught.value)


def test_requests_that_fail_leave_no_connections_behind(cluster: ApiServer, client: Client) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        cluster.prescribe(Answer.status_object(503, "away"), Answer(200, (b"{",), declared=5))
        with pytest.raises(Unavailable):
            watched(client)
        with pytest.raises(Unavailable):
            names(client)
    assert names(client) == []
    # The server's ends of the connections are in this process, too.
    assert len(list(Path("/proc/self/fd").iterdir())) < before + 10


# --- watches ------------------------------------------------------------------------------------------


def test_a_watch_reports_each_change_and_ends_with_the_server(cluster: ApiServer, client: Client) -> None:
    item = {"metadata": {"name": "w", "resourceVersion": "5"}, "spec": {"size": 1}}
    removed = {"metadata": {"name": "w", "resourceVersion": "8"}, "spec": {"size": 1}}
    content = b"".join(
        [
            event("ADDED", item),
            b"\n",
            event("BOOKMARK", {"metadata": {"resourceVersion": "7"}}),
            event("DELETED", removed),
        ]
    )
    # In parts of three bytes, and with a last line that is not complete.
    parts = tuple(content[at : at + 3] for at in range(0, len(content), 3))
    cluster.prescribe(Answer(200, (*parts, b'{"type": "ADD')))
    first, second, third = watched(client)
    assert (first.resource_version, first.removed) == ("5", False)
    assert first.object is not None
    assert first.object.spec == {"size": 1}
    assert second == WatchEvent("7", None)
    assert (third.resource_version, third.removed) == ("8", True)
    query = cluster.requests[0].query
    assert query == {
        "watch": "true",
        "resourceVersion": "1",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "60",
    }


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        (event("ERROR", {"code": 410, "message": "too old"}), Expired, "answered 410: too old"),
        (event("ERROR", {"code": 500, "message": "etcd"}), Unavailable, "answered 500: etcd"),
        (event("RENAMED", {}), Unavailable, "unknown watch event: 'RENAMED'"),
        (event("ADDED", {"spec": 5}), Unavailable, "sent something unexpected"),
        (b"no JSON\n", Unavailable, "sent something unexpected"),
    ],
)
def test_a_watch_ends_with_the_error_of_its_last_event(
    cluster: ApiServer, client: Client, line: bytes, error: type[DriverError], words: str
) -> None:
    cluster.prescribe(Answer(200, (line,)))
    with pytest.raises(error, match=words):
        watched(client)


def test_a_watch_from_a_version_that_is_too_old_is_expired_at_once(
    cluster: ApiServer, client: Client
) -> None:
    cluster.prescribe(Answer.status_object(410, "too old"))
    with pytest.raises(Expired):
        watched(client)


def test_an_event_may_not_be_longer_than_the_limit(
    cluster: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_MAX_LINE_BYTES", 1000)
    cluster.prescribe(Answer(200, (b"x" * 500, b"y" * 501)))
    with pytest.raises(Unavailable, match="line of more than 1000 bytes"):
        watched(client)


def test_a_watch_whose_connection_breaks_is_unavailable(cluster: ApiServer, client: Client) -> None:
    cluster.put(WIDGETS, "w", {"spec": {}})
    with client.watch(WIDGETS, Widget, "1", seconds=60) as watch:
        events = iter(watch)
        next(events)
        cluster.break_watches()
        with pytest.raises(Unavailable, match="connection to the Kubernetes API broke"):
            next(events)


def test_another_thread_can_interrupt_a_watch(cluster: ApiServer, client: Client) -> None:
    begun: queue.Queue[client_module.Watch[Widget]] = queue.Queue()
    ended: queue.Queue[object] = queue.Queue()

    def follow() -> None:
        try:
            with client.watch(WIDGETS, Widget, "1", seconds=60) as watch:
                begun.put(watch)
                ended.put(list(watch))
        except DriverError as error:
            ended.put(error)

    thread = threading.Thread(target=follow)
    thread.start()
    watch = begun.get(timeout=15)
    watch.interrupt()
    assert ended.get(timeout=15) == []
    thread.join()
    # A second time it has no effect.
    watch.interrupt()


def test_a_connection_asks_whether_its_peer_is_still_there(cluster: ApiServer, client: Client) -> None:
    with client.watch(WIDGETS, Widget, "1", seconds=60):
        sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        (timer,) = (words[5] for words in sockets if int(words[2].rpartition(":")[2], 16) == cluster.port)
    assert timer.startswith("02:"), "the timer of this connection is not that of keepalive"


def test_the_service_account_of_a_pod_is_enough(cluster: ApiServer, tmp_path: Path) -> None:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(cluster.authority.certificate.read_bytes())
    (folder / "token").write_text("pod-token")
    cluster.token = "pod-token"
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(cluster.port)}
    client = Client(config_module.in_cluster(environment, folder))
    assert names(client) == []
    client.close()
