"""The pages name files, folders, code, chart values and make targets that exist, and link to what exists."""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from csi_powerflex.operator.definitions import DEFINITIONS
from csi_powerflex.operator.schema import schema_of
from csi_powerflex.simulator.faults import NVME_STEPS
from tests import known_names
from tests.commands import output_of
from tests.known_names import ROOT

# The pages that describe the code. Words in CamelCase are names of its classes there, or of RPCs.
ABOUT_CODE = ("docs/design.md", "docs/adr/", "CONTRIBUTING.md")
PAGES = sorted(
    [
        *(ROOT / "docs").rglob("*.md"),
        *(
            ROOT / name
            for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "charts/csi-powerflex/README.md")
        ),
    ]
)

# What looks like a name of ours and is not.
OTHERS = {
    "csi_powerflex/pb/csi.proto": "a path that only protoc sees",
    "*/15": "a step of cron",
    "csi.powerflex.dev": "the name of the driver",
    "powerflex.dev": "the API group of the custom resources",
    "powerflex.dev/image": "a label of what is made for a VolumeImage",
    "powerflex.dev/made-for": "a label of what the operator makes",
    "powerflex.dev/schedule": "a label of a schedule's snapshots",
    "powerflex.dev/schedule-uid": "a label of a schedule's snapshots",
    "powerflex.dev/mover": "a label of the pods of data movers",
    "count/volumeimages.powerflex.dev": "a quota of Kubernetes",
    "snapshot.storage.kubernetes.io/allow-volume-mode-change": "an annotation of Kubernetes",
    "app.kubernetes.io/managed-by": "a label of Kubernetes",
    "helm.sh/chart": "a label of Helm",
    "csi.powerflex.dev/zone": "the label that the kubelet gives to a node with a zone",
    "csi.storage.k8s.io/": "a prefix of Kubernetes",
    "csi.storage.k8s.io/fstype": "a key of Kubernetes",
    "localhost/csi-powerflex": "an image",
    "topology.kubernetes.io/region": "a label of Kubernetes",
    "topology.kubernetes.io/zone": "a label of Kubernetes",
    "HostNotConnected": "the reason of an event",
    "LimitsNotApplied": "the reason of an event",
    "StaleMappingRemoved": "the reason of an event",
    "VolumeMoving": "the reason of an event",
    "VolumeMovePaused": "the reason of an event",
    "VolumeMoved": "the reason of an event",
    "NoSpaceInDestinationStoragePool": "a word of the array",
    "UserInitiated": "a word of the array",
    "DegradedCapacityInProtectionDomain": "a word of the array",
    "MaintenanceMode": "a word of the array",
    "InactiveProtectionDomain": "a word of the array",
    "ca.pem": "a file of the operator",
    "tls.crt": "a key of a Secret of Kubernetes",
    "tls.key": "a key of a Secret of Kubernetes",
    "sbom.json": "a file that is built",
    "systems.yaml": "a file of the operator",
    "systems.yml": "a file of the operator, under the wrong name",
    "drv_cfg.txt": "a file of the SDC",
    "go.sum": "a file of Go, of which there are several",
    "mkfs.btrfs": "a program",
    "gateway.inject": "a method of a variable in an example",
    "Retry": "a class of urllib3",
    "status.restoreSize": "a field of a VolumeSnapshot",
    "source.snapshotHandle": "a field of a VolumeSnapshotContent",
    "source.volumeSnapshotContentName": "a field of a VolumeSnapshot",
    "StoragePool.list": "a route of the simulator",
    "Volume.addMappedSdc": "a route of the simulator",
    "Volume.create": "a route of the simulator",
    "Volume.get": "a route of the simulator",
    **dict.fromkeys(NVME_STEPS, "a step of the simulator's NVMe/TCP"),
}

