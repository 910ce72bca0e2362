"""As much of a Kubernetes API server as listing and watching two kinds of object takes, over real HTTP."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

PVS = "/api/v1/persistentvolumes"
CLASSES = "/apis/storage.k8s.io/v1/volumeattributesclasses"
DRIVER = "csi.powerflex.dev"


class ApiServer:
    """A context manager; objects are put and removed as a cluster's users would."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._version = 1
        self._objects: dict[str, dict[str, dict[str, Any]]] = {PVS: {}, CLASSES: {}}
        self._events: list[tuple[int, str, dict[str, Any]]] = []
        self._oldest = 0
        self.away = False
        self._ending = False
        handler = type("Handler", (_Handler,), {"cluster": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def put_volume(self, handle: str, class_name: str | None = None, **attributes: str) -> None:
        spec: dict[str, Any] = {
            "csi": {"driver": DRIVER, "volumeHandle": handle, "volumeAttributes": attributes}
        }
        if class_name is not None:
            spec["volumeAttributesClassName"] = class_name
        self._put(PVS, f"pv-{handle}", {"spec": spec})

    def put_class(self, name: str, **parameters: str) -> None:
        self._put(CLASSES, name, {"driverName": DRIVER, "parameters": parameters})

    def forget_history(self) -> None:
        """Compact: watches from before answer 410 Gone, those under way end."""
        with self._changed:
            self._version += 1
            self._oldest = self._version
            self._changed.notify_all()

    def _put(self, kind: str, name: str, content: dict[str, Any]) -> None:
        with self._changed:
            self._version += 1
            version = str(self._version)
            known = name in self._objects[kind]
            item = {"metadata": {"name": name, "resourceVersion": version}, **content}
            self._objects[kind][name] = item
            self._events.append(
                (self._version, kind, {"type": "MODIFIED" if known else "ADDED", "object": item})
            )
            self._changed.notify_all()

    def listed(self, kind: str) -> dict[str, Any]:
        with self._changed:
            items = list(self._objects[kind].values())
            return {"metadata": {"resourceVersion": str(self._version)}, "items": items}

    def events(self, kind: str, version: int) -> list[dict[str, Any]] | None:
        """Events after ``version``, waiting for one; None where the watch has to end."""
        with self._changed:
            began = self._oldest
            if version < began:
                return [{"type": "ERROR", "object": {"kind": "Status", "code": 410}}]
            while not self._ending and not self.away and self._oldest == began:
                found = [event for number, of, event in self._events if of == kind and number > version]
                if found:
                    return found
                self._changed.wait(0.05)
        return None


class _Handler(BaseHTTPRequestHandler):
    cluster: ApiServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if self.cluster.away:
            self.send_error(503)
        elif "watch" in query:
            self._watch(parts.path, int(query["resourceVersion"][0]))
        else:
            self._answer(json.dumps(self.cluster.listed(parts.path)).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _watch(self, kind: str, version: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while (events := self.cluster.events(kind, version)) is not None:
            for event in events:
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                self.wfile.flush()
                if event["type"] == "ERROR":
                    break
                version = int(event["object"]["metadata"]["resourceVersion"])
            else:
                continue
            break
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: tests look at outcomes."""
