"""Kubernetes for scenarios: kubectl and helm for actions, the API for waiting."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import requests

from csi_powerflex.operator.api import API_VERSION
from csi_powerflex.operator.definitions import DEFINITIONS
from tests.e2e import built
from tests.e2e.controlplane import ControlPlane

Object = dict[str, Any]

_GROUPS = {
    "storageclasses": "apis/storage.k8s.io/v1",
    "csidrivers": "apis/storage.k8s.io/v1",
    "csinodes": "apis/storage.k8s.io/v1",
    "csistoragecapacities": "apis/storage.k8s.io/v1",
    "volumeattachments": "apis/storage.k8s.io/v1",
    "deployments": "apis/apps/v1",
    "daemonsets": "apis/apps/v1",
    "statefulsets": "apis/apps/v1",
    "jobs": "apis/batch/v1",
    "networkpolicies": "apis/networking.k8s.io/v1",
    "leases": "apis/coordination.k8s.io/v1",
    "servicemonitors": "apis/monitoring.coreos.com/v1",
    "prometheusrules": "apis/monitoring.coreos.com/v1",
    "volumesnapshots": "apis/snapshot.storage.k8s.io/v1",
    "volumesnapshotcontents": "apis/snapshot.storage.k8s.io/v1",
    "volumegroupsnapshots": "apis/groupsnapshot.storage.k8s.io/v1",
    "volumegroupsnapshotcontents": "apis/groupsnapshot.storage.k8s.io/v1",
    **dict.fromkeys((definition.plural for definition in DEFINITIONS), f"apis/{API_VERSION}"),
}
_CLUSTER_WIDE = {
    "csidrivers", "csinodes", "namespaces", "nodes", "persistentvolumes", "storageclasses",
    "volumeattachments", "volumesnapshotcontents", "volumegroupsnapshotcontents",
}  # fmt: skip


class Refused(Exception):
    """A command failed. The message is its output."""


class NotSo(AssertionError):
    """A condition was not met in time. The message shows the actual state."""


class Kubernetes:
    """The cluster's API. Objects are dictionaries. Kinds are plural and in lower case."""

    def __init__(self, plane: ControlPlane, authority: Path) -> None:
        self.kubeconfig = plane.kubeconfig
        self._url = plane.url
        self._session = requests.Session()
        self._session.trust_env = False  # an authority in the environment would replace that of the cluster
        self._session.verify = str(authority)
        self._session.cert = (str(plane.admin.certificate), str(plane.admin.key))

    # --- commands ----------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
        """Run kubectl; returns its output.

        Raises:
            Refused: it failed.
        """
        return self._run(["kubectl", *arguments], stdin=stdin, seconds=seconds)

    def helm(self, *arguments: str, seconds: float = 300) -> str:
        """Run helm; returns its output.

        Raises:
            Refused: it failed.
        """
        return self._run(["helm", *arguments], seconds=seconds)

    def shell(self, script: str, folder: Path, *, seconds: float = 300) -> str:
        """Run lines of a shell script in ``folder``, with kubectl and helm in PATH.

        Raises:
            Refused: one of them failed.
        """
        return self._run(["sh", "-euc", script], seconds=seconds, folder=folder)

    def _run(
        self, command: list[str], *, stdin: str | None = None, seconds: float, folder: Path | None = None
    ) -> str:
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{built.BIN}:{built.HELM.parent}:{os.environ['PATH']}",
            "HELM_CACHE_HOME": str(self.kubeconfig.parent / "helm"),
        }
        done = subprocess.run(
            command,
            input=stdin,
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode:
            raise Refused(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def apply(self, *objects: Object) -> None:
        """Create or change objects."""
        text = "\n---\n".join(json.dumps(each) for each in objects)
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def delete_all(self, *objects: Object) -> None:
        """Delete objects and wait until they are deleted."""
        text = "\n---\n".join(json.dumps(each) for each in objects)
        self.kubectl("delete", "--wait", "-f", "-", stdin=text)

    def run_in(self, namespace: str, pod: str, script: str, *, seconds: float = 120) -> str:
        """Run a shell script in a pod; returns its output without the last line end.

        Raises:
            Refused: it failed.
        """
        return self.kubectl(
            "exec", "--namespace", namespace, pod, "--", "sh", "-ec", script, seconds=seconds
        ).rstrip("\n")

    # --- the API -----------------------------------------------------------------------------------

    def _path(self, kind: str, namespace: str | None, name: str | None) -> str:
        parts = [self._url, _GROUPS.get(kind, "api/v1")]
        if namespace is not None and kind not in _CLUSTER_WIDE:
            parts += ["namespaces", namespace]
        parts.append(kind)
        if name is not None:
            parts.append(name)
        return "/".join(parts)

    def find(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """An object, or None."""
        reply = self._session.get(self._path(kind, namespace, name), timeout=10)
        if reply.status_code == 404:
            return None
        reply.raise_for_status()
        found: Object = reply.json()
        return found

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """An object that exists."""
        found = self.find(kind, name, namespace)
        if found is None:
            raise NotSo(f"there is no {kind} {name} in {namespace}")
        return found

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "") -> list[Object]:
        """All objects of a kind."""
        reply = self._session.get(
            self._path(kind, namespace, None), params={"labelSelector": labels}, timeout=20
        )
        reply.raise_for_status()
        items: list[Object] = reply.json()["items"]
        return items

    def watch(self, kind: str, namespace: str) -> Iterator[Object]:
        """Each object of a kind as it is and after each change, until the API server ends the connection."""
        path = self._path(kind, namespace, None)
        cert, verify = self._session.cert, self._session.verify
        with requests.get(
            path, params={"watch": "1"}, timeout=(10, 300), stream=True, cert=cert, verify=verify
        ) as reply:
            reply.raise_for_status()
            for line in reply.iter_lines(chunk_size=1):
                yield json.loads(line)["object"]

    def create(self, kind: str, body: Object, namespace: str | None = None) -> Object:
        """Create an object without a kubectl process, for measurements."""
        reply = self._session.post(self._path(kind, namespace, None), json=body, timeout=20)
        if not reply.ok:
            raise Refused(f"making {kind}: {reply.text}")
        made: Object = reply.json()
        return made

    def patch(self, kind: str, name: str, change: Object, namespace: str | None = None) -> Object:
        """Change an object by a JSON merge patch."""
        reply = self._session.patch(
            self._path(kind, namespace, name),
            data=json.dumps(change),
            headers={"Content-Type": "application/merge-patch+json"},
            timeout=20,
        )
        if not reply.ok:
            raise Refused(f"changing {kind} {name}: {reply.text}")
        changed: Object = reply.json()
        return changed

    def delete(self, kind: str, name: str, namespace: str | None = None, *, grace: int | None = None) -> None:
        """Request the deletion of an object. A missing one is not an error."""
        body = {} if grace is None else {"gracePeriodSeconds": grace}
        reply = self._session.delete(self._path(kind, namespace, name), json=body, timeout=20)
        if reply.status_code != 404:
            reply.raise_for_status()

    # --- waiting -----------------------------------------------------------------------------------

    def until(
        self,
        kind: str,
        name: str,
        namespace: str | None,
        true: Callable[[Object], bool],
        *,
        what: str,
        seconds: float = 120,
    ) -> Object:
        """Wait until ``true`` returns true for an object; returns the object.

        Raises:
            NotSo: it was not within ``seconds``; the message has the object's state and events.
        """
        deadline = time.monotonic() + seconds
        while True:
            found = self.find(kind, name, namespace)
            if found is not None and true(found):
                return found
            if time.monotonic() > deadline:
                state = json.dumps(found.get("status", {}), indent=1) if found else "it is not there"
                raise NotSo(
                    f"{kind} {name} was not {what} within {seconds:.0f} s: "
                    f"{state}\n{self.events_of(namespace)}"
                )
            time.sleep(0.1)

    def until_deleted(
        self, kind: str, names: Iterable[str], namespace: str | None, *, seconds: float = 120
    ) -> None:
        """Wait until none of the objects exists any more.

        Raises:
            NotSo: one was still there after ``seconds``.
        """
        deadline = time.monotonic() + seconds
        for name in names:
            while (found := self.find(kind, name, namespace)) is not None:
                if time.monotonic() > deadline:
                    held = {key: found["metadata"].get(key) for key in ("finalizers", "deletionTimestamp")}
                    told = self.events_of(namespace)
                    raise NotSo(f"{kind} {name} was still there after {seconds:.0f} s: {held}\n{told}")
                time.sleep(0.1)

    def events_of(self, namespace: str | None) -> str:
        """The newest events of a namespace, a line each."""
        events = self.list("events", namespace)[-25:]
        return "\n".join(
            f"  {event.get('involvedObject', {}).get('name')}: {event.get('reason')}: {event.get('message')}"
            for event in events
        )
