"""A person who runs ``csi-powerflex`` by hand: in the controller's pod, or here with a kubeconfig."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

from tests.e2e import built
from tests.e2e.cluster import NAMESPACE, Cluster
from tests.e2e.kubernetes import Object

_ACCOUNT = "volume-operator"
_SNAPSHOTS = "snapshot.storage.k8s.io"
# What docs/volumes.md and docs/reverting.md say that the commands read and change.
_RULES: list[Object] = [
    {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["list", "get", "patch"]},
    {"apiGroups": [""], "resources": ["persistentvolumeclaims", "pods"], "verbs": ["list"]},
    {
        "apiGroups": ["storage.k8s.io"],
        "resources": ["volumeattachments", "volumeattributesclasses", "csinodes"],
        "verbs": ["list"],
    },
    {"apiGroups": [_SNAPSHOTS], "resources": ["volumesnapshotcontents"], "verbs": ["list"]},
]


class Operator:
    """Has the documented rights, and no others. ``folder`` is the working folder on the machine."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._kubernetes = cluster.kubernetes
        self._folder = folder
        for name, text in self._local(cluster.systems()).items():
            (folder / name).write_text(text)
        self._objects = _objects()
        self._kubernetes.apply(*self._objects)
        (folder / "kubeconfig").write_text(self._kubeconfig())

    def _local(self, files: dict[str, str]) -> dict[str, str]:
        """The files of the Secret as they are on this machine."""
        return files | {"systems.yaml": files["systems.yaml"].replace("/etc/powerflex", str(self._folder))}

    def _kubeconfig(self) -> str:
        config = json.loads(self._kubernetes.kubeconfig.read_text())
        token = self._kubernetes.kubectl("create", "token", _ACCOUNT, f"--namespace={NAMESPACE}").strip()
        config["users"] = [{"name": "e2e", "user": {"token": token}}]
        return json.dumps(config)

    def leave(self) -> None:
        """Delete the account."""
        self._kubernetes.delete_all(*self._objects)

    def in_pod(self, arguments: str) -> str:
        """Run ``csi-powerflex`` in the controller's pod, as the docs show it; returns its output.

        Raises:
            Refused: it failed.
        """
        return self._kubernetes.shell(f"{_function()}\npf {arguments}", self._folder)

    def apply_from_pod(self, arguments: str) -> None:
        """Run it in that pod, and apply the objects that it prints. Raises as ``in_pod``."""
        self._kubernetes.kubectl("apply", "--filename=-", stdin=self.in_pod(arguments))

    def on_machine(self, arguments: str) -> str:
        """Run ``csi-powerflex`` here; returns its output.

        Raises:
            Refused: it failed.
        """
        words = shlex.split(arguments)
        options = ["--systems=systems.yaml", "--cluster-id=e2e0", "--kubeconfig=kubeconfig"]
        command = shlex.join([sys.executable, "-m", "csi_powerflex", *words, *options])
        return self._kubernetes.shell(f"PYTHONPATH={built.ROOT} {command}", self._folder)


def _function() -> str:
    """The shell function of docs/volumes.md."""
    text = (built.ROOT / "docs" / "volumes.md").read_text()
    (found,) = re.findall(r"^\$ (pf\(\) \{.*?\})$", text, flags=re.MULTILINE | re.DOTALL)
    return str(found)


def _objects() -> list[Object]:
    group = "rbac.authorization.k8s.io"
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": _ACCOUNT, "namespace": NAMESPACE},
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": _ACCOUNT},
            "rules": _RULES,
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": _ACCOUNT},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": _ACCOUNT},
            "subjects": [{"kind": "ServiceAccount", "name": _ACCOUNT, "namespace": NAMESPACE}],
        },
    ]
