"""Renders the chart into plain manifests, for clusters without Helm.

``make deploy`` writes deploy/csi-powerflex.yaml. With ``--check`` the script compares the file instead. The
operator must replace the placeholder for ``clusterId``. The controller refuses to start with the placeholder,
because two clusters with the same value would use each other's volumes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent
_CHART = _HERE.parent / "charts" / "csi-powerflex"
_MANIFESTS = _HERE / "csi-powerflex.yaml"
_KUBERNETES = "1.36.0"
_APIS = ("snapshot.storage.k8s.io/v1", "groupsnapshot.storage.k8s.io/v1")
_NAMESPACE = "powerflex"
_CLUSTER_ID, _PLACEHOLDER = "--cluster-id=0000", "--cluster-id=CHANGE-ME"
_VARIABLE, _NO_VALUE = 'CLUSTER_ID, value: "0000"', "CLUSTER_ID, value: CHANGE-ME"
# Labels of Helm, which does not manage these objects.
_OF_HELM = ("app.kubernetes.io/managed-by: ", "helm.sh/chart: ")
_HEAD = f"""\
# csi-powerflex as plain manifests, rendered from charts/csi-powerflex with deploy/values.yaml: run
# `make deploy` after a change. For Kubernetes 1.34 or newer with the snapshot CRDs.
#
# Before use: replace CHANGE-ME by four characters of a-z and 0-9 that no other cluster on the array uses, and
# create the Secret of deploy/examples/systems-secret.yaml.
---
apiVersion: v1
kind: Namespace
metadata:
  name: {_NAMESPACE}
  labels:
    # The node plugin mounts volumes for the whole host.
    pod-security.kubernetes.io/enforce: privileged
"""


def rendered(helm: str) -> str:
    """The manifests, rendered with the Helm program at the path ``helm``.

    Raises:
        ValueError: the rendered chart has no cluster id to replace.
    """
    command = [helm, "template", "csi-powerflex", str(_CHART), "--namespace", _NAMESPACE, "--skip-tests"]
    command += ["--values", str(_HERE / "values.yaml"), "--kube-version", _KUBERNETES]
    for api in _APIS:
        command += ["--api-versions", api]
    made = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    if made.returncode:
        raise SystemExit(made.stderr)
    for wanted in (_CLUSTER_ID, _VARIABLE):
        if wanted not in made.stdout:
            raise ValueError(f"the rendered chart has no {wanted}")
    # Helm 3 and 4 write blank lines at different positions.
    lines = [line for line in made.stdout.splitlines(keepends=True) if line.strip()]
    text = "".join(line for line in lines if not line.strip().startswith(_OF_HELM))
    return _HEAD + text.replace(_CLUSTER_ID, _PLACEHOLDER).replace(_VARIABLE, _NO_VALUE)


def main() -> None:
    """Write the manifests. With ``--check``: compare them."""
    helm, *options = sys.argv[1:]
    text = rendered(helm)
    if "--check" not in options:
        _MANIFESTS.write_text(text, encoding="utf-8")
    elif not _MANIFESTS.exists() or _MANIFESTS.read_text(encoding="utf-8") != text:
        sys.exit(f"stale: {_MANIFESTS}; run `make deploy`")


if __name__ == "__main__":
    main()
