"""As much of an API server as Helm asks while it renders: its version, its APIs, and single objects."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

# The kinds that the chart makes, by the API that has them; with a * those that have no namespace.
_KINDS = {
    "v1": "Secret Service ServiceAccount",
    "apps/v1": "DaemonSet Deployment",
    "policy/v1": "PodDisruptionBudget",
    "networking.k8s.io/v1": "NetworkPolicy",
    "rbac.authorization.k8s.io/v1": "Role RoleBinding ClusterRole* ClusterRoleBinding*",
    "storage.k8s.io/v1": "CSIDriver* StorageClass* VolumeAttributesClass*",
}
_FURTHER = {
    "snapshot.storage.k8s.io/v1": "VolumeSnapshotClass*",
    "groupsnapshot.storage.k8s.io/v1": "VolumeGroupSnapshotClass*",
}


class Cluster:
    """Serves on loopback. ``objects`` are by the path at which the API has them."""

    def __init__(
        self, version: str, groups: Sequence[str] = (), objects: Mapping[str, dict[str, Any]] | None = None
    ) -> None:
        apis = _KINDS | {name: _FURTHER[name] for name in groups}
        self._answers: dict[str, Any] = {
            "/version": {"major": "1", "minor": version.partition(".")[2], "gitVersion": f"v{version}.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": [_group(name) for name in apis if "/" in name],
            },
            **{f"/api{'s' if '/' in name else ''}/{name}": _resources(name) for name in apis},
            **(objects or {}),
        }
        answers = self._answers

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = answers.get(self.path.partition("?")[0])
                missing = {
                    "kind": "Status",
                    "apiVersion": "v1",
                    "status": "Failure",
                    "reason": "NotFound",
                    "code": 404,
                }
                body = json.dumps(missing if found is None else found).encode()
                self.send_response(404 if found is None else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Cluster:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def write_kubeconfig(self, path: Path) -> None:
        """What makes Helm ask here."""
        url = f"http://127.0.0.1:{self._server.server_port}"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {}}],
            "current-context": "c",
        }
        path.write_text(json.dumps(content))


def _group(name: str) -> dict[str, Any]:
    group, _, version = name.partition("/")
    this = {"groupVersion": name, "version": version}
    return {"name": group, "versions": [this], "preferredVersion": this}


def _resources(name: str) -> dict[str, Any]:
    resources = [
        {
            "name": _plural(kind),
            "singularName": "",
            "namespaced": not kind.endswith("*"),
            "kind": kind.removesuffix("*"),
            "verbs": ["get", "list"],
        }
        for kind in (_KINDS | _FURTHER)[name].split()
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}


def _plural(kind: str) -> str:
    singular = kind.removesuffix("*").lower()
    if singular.endswith("y"):
        return f"{singular.removesuffix('y')}ies"
    return f"{singular}es" if singular.endswith("s") else f"{singular}s"
