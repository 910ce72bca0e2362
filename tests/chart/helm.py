"""The chart, rendered by a real Helm, and what the tests ask of the result."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests import tools

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "charts" / "csi-powerflex"
VALUES = Path(__file__).parent / "values"
GOLDEN = Path(__file__).parent / "golden"
SNAPSHOT_APIS = ("snapshot.storage.k8s.io/v1", "groupsnapshot.storage.k8s.io/v1")

Manifest = dict[str, Any]


def binary() -> str | None:
    """The Helm that `make` builds, or the one that is installed."""
    return os.environ.get("HELM") or tools.built("helm")


@dataclass(frozen=True, slots=True)
class Case:
    """A way to install: a file of values, the cluster's version and the APIs that it has beyond its own."""

    values: str
    kubernetes: str
    apis: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    options: tuple[str, ...] = field(default=())
    release: str = "release"

    @property
    def name(self) -> str:
        """As the golden file is called."""
        return f"{self.values}-{self.kubernetes}"


CASES = (
    Case("minimal", "1.29"),
    Case("minimal", "1.37", SNAPSHOT_APIS),
    Case("full", "1.36", ("monitoring.coreos.com/v1", "populator.storage.k8s.io/v1beta1")),
    Case("one_replica", "1.33", SNAPSHOT_APIS[:1]),
    Case("simulator", "1.36", SNAPSHOT_APIS),
    Case("zones", "1.34"),
    Case("zones", "1.36"),
    Case("nvme", "1.36"),
)


def template(helm: str, case: Case) -> subprocess.CompletedProcess[str]:
    """``helm template`` for the case, however it ends."""
    command = [helm, "template", case.release, str(CHART), "--namespace", "storage"]
    command += ["--values", str(VALUES / f"{case.values}.yaml"), "--kube-version", f"{case.kubernetes}.0"]
    for api in case.apis:
        command += ["--api-versions", api]
    for setting in case.settings:
        command += ["--set-json", setting]
    return subprocess.run([*command, *case.options], capture_output=True, text=True, check=False)


def rendered(helm: str, case: Case) -> list[Manifest]:
    """The objects of the case."""
    done = template(helm, case)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.load_all(done.stdout, _Strict) if document]


class _Strict(yaml.SafeLoader):
    """Refuses a key that is there twice, as Kubernetes does."""


def _mapping(loader: _Strict, node: yaml.MappingNode) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.value:
        assert key.value not in found, f"{key.value} is there twice: {key.start_mark}"
        found[key.value] = loader.construct_object(value, deep=True)
    return found


_Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one object of this kind whose name ends so."""
    found = [each for each in of_kind(manifests, kind) if each["metadata"]["name"].endswith(name)]
    assert len(found) == 1, f"{len(found)} objects are {kind} *{name}"
    return found[0]


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """Every object of this kind."""
    return [each for each in manifests if each["kind"] == kind]


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Every pod's component and spec."""
    for each in manifests:
        spec = each if each["kind"] == "Pod" else each.get("spec", {}).get("template")
        if spec and "containers" in spec["spec"]:
            yield spec["metadata"]["labels"]["app.kubernetes.io/component"], spec["spec"]


def containers(manifests: list[Manifest]) -> Iterator[tuple[str, str, Manifest]]:
    """Every container with the component of its pod and its own name, init containers too."""
    for component, spec in pods(manifests):
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            yield component, container["name"], container
