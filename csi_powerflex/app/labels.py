"""Writes labels of a Kubernetes node into files.

It is a process of its own that ends, such as the init container of a node's pod. So the node process, which
is privileged, needs no access to the Kubernetes API.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from csi_powerflex.config.labels import LabelsSettings
from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.kube import config
from csi_powerflex.kube.client import Client, KubeObject, ObjectMeta
from csi_powerflex.observability.log import Log

log = Log(__name__)

_NODES = "/api/v1/nodes"


class _LabelledMeta(ObjectMeta, frozen=True, rename="camel"):
    labels: Mapping[str, str] = {}


class _Node(KubeObject, frozen=True, kw_only=True, rename="camel"):
    metadata: _LabelledMeta = _LabelledMeta()


def run(settings: LabelsSettings) -> None:
    """Read the node once and write its labels. Nothing is written if the node lacks a required label.

    Raises:
        FailedPrecondition: the node lacks a required label, or a file cannot be written.
        NotFound: the cluster has no such node.
        DriverError: the API cannot be reached, or it refused the user.
    """
    with contextlib.closing(Client(config.load(settings.kubeconfig))) as client:
        labels = client.get(_NODES, settings.node, _Node).metadata.labels
    lacking = [item.label for item in settings.files if item.required and not labels.get(item.label)]
    if lacking:
        raise FailedPrecondition(
            f"node {settings.node} lacks the label {', '.join(lacking)}; set it with "
            f"kubectl label node {settings.node} {' '.join(f'{label}=VALUE' for label in lacking)}"
        )
    for item in settings.files:
        value = labels.get(item.label, "")
        _write(item.file, value)
        log.info("label written", node=settings.node, label=item.label, value=value, file=item.file)


def _write(file: Path, value: str) -> None:
    """Replace the file in one step, so that no reader sees half of a value."""
    new = file.with_name(f".{file.name}.new")
    try:
        new.write_text(value, encoding="utf-8")
        new.replace(file)
    except OSError as error:
        raise FailedPrecondition(f"cannot write {file}: {error.strerror}") from error
