"""As much of a Kubernetes API server as a client that reads, watches and creates needs, over real HTTPS."""

from __future__ import annotations

import copy
import datetime
import json
import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from csi_powerflex.kube.config import ClusterConfig
from tests.e2e.pki import Authority

PATIENCE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived. ``user`` is the name in the client's certificate."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    user: str | None

    @property
    def is_watch(self) -> bool:
        return "watch" in self.query


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that a test prescribes: ``chunks`` are sent one by one, ``declared`` is the Content-Length.

    An ``endless`` one goes on with spaces until the client breaks off.
    """

    status: int = 200
    chunks: tuple[bytes, ...] = ()
    declared: int | None = None
    location: str | None = None
    endless: bool = False

    @classmethod
    def of(cls, content: object, status: int = 200) -> Self:
        return cls(status, (json.dumps(content).encode(),))

    @classmethod
    def status_object(cls, code: int, message: str) -> Self:
        """An error as the API reports it."""
        return cls.of({"kind": "Status", "apiVersion": "v1", "code": code, "message": message}, code)


@dataclass(frozen=True, slots=True)
class Objects:
    """All objects of a cluster.

    Attributes:
        by_resource: each object by the path of its resource and its name.
        uids: how many UIDs were given.
    """

    by_resource: dict[str, dict[str, dict[str, Any]]]
    uids: int

    def comparable(self) -> str:
        """The objects as text, without Events and versions. Of times only whether they are there."""
        return json.dumps(
            {
                resource: {name: _comparable(item) for name, item in named.items()}
                for resource, named in self.by_resource.items()
                if named and not resource.endswith("/events")
            },
            sort_keys=True,
        )


def _comparable(item: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in item["metadata"].items() if key != "resourceVersion"}
    for key in ("creationTimestamp", "deletionTimestamp"):
        if key in metadata:
            metadata[key] = bool(metadata[key])
    return {**item, "metadata": metadata}


class ApiServer:
    """A context manager. Objects are put and removed as the users of a cluster would do it.

    Args:
        folder: where its certificates are made.
        name: the name or address that its certificate has.
    """

    def __init__(self, folder: Path, *, name: str = "127.0.0.1") -> None:
        authority = Authority(folder / "pki")
        self.authority = authority
        self.token: str | None = None
        """The token that requests must have; None to accept all."""
        self.down = False
        self.refused: dict[str, int] = {}
        """Resources whose requests are answered with this status."""
        self.requests: list[Request] = []
        self.connections = 0
        self._prescribed: list[Answer] = []
        self._changed = threading.Condition()
        self._version = 1
        self._uids = 0
        self._objects: dict[str, dict[str, dict[str, Any]]] = {}
        self._events: list[tuple[int, str, dict[str, Any]]] = []
        self._oldest = 0
        self._watches = 0
        self._finished = 0
        self._ended = 0
        self._broken = 0
        self._stopping = False
        handler = type("Handler", (_Handler,), {"cluster": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        pair = authority.issue("server", addresses=(name,))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(authority.certificate)
        self._server.context = context
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def config(self) -> ClusterConfig:
        return ClusterConfig(self.url, authority=self.authority.certificate)

    def kubeconfig(self, user: Mapping[str, object] | None = None, **cluster: object) -> dict[str, Any]:
        """The content of a kubeconfig file for this server."""
        authority = str(self.authority.certificate)
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [
                {"name": "c", "cluster": {"server": self.url, "certificate-authority": authority, **cluster}}
            ],
            "users": [{"name": "u", "user": dict(user or {})}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    # --- what a test does to the cluster ---------------------------------------------------------------

    def put(self, resource: str, name: str, content: Mapping[str, Any] | None = None) -> None:
        """Add an object, or replace the one of that name. ``content`` may give more of its metadata."""
        with self._changed:
            before = self._objects.setdefault(resource, {}).get(name)
            self._uids += before is None
            uid = before["metadata"]["uid"] if before else f"uid-{self._uids}"
            given = (content or {}).get("metadata", {})
            metadata = {"name": name, "uid": uid, **given, "resourceVersion": self._next_version()}
            self._objects[resource][name] = item = {**(content or {}), "metadata": metadata}
            self._add_event(resource, "MODIFIED" if before else "ADDED", item)

    def remove(self, resource: str, name: str) -> None:
        with self._changed:
            before = self._objects[resource].pop(name)
            metadata = {**before["metadata"], "resourceVersion": self._next_version()}
            self._add_event(resource, "DELETED", {**before, "metadata": metadata})

    def bookmark(self, resource: str) -> str:
        """Tell the watches of a resource the present version, which this returns."""
        with self._changed:
            version = self._next_version()
            self._add_event(resource, "BOOKMARK", {"metadata": {"resourceVersion": version}})
            return version

    def forget_history(self) -> None:
        """Compact: watches from an older version are answered with 410 Gone. Those under way end."""
        with self._changed:
            self._oldest = int(self._next_version())
            self._ended += 1
            self._wait_for_the_end()

    def end_watches(self) -> None:
        """End the watches under way in order, as the API server does after ``timeoutSeconds``."""
        with self._changed:
            self._ended += 1
            self._wait_for_the_end()

    def break_watches(self) -> None:
        """Break the connections of the watches under way."""
        with self._changed:
            self._broken += 1
            self._wait_for_the_end()

    def wait_for_watches(self, many: int = 1) -> None:
        """Wait until so many watches are under way."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._watches == many, PATIENCE_SECONDS)

    def _wait_for_the_end(self) -> None:
        """Wait until the watches under way have ended. What changes later is for those that follow."""
        finished = self._finished + self._watches
        self._changed.notify_all()
        assert self._changed.wait_for(lambda: self._finished >= finished, PATIENCE_SECONDS)

    def prescribe(self, *answers: Answer) -> None:
        """Answer the next requests with these."""
        with self._changed:
            self._prescribed += answers

    def lists(self, resource: str) -> int:
        """How many times the first page of a resource was asked for."""
        with self._changed:
            return sum(
                request.path == resource and not request.is_watch and "continue" not in request.query
                for request in self.requests
            )

    def watched_from(self, resource: str) -> list[str]:
        """The versions from which watches of a resource began."""
        with self._changed:
            return [
                request.query["resourceVersion"]
                for request in self.requests
                if request.path == resource and request.is_watch
            ]

    # --- what the handler needs ------------------------------------------------------------------------

    def received(self, request: Request) -> Answer | None:
        """Note a request. Returns the prescribed answer, if there is one."""
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
            if self._prescribed:
                return self._prescribed.pop(0)
        if self.down:
            return Answer(503, (b"away",))
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            return Answer.status_object(401, "Unauthorized")
        for refused in (request.path, f"{request.method} {request.path}"):
            if refused in self.refused:
                return Answer.status_object(self.refused[refused], f"{request.path} is refused")
        return None

    def page(self, request: Request) -> dict[str, Any]:
        wanted = request.query.get("labelSelector", "")
        with self._changed:
            items = [item for item in self._objects.get(request.path, {}).values() if selected(item, wanted)]
            metadata = {"resourceVersion": str(self._version)}
        begin, many = int(request.query.get("continue", "0")), int(request.query["limit"])
        if begin + many < len(items):
            metadata["continue"] = str(begin + many)
        return {"kind": "List", "metadata": metadata, "items": items[begin : begin + many]}

    def single(self, request: Request) -> Answer:
        """One object, or 404."""
        resource, _, name = request.path.rpartition("/")
        with self._changed:
            item = self._objects.get(resource, {}).get(unquote(name))
        if item is None:
            return Answer.status_object(404, f'{resource.rpartition("/")[2]} "{unquote(name)}" not found')
        return Answer.of(item)

    def created(self, resource: str, content: dict[str, Any]) -> Answer:
        """Create an object, if the path has its namespace. An Event has the one of what it is about."""
        metadata = content["metadata"]
        namespace = metadata.get("namespace", "")
        of = namespace
        if "involvedObject" in content:
            of = content["involvedObject"].get("namespace") or "default"
        within = f"/namespaces/{namespace}/" in resource if namespace else "/namespaces/" not in resource
        if not within or of != namespace:
            return Answer.status_object(422, "does not match event.namespace")
        with self._changed:
            if metadata["name"] in self._objects.get(resource, {}):
                return Answer.status_object(409, f'"{metadata["name"]}" already exists')
        created = {"generation": 1, "creationTimestamp": self.time(), **metadata}
        self.put(resource, metadata["name"], {**content, "metadata": created})
        return Answer.of(content, 201)

    def patched(self, path: str, content: dict[str, Any]) -> Answer:
        """Change an object by a merge patch, if it has the version of the patch.

        As for a resource with the subresource ``status``, only a patch of that changes the status, and
        nothing else. An object that is being deleted ends with its last finalizer.
        """
        of_status = path.endswith("/status")
        resource, _, name = path.removesuffix("/status").rpartition("/")
        with self._changed:
            item = self._objects.get(resource, {}).get(unquote(name))
        if item is None:
            return Answer.status_object(404, f'"{unquote(name)}" not found')
        version = item["metadata"]["resourceVersion"]
        if content.get("metadata", {}).get("resourceVersion", version) != version:
            return Answer.status_object(409, "the object has been modified")
        if of_status:
            made = merged(item, {"status": content.get("status")})
        else:
            made = merged(item, {key: value for key, value in content.items() if key != "status"})
        if made.get("spec") != item.get("spec"):
            made["metadata"]["generation"] = item["metadata"].get("generation", 1) + 1
        self.put(resource, unquote(name), made)
        self._end_without_finalizers(resource, unquote(name))
        return Answer.of(made)

    def deleted(self, path: str, content: dict[str, Any]) -> Answer:
        """Delete an object, if it has the UID. One with finalizers only gets the time of its deletion."""
        resource, _, name = path.rpartition("/")
        with self._changed:
            item = self._objects.get(resource, {}).get(unquote(name))
        if item is None:
            return Answer.status_object(404, f'"{unquote(name)}" not found')
        uid = item["metadata"]["uid"]
        if content.get("preconditions", {}).get("uid", uid) != uid:
            return Answer.status_object(409, "the UID is another one")
        self.delete(resource, unquote(name))
        return Answer.of(item)

    def delete(self, resource: str, name: str) -> None:
        """Delete an object as a user does it."""
        with self._changed:
            item = self._objects[resource][name]
        metadata = {"deletionTimestamp": self.time(), **item["metadata"]}
        self.put(resource, name, {**item, "metadata": metadata})
        self._end_without_finalizers(resource, name)

    def _end_without_finalizers(self, resource: str, name: str) -> None:
        with self._changed:
            metadata = self._objects[resource][name]["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self.remove(resource, name)

    def time(self) -> str:
        """The present time of the cluster, as it writes times."""
        return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def objects(self, resource: str) -> list[dict[str, Any]]:
        """The objects of a resource, the oldest first."""
        with self._changed:
            return list(self._objects.get(resource, {}).values())

    def state(self) -> Objects:
        """All objects as they are, for ``restore``."""
        with self._changed:
            return Objects(copy.deepcopy(self._objects), self._uids)

    def restore(self, state: Objects) -> None:
        """Have the objects of ``state`` again. Versions go on, and watches are not told."""
        with self._changed:
            self._objects, self._uids = copy.deepcopy(state.by_resource), state.uids

    def events(self, resource: str, version: int) -> Iterator[dict[str, Any]]:
        """Events after ``version`` as they come.

        Raises:
            ConnectionAbortedError: the connection has to break.
        """
        with self._changed:
            marks = (self._ended, self._broken)
            if version < self._oldest:
                yield {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}
                return
            self._watches += 1
            self._changed.notify_all()
        try:
            while found := self._next_events(resource, version, marks):
                yield from (event for _, event in found)
                version, _ = found[-1]
        finally:
            with self._changed:
                self._watches -= 1
                self._finished += 1
                self._changed.notify_all()

    def _next_events(
        self, resource: str, version: int, marks: tuple[int, int]
    ) -> list[tuple[int, dict[str, Any]]]:
        """Wait for events. There are none if the watch has to end."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._after(resource, version) or self._stopping or (self._ended, self._broken) != marks
                )
            )
            found = self._after(resource, version)
            if not found and self._broken != marks[1]:
                raise ConnectionAbortedError
            return found

    def _after(self, resource: str, version: int) -> list[tuple[int, dict[str, Any]]]:
        return [(number, event) for number, of, event in self._events if of == resource and number > version]

    def _next_version(self) -> str:
        self._version += 1
        return str(self._version)

    def _add_event(self, resource: str, kind: str, item: dict[str, Any]) -> None:
        self._events.append((self._version, resource, {"type": kind, "object": item}))
        self._changed.notify_all()


def merged(item: Any, patch: Any) -> Any:
    """The item after a merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    made = dict(item) if isinstance(item, dict) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = merged(made.get(key), value)
    return made


def selected(item: Mapping[str, Any], selector: str) -> bool:
    """Whether an object has the labels. Known are key=value, key in (...), key notin (...), key and !key."""
    labels = item["metadata"].get("labels", {})
    return all(_holds(labels, condition) for condition in re.split(r",(?![^(]*\))", selector) if condition)


def _holds(labels: Mapping[str, str], condition: str) -> bool:
    match = re.fullmatch(r"(\S+) (in|notin) \((.*)\)", condition)
    if match:
        return (labels.get(match[1]) in match[3].split(",")) == (match[2] == "in")
    key, equals, value = condition.partition("=")
    if equals:
        return labels.get(key) == value
    return (key.removeprefix("!") in labels) != key.startswith("!")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        # In the connection's thread, so that a client that does not speak TLS holds up no other.
        with self.context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: clients that break off are a part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    cluster: ApiServer
    protocol_version = "HTTP/1.1"
    # Otherwise the body waits until the client has acknowledged the headers, which takes it 40 ms.
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.cluster.connections += 1

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        request = self._request(parts)
        prescribed = self.cluster.received(request)
        if prescribed is not None:
            self._send(prescribed)
        elif request.is_watch:
            self._watch(request)
        elif "limit" in request.query:
            self._send(Answer.of(self.cluster.page(request)))
        else:
            self._send(self.cluster.single(request))

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = self._request(urlsplit(self.path))
        self._send(self.cluster.received(request) or self.cluster.created(request.path, content))

    def do_DELETE(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = self._request(urlsplit(self.path))
        self._send(self.cluster.received(request) or self.cluster.deleted(request.path, content))

    def do_PATCH(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = self._request(urlsplit(self.path))
        self._send(self.cluster.received(request) or self.cluster.patched(request.path, content))

    def _request(self, parts: SplitResult) -> Request:
        query, headers = dict(parse_qsl(parts.query)), dict(self.headers.items())
        return Request(self.command, parts.path, query, headers, self._user())

    def _user(self) -> str | None:
        assert isinstance(self.connection, ssl.SSLSocket)
        certificate = self.connection.getpeercert() or {}
        subject: Any = certificate.get("subject", ())
        return next((value for part in subject for key, value in part if key == "commonName"), None)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        if answer.location is not None:
            self.send_header("Location", answer.location)
        length = sum(map(len, answer.chunks)) if answer.declared is None else answer.declared
        self.send_header("Content-Length", str(length))
        self.end_headers()
        for chunk in answer.chunks:
            self.wfile.write(chunk)
        if answer.declared is not None:
            self.close_connection = True
        while answer.endless:
            threading.Event().wait(0.01)
            self.wfile.write(b" ")

    def _watch(self, request: Request) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in self.cluster.events(request.path, int(request.query["resourceVersion"])):
            line = json.dumps(event).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: tests look at outcomes."""
