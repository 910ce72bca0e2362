"""The settings of the command that writes labels of a Kubernetes node into files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LabelFile:
    """A label and the file for its value.

    Attributes:
        label: the label's key, such as ``topology.kubernetes.io/zone``.
        file: where its value is written.
        required: whether a node without the label is an error. Otherwise its file is empty.
    """

    label: str
    file: Path
    required: bool


@dataclass(frozen=True, slots=True)
class LabelsSettings:
    """What the command needs.

    Attributes:
        node: the name of the Kubernetes node.
        files: what to write.
        kubeconfig: how to reach the cluster; None for the cluster that this process runs in.
    """

    node: str
    files: tuple[LabelFile, ...]
    kubeconfig: Path | None = None