_SPAN = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"[a-z0-9_.*-]+(/[a-z0-9_.*-]+)+/?|[a-z0-9_.-]+/|[\w-]+\.(?:py|md|toml|yaml|lock|txt|sum)")
_DOTTED = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(?:\(.*\))?")
_CAMEL = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z]+)*")
_FOLDERS = re.compile(
    r"(?<![\w/.-])((?:tests|docs|csi_powerflex|charts|deploy|docker|proto|\.ci)/[\w*-][\w./*-]*[\w*/])"
)
_MAKE = re.compile(r"\bmake((?: [a-z][a-z0-9-]*)+)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_LABEL = re.compile(r'"([a-z_.]+): ([a-z_]+(?:, [a-z_]+)*)"')


def title(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def without_blocks(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"^ *```{kind}\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)


def without_dells_names(text: str) -> str:
    """The text without the first column of each table whose first heading names Dell."""
    return re.sub(
        r"^\|[^|\n]*Dell[^|\n]*\|.*\n(?:\|.*\n)+",
        lambda table: re.sub(r"^\|[^|\n]*", "|", table[0], flags=re.MULTILINE),
        text,
        flags=re.MULTILINE,
    )


def spans(text: str) -> list[str]:
    return _SPAN.findall(without_blocks(without_dells_names(text)))


@functools.cache
def chart_values() -> Any:
    return yaml.safe_load((ROOT / "charts" / "csi-powerflex" / "values.yaml").read_text(encoding="utf-8"))


def is_chart_value(dotted: str) -> bool:
    value = chart_values()
    for part in dotted.split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


def is_resource_field(dotted: str) -> bool:
    """Whether any custom resource has the field, such as ``status.phase``, or the field below ``spec``."""
    return any(
        _has_field(schema_of(definition.resource), path)
        for definition in DEFINITIONS
        for path in (dotted.split("."), ["spec", *dotted.split(".")])
    )


def _has_field(schema: dict[str, Any], parts: list[str]) -> bool:
    for part in parts:
        fields = schema.get("properties", {})
        if part not in fields:
            return False
        schema = fields[part]
    return True


def is_library(dotted: str) -> bool:
    return importlib.util.find_spec(dotted.partition(".")[0]) is not None


@functools.cache
def targets() -> frozenset[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^([a-z][a-z0-9-]*):", makefile, flags=re.MULTILINE))


def unknown_paths(text: str) -> Iterator[str]:
    """The paths in ``text`` that do not exist."""
    found = {span for span in spans(text) if _PATH.fullmatch(span)} | set(_FOLDERS.findall(text))
    yield from (path for path in sorted(found - OTHERS.keys()) if not known_names.path_exists(path))


def unknown_code(text: str) -> Iterator[str]:
    """The dotted names in ``text`` that neither the code, the chart, a library nor a custom resource has."""
    names = {match[1] for span in spans(text) if (match := _DOTTED.fullmatch(span))}
    for name in sorted(names - OTHERS.keys()):
        if not any(
            exists(name)
            for exists in (
                known_names.path_exists,
                known_names.code_exists,
                is_chart_value,
                is_library,
                is_resource_field,
            )
        ):
            yield name


@functools.cache
def rpcs() -> frozenset[str]:
    protocol = (ROOT / "proto" / "csi.proto").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^ *rpc (\w+)", protocol, flags=re.MULTILINE))


def unknown_classes(text: str) -> Iterator[str]:
    """The names in CamelCase in ``text`` that are neither of a class nor of an RPC."""
    names = {span for span in spans(text) if _CAMEL.fullmatch(span)}
    for name in sorted(names - OTHERS.keys() - rpcs()):
        if not known_names.class_exists(name) and not known_names.path_exists(name):
            yield name


def unknown_targets(text: str) -> Iterator[str]:
    """The targets of ``make`` in ``text`` that the Makefile does not have."""
    lines = [
        line for block in blocks(text, "console") for line in block.splitlines() if line.startswith("$ ")
    ]
    found = {
        target for part in (*spans(text), *lines) for match in _MAKE.findall(part) for target in match.split()
    }
    yield from sorted(found - targets())


def unknown_labels(text: str) -> Iterator[str]:
    """The modules in the pictures of ``text`` that do not exist. A label reads "package: module, module"."""
    for picture in blocks(text, "mermaid"):
        for package, names in _LABEL.findall(picture):
            for name in names.split(", "):
                if f"{package}.{name}" not in known_names.modules():
                    yield f"{package}.{name}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> Iterator[str]:
    """The links of a page to files or headings that do not exist."""
    for link in _LINK.findall(without_blocks(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_a_page_names_only_what_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert list(unknown_paths(text)) == []
    assert list(unknown_code(text)) == []
    assert list(unknown_targets(text)) == []
    if title(page).startswith(ABOUT_CODE):
        assert list(unknown_classes(text)) == []


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_a_page_links_only_to_what_exists(page: Path) -> None:
    assert list(broken_links(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_a_picture_shows_only_modules_that_exist(page: Path) -> None:
    assert list(unknown_labels(page.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("name", ["Makefile", "Dockerfile", ".ci/run", "pyproject.toml", "tests/floors.toml"])
def test_a_file_of_the_build_names_only_paths_that_exist(name: str) -> None:
    assert list(unknown_paths((ROOT / name).read_text(encoding="utf-8"))) == []


def test_the_modules_that_decide_about_data_exist() -> None:
    listed = output_of(
        ["make", "--directory", str(ROOT), "--silent", "--eval=list: ; @echo $(DATA_BEARING)", "list"]
    )
    paths = listed.split()
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).is_file()] == []


def test_names_that_do_not_exist_are_found() -> None:
    text = (
        "`operations/node/stage.py`, `tests/unit/test_nothing.py`, `model.ports.Disk`, `simulator.enable`, "
        "`make tset` with `NodeTransports`; but `operations/node/staging.py`, `simulator.enabled` and "
        "`make test` exist\n"
        '```mermaid\nflowchart LR\n  a["host: run, mount"]\n```\n'
        "```console\n$ sudo make cover\n$ kubectl apply --filename deploy/examples/pods.yaml\n```\n"
    )
    assert list(unknown_paths(text)) == [
        "deploy/examples/pods.yaml",
        "operations/node/stage.py",
        "tests/unit/test_nothing.py",
    ]
    assert list(unknown_code(text)) == ["model.ports.Disk", "simulator.enable"]
    assert list(unknown_targets(text)) == ["cover", "tset"]
    assert list(unknown_classes(text)) == ["NodeTransports"]
    assert list(unknown_labels(text)) == ["host.mount"]


def test_the_picture_of_the_design_has_modules() -> None:
    (picture,) = blocks((ROOT / "docs" / "design.md").read_text(encoding="utf-8"), "mermaid")
    assert len(_LABEL.findall(picture)) > 6


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A title\n[a](#a-title) [b](page.md#b-title) [c](other.md) [d](https://example.org/#x)\n"
    )
    assert list(broken_links(page)) == ["page.md#b-title", "other.md"]


def test_the_index_has_each_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = set(_LINK.findall(index))
    assert [
        page.name for page in (ROOT / "docs").glob("*.md") if page.name not in {*linked, "README.md"}
    ] == []


def test_each_test_that_the_page_about_conformance_names_is_there() -> None:
    page = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    modules = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    assert len(named) > 20
    assert named - there - modules == set()
