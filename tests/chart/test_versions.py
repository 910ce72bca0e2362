"""The page about versions: its table has the versions of the code, the chart and the end-to-end tests."""

from __future__ import annotations

import re

import yaml

from csi_powerflex import __version__
from tests.chart.helm import CASES, CHART, ROOT

_ROW = re.compile(r"^\| ([\w ,-]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def rows() -> dict[str, tuple[str, str]]:
    """Version and proof by part."""
    page = (ROOT / "docs" / "versions.md").read_text(encoding="utf-8")
    return {part: (version.strip(), proof.strip()) for part, version, proof in _ROW.findall(page)}


def test_the_driver_and_the_chart_have_the_version_of_the_table() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert rows()["driver, chart"][0] == chart["version"] == chart["appVersion"] == __version__


def test_the_sidecars_have_the_versions_of_the_table() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    for sidecar in values["sidecars"].values():
        name = sidecar["image"]["repository"].removeprefix("sig-storage/")
        (version,) = [row[0] for part, row in rows().items() if part.split(",")[0] == name]
        assert version == sidecar["image"]["tag"], name


def test_the_versions_of_kubernetes_are_those_that_the_chart_is_rendered_for() -> None:
    versions, proof = rows()["Kubernetes"]
    rendered = sorted({case.kubernetes for case in CASES})
    assert versions == f"{rendered[0]} to {rendered[-1]}"
    assert all(version in proof for version in rendered)
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["kubeVersion"] == f">={rendered[0]}.0-0"
