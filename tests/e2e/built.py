"""The files of the build in .cache/e2e, and their paths for the scenarios.

The scenarios run where no network leads out. So nothing here starts a program or downloads anything.
"""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "e2e"
BIN = CACHE / "bin"
HELM = ROOT / ".cache" / "bin" / "helm"
"""Built by make, also for the tests of the chart."""
IMAGES = CACHE / "images"
CRDS = CACHE / "crds"
"""The definitions of the snapshot APIs, ServiceMonitors and PrometheusRules."""
VERSIONS = CACHE / "versions.json"
"""The version of each upstream sidecar."""

DRIVER_IMAGE = "localhost/csi-powerflex"
SIMULATOR_IMAGE = "localhost/csi-powerflex-simulator"
OPERATOR_IMAGE = "localhost/csi-powerflex-operator"
MOVER_IMAGE = "localhost/csi-powerflex-mover"
BUSYBOX_IMAGE = "docker.io/library/busybox:1.37"
PAUSE_IMAGE = "e2e.test/pause:1"
FOLDERS_IMAGE = "e2e.test/folders:1"

STAND_INS = {"csi-node-driver-registrar": "registrar", "livenessprobe": "livenessprobe"}
"""Sidecars that the Go module proxy does not have, and their replacements (see sidecars/registrar)."""


def version_of(sidecar: str) -> str:
    """The version of an upstream sidecar that was built, such as v4.13.0."""
    versions: dict[str, str] = json.loads(VERSIONS.read_text())
    return versions[sidecar]


def crds() -> list[Path]:
    """The files with the definitions of custom resources."""
    return sorted(CRDS.glob("*.yaml"))


def app_version() -> str:
    """The driver's version: the tag of its images."""
    values: dict[str, str] = {}
    exec((ROOT / "csi_powerflex" / "_version.py").read_text(), values)  # noqa: S102 - a file of this repository
    return values["__version__"]


def reference_of(image: str) -> str:
    """The reference of a sidecar's image in the chart."""
    import yaml  # noqa: PLC0415 - only here

    values = yaml.safe_load((ROOT / "charts/csi-powerflex/values.yaml").read_text())
    (tag,) = (
        sidecar["image"]["tag"]
        for sidecar in values["sidecars"].values()
        if sidecar["image"]["repository"] == f"sig-storage/{image}"
    )
    return f"registry.k8s.io/sig-storage/{image}:{tag}"
