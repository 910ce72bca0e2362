"""Downloads and uploads with a real HTTPS server."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from csi_powerflex.errors import InvalidArgument, Unavailable
from csi_powerflex.mover import web as transfers
from csi_powerflex.mover.disk import Disk
from csi_powerflex.mover.outcome import Refused, Stopped, Work
from csi_powerflex.mover.web import Checksum, Downloaded, Server
from tests.mover.web_server import (
    WebServer,
    broken_answer,
    chunked_answer,
    file_answer,
    open_ended_answer,
    status_answer,
    web_server,
)

CONTENT = bytes(range(256)) * 4096
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
LIMIT = 10 * len(CONTENT)


def download(
    server: Server, folder: Path, *, limit: int = LIMIT, checksum: str | None = None, work: Work | None = None
) -> Downloaded:
    wanted = Checksum.parse(checksum) if checksum else None
    return transfers.download(server, folder / "image", limit=limit, checksum=wanted, work=work or Work())


def test_a_file_is_downloaded_whole(web: WebServer, tmp_path: Path) -> None:
    assert download(web.serve("/image", CONTENT), tmp_path) == Downloaded(len(CONTENT), DIGEST)
    assert (tmp_path / "image").read_bytes() == CONTENT
    assert web.requests[0].headers["Accept-Encoding"] == "identity"
    assert "Authorization" not in web.requests[0].headers


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_checksum_is_compared(web: WebServer, tmp_path: Path, algorithm: str) -> None:
    server, right = web.serve("/image", CONTENT), hashlib.new(algorithm, CONTENT).hexdigest()
    download(server, tmp_path, checksum=f"{algorithm}:{right.upper()}")
    with pytest.raises(Refused, match=rf"has the {algorithm} checksum {right}, and .* was asked for"):
        download(server, tmp_path, checksum=f"{algorithm}:{'0' * len(right)}")


@pytest.mark.parametrize("text", ["", "md5:00", "sha256:12", f"sha256:{'g' * 64}", "0" * 64])
def test_an_unusable_checksum_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="has another form than sha256"):
        Checksum.parse(text)


def test_a_broken_connection_is_no_end(web: WebServer, tmp_path: Path) -> None:
    web.answers["/image"] = broken_answer(CONTENT[:1000], len(CONTENT))
    with pytest.raises(Unavailable, match="broke off after"):
        download(web.server("/image"), tmp_path)
    web.answers["/image"] = chunked_answer(CONTENT, whole=False)
    with pytest.raises(Unavailable, match="broke off after"):
        download(web.server("/image"), tmp_path)


def test_chunks_have_an_end(web: WebServer, tmp_path: Path) -> None:
    web.answers["/image"] = chunked_answer(CONTENT, whole=True)
    assert download(web.server("/image"), tmp_path).digest == DIGEST


def test_a_file_without_a_length_needs_a_checksum(web: WebServer, tmp_path: Path) -> None:
    web.answers["/image"] = open_ended_answer(CONTENT)
    with pytest.raises(Refused, match="does not say how long the file is"):
        download(web.server("/image"), tmp_path)
    assert download(web.server("/image"), tmp_path, checksum=DIGEST).size == len(CONTENT)


def test_the_size_is_bounded(web: WebServer, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"has at least 1 MiB, and at most 1000 bytes is accepted"):
        download(web.serve("/image", CONTENT), tmp_path, limit=1000)
    assert not (tmp_path / "image").exists()
    web.answers["/image"] = chunked_answer(CONTENT, whole=True)
    with pytest.raises(Refused, match="at most 1000 bytes is accepted"):
        download(web.server("/image"), tmp_path, limit=1000)


@pytest.mark.parametrize("length", ["-1", "1e6", "9" * 30])
def test_an_unusable_length_is_refused(web: WebServer, tmp_path: Path, length: str) -> None:
    web.answers["/image"] = lambda handler: handler.send(200, {"Content-Length": length}, b"")
    with pytest.raises(Unavailable, match=r"unusable length|failed|broke off"):
        download(web.server("/image"), tmp_path)


def test_a_file_in_another_encoding_is_refused(web: WebServer, tmp_path: Path) -> None:
    web.answers["/image"] = status_answer(200, {"Content-Encoding": "gzip"})
    with pytest.raises(Refused, match="with the encoding 'gzip', which was not asked for"):
        download(web.server("/image"), tmp_path)


def test_redirects_are_followed_without_credentials_to_another_server(web: WebServer, tmp_path: Path) -> None:
    with web_server(tmp_path / "tls") as other:
        other.serve("/image", CONTENT)
        web.answers["/first"] = status_answer(302, {"Location": "/second"})
        web.answers["/second"] = status_answer(307, {"Location": other.url("/image")})
        assert download(web.server("/first", "Bearer secret"), tmp_path).digest == DIGEST
        assert [request.headers.get("Authorization") for request in web.requests] == ["Bearer secret"] * 2
        assert "Authorization" not in other.requests[0].headers


def test_a_redirect_from_https_to_http_is_refused(web: WebServer, tmp_path: Path) -> None:
    with web_server(tmp_path / "tls", encrypted=False) as plain:
        plain.serve("/image", CONTENT)
        web.answers["/image"] = status_answer(302, {"Location": plain.url("/image")})
        with pytest.raises(Refused, match="redirects from HTTPS to HTTP"):
            download(web.server("/image"), tmp_path)
        assert plain.requests == []
        assert download(plain.server("/image"), tmp_path).digest == DIGEST


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/image", "https://", "//["])
def test_a_redirect_to_something_else_is_refused(web: WebServer, tmp_path: Path, location: str) -> None:
    web.answers["/image"] = status_answer(302, {"Location": location})
    with pytest.raises(Refused, match="redirects to something that is no URL of HTTP"):
        download(web.server("/image"), tmp_path)


def test_a_circle_of_redirects_ends(web: WebServer, tmp_path: Path) -> None:
    web.answers["/image"] = status_answer(302, {"Location": "/image"})
    with pytest.raises(Refused, match="redirects more than 5 times"):
        download(web.server("/image"), tmp_path)
    assert len(web.requests) == 6


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (404, Refused, "status 404; check the URL"),
        (206, Refused, "status 206"),
        (401, Refused, "are not accepted; renew them"),
        (403, Refused, "are not accepted; renew them"),
        (429, Unavailable, "try again later"),
        (503, Unavailable, "try again later"),
    ],
)
def test_a_status_is_told_in_words(
    web: WebServer, tmp_path: Path, status: int, error: type[Exception], words: str
) -> None:
    web.answers["/image"] = status_answer(status)
    with pytest.raises(error, match=words):
        download(web.server("/image"), tmp_path)


def test_the_certificate_is_verified(web: WebServer, tmp_path: Path) -> None:
    web.serve("/image", CONTENT)
    with pytest.raises(Unavailable, match="the certificate was not accepted"):
        download(Server(web.url("/image")), tmp_path)
    assert web.requests == []


def test_a_damaged_authority_is_told(web: WebServer, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="the file of certificate authorities is not usable"):
        download(Server(web.url("/image"), b"nothing"), tmp_path)


def test_a_server_that_is_down_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot connect: Connection refused"):
        download(Server("http://127.0.0.1:1/image"), tmp_path)


def test_no_proxy_and_no_netrc_is_used(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    download(web.serve("/image", CONTENT), tmp_path)
    assert "Authorization" not in web.requests[0].headers


@pytest.mark.parametrize(
    "url",
    [
        "",
        "image",
        "file:///etc/passwd",
        "https://",
        "https://host:port/",
        "https://h/a b",
        "https://hö/",
        "https://h/\n",
    ],
)
def test_an_unusable_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgument, match="the URL is not usable"):
        Server(url)


def test_a_user_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidArgument, match="has a user in it") as caught:
        Server("https://user:geheim@host/image")
    assert "geheim" not in str(caught.value)


def test_credentials_need_https() -> None:
    with pytest.raises(InvalidArgument, match="credentials are not sent to http://host/image"):
        Server("http://host/image", authorization="Bearer geheim")


def test_secrets_are_not_shown(web: WebServer, tmp_path: Path) -> None:
    server = Server(web.url("/image?signature=geheim"), web.authority.read_bytes(), "Bearer geheim")
    assert "geheim" not in repr(server)
    web.answers["/image"] = status_answer(403)
    with pytest.raises(Refused) as caught:
        download(server, tmp_path)
    assert "geheim" not in str(caught.value)
    assert web.requests[0].path.endswith("geheim")


def test_credentials_are_a_token_or_a_user_and_a_password() -> None:
    assert transfers.authorization_in(b"token\n", "file") == "Bearer token"
    basic = base64.b64encode("user:p:w ü".encode()).decode()
    assert transfers.authorization_in("user\np:w ü\n".encode(), "file") == f"Basic {basic}"
    for content in (b"", b"a b", b"a:b\nc", b"a\nb\nc", b"a\r\n\r\nb", b"\xff\0"):
        with pytest.raises(InvalidArgument, match="the credentials file file is not usable"):
            transfers.authorization_in(content, "file")


def test_a_download_stops_when_the_process_has_to_end(web: WebServer, tmp_path: Path) -> None:
    work = Work()
    work.stop.set()
    with pytest.raises(Stopped):
        download(web.serve("/image", CONTENT), tmp_path, work=work)


def test_a_folder_that_cannot_be_written_is_told(web: WebServer, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be written to"):
        download(web.serve("/image", CONTENT), tmp_path / "missing")


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_file_is_uploaded(web: WebServer, tmp_path: Path, status: int) -> None:
    (tmp_path / "file").write_bytes(CONTENT + b"end")
    web.answers["/up"] = status_answer(status)
    with Disk.file(tmp_path / "file") as disk:
        sent = transfers.upload(web.server("/up?signature=x", "Bearer secret"), disk, Work())
    assert web.requests[0].body == CONTENT + b"end"
    assert web.requests[0].method == "PUT"
    assert sent == Downloaded(len(CONTENT) + 3, f"sha256:{hashlib.sha256(CONTENT + b'end').hexdigest()}")


def test_a_refused_upload_is_told(web: WebServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    for status, error in ((302, Refused), (403, Refused), (507, Unavailable)):
        web.answers["/up"] = status_answer(status, {"Location": "/other"})
        with Disk.file(tmp_path / "file") as disk, pytest.raises(error):
            transfers.upload(web.server("/up"), disk, Work())
    assert {request.path for request in web.requests} == {"/up"}


def test_a_file_has_a_digest(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    assert transfers.digest_of(tmp_path / "file", None, Work()) == DIGEST
    with pytest.raises(Unavailable, match="cannot be read"):
        transfers.digest_of(tmp_path / "missing", None, Work())


def test_the_answers_of_this_file_are_what_they_say(web: WebServer, tmp_path: Path) -> None:
    web.answers["/image"] = file_answer(b"")
    assert download(web.server("/image"), tmp_path).size == 0
