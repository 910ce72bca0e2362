"""node.zone and node.maxVolumesLabel: how a label of a node reaches the driver, which has no token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chart import helm as chart
from tests.chart.arguments import parsed
from tests.chart.helm import Case, Manifest

ZONE = "topology.kubernetes.io/zone"
LIMIT = 'node.maxVolumesLabel="example.org/volumes"'
READS_NODE = (
    Case("zones", "1.34"),
    Case("zones", "1.36", settings=('node.zone.label="example.org/hall"',)),
    Case("zones", "1.36", settings=('node.zone.source="node"',)),
    Case("zones", "1.36", settings=(LIMIT,)),
    Case("minimal", "1.36", settings=(LIMIT,)),
    Case("simulator", "1.36", settings=(LIMIT,)),
)
READS_POD = (
    Case("zones", "1.35"),
    Case("zones", "1.37", settings=('node.zone.label="topology.kubernetes.io/region"',)),
    Case("zones", "1.33", settings=('node.zone.source="pod"',)),
)


def pod(helm: str, case: Case) -> Manifest:
    """The node's pod."""
    manifests = chart.rendered(helm, case)
    return next(spec for component, spec in chart.pods(manifests) if component == "node")


def container(spec: Manifest, name: str) -> Manifest:
    found = [each for each in (*spec.get("initContainers", ()), *spec["containers"]) if each["name"] == name]
    assert len(found) == 1
    return dict(found[0])


def mounts(spec: Manifest, name: str) -> dict[str, str]:
    """The volumes of a container by the folder."""
    return {mount["mountPath"]: mount["name"] for mount in container(spec, name)["volumeMounts"]}


def volume(spec: Manifest, name: str) -> Manifest:
    return next(each for each in spec["volumes"] if each["name"] == name)


def options(spec: Manifest, name: str) -> dict[str, Any]:
    return parsed(container(spec, name)["args"])


@pytest.mark.parametrize("case", READS_NODE, ids=str)
def test_the_driver_reads_the_files_that_the_init_container_writes(helm: str, case: Case) -> None:
    spec = pod(helm, case)
    written = options(spec, "node-labels")
    read = options(spec, "driver")
    files = {str(file): label for label, file in (*written["required"], *written["optional"])}
    assert files
    assert {str(read[name]) for name in ("zone_file", "max_volumes_file") if read[name]} == files.keys()
    for file in files:
        folder = str(Path(file).parent)
        assert mounts(spec, "node-labels")[folder] == mounts(spec, "driver")[folder] == "node-labels"
    assert "emptyDir" in volume(spec, "node-labels")


def test_a_zone_is_required_of_each_node_and_a_limit_is_not(helm: str) -> None:
    settings = ('node.zone.label="example.org/hall"', LIMIT)
    written = options(pod(helm, Case("zones", "1.36", settings=settings)), "node-labels")
    assert [label for label, _ in written["required"]] == ["example.org/hall"]
    assert [label for label, _ in written["optional"]] == ["example.org/volumes"]


@pytest.mark.parametrize("case", READS_NODE, ids=str)
def test_only_the_init_container_gets_a_token_and_it_may_only_get_nodes(helm: str, case: Case) -> None:
    spec = pod(helm, case)
    assert spec["automountServiceAccountToken"] is False
    holders = [
        each["name"]
        for each in (*spec["initContainers"], *spec["containers"])
        if "token" in {mount["name"] for mount in each["volumeMounts"]}
    ]
    assert holders == ["node-labels"]
    assert mounts(spec, "node-labels")["/var/run/secrets/kubernetes.io/serviceaccount"] == "token"
    token, authority = volume(spec, "token")["projected"]["sources"]
    assert token["serviceAccountToken"]["path"] == "token"
    assert authority["configMap"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]
    role = chart.named(chart.rendered(helm, case), "ClusterRole", "-node")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]


@pytest.mark.parametrize("case", READS_POD, ids=str)
def test_where_the_pod_has_the_label_the_driver_reads_it_there_without_any_right(
    helm: str, case: Case
) -> None:
    spec = pod(helm, case)
    assert "initContainers" not in spec
    read = options(spec, "driver")["zone_file"]
    assert mounts(spec, "driver")[str(read.parent)] == "pod-labels"
    (item,) = volume(spec, "pod-labels")["downwardAPI"]["items"]
    assert item["path"] == read.name
    label = "topology.kubernetes.io/region" if "region" in str(case.settings) else ZONE
    assert item["fieldRef"] == {"fieldPath": f"metadata.labels['{label}']"}
    manifests = chart.rendered(helm, case)
    assert not [
        each for each in chart.of_kind(manifests, "ClusterRole") if "node" in each["metadata"]["name"]
    ]
    assert not [each for each in spec["volumes"] if "projected" in each]


def test_a_limit_from_the_node_and_a_zone_from_the_pod_go_together(helm: str) -> None:
    spec = pod(helm, Case("zones", "1.36", settings=(LIMIT, 'node.zone.source="pod"')))
    assert options(spec, "node-labels")["required"] == []
    assert {"/labels/node": "node-labels", "/labels/pod": "pod-labels"}.items() <= mounts(
        spec, "driver"
    ).items()


def test_without_the_values_a_node_tells_no_zone_and_reads_no_label(helm: str) -> None:
    spec = pod(helm, Case("minimal", "1.37"))
    assert "initContainers" not in spec
    assert options(spec, "driver")["zone_file"] is None
    assert options(spec, "driver")["max_volumes_file"] is None


@pytest.mark.parametrize(("values", "strict"), [("zones", True), ("minimal", False)])
def test_with_zones_the_provisioner_asks_only_for_the_zone_of_the_pod_s_node(
    helm: str, values: str, strict: bool
) -> None:
    manifests = chart.rendered(helm, Case(values, "1.36"))
    (provisioner,) = [item for _, name, item in chart.containers(manifests) if name == "csi-provisioner"]
    assert ("--strict-topology" in provisioner["args"]) is strict
    assert "--enable-capacity" in provisioner["args"]


@pytest.mark.parametrize(
    "setting",
    [
        'node.zone.source="downward"',
        'node.zone.label=""',
        'node.zone.label="a=b"',
        'node.zone.label="it\'s"',
        'node.zone.name="a"',
        'node.maxVolumesLabel="a b"',
    ],
)
def test_values_that_cannot_work_are_refused(helm: str, setting: str) -> None:
    done = chart.template(helm, Case("zones", "1.36", settings=(setting,)))
    assert done.returncode != 0
    assert f"at '/node/{'zone' if 'zone' in setting else 'maxVolumesLabel'}" in done.stderr
