"""The arguments that the chart gives: each is one that the program takes, with a value that it takes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import cast

import click
import pytest
import yaml

from csi_powerflex.config.node import mdm_group
from csi_powerflex.config.systems import loader
from csi_powerflex.model.parameters import (
    MutableParameters,
    SnapshotParameters,
    VolumeParameters,
    parse_mutable,
)
from csi_powerflex.simulator import certificates
from tests.chart import helm as chart
from tests.chart.arguments import parsed
from tests.chart.helm import Case, Manifest

OUR_CONTAINERS = {("controller", "driver"), ("node", "driver"), ("simulator", "simulator")}

# What the sidecars take of what the chart uses, as their sources in the versions of values.yaml say.
_COMMON = {
    "csi-address",
    "v",
    "leader-election",
    "http-endpoint",
    "kube-api-qps",
    "kube-api-burst",
    "timeout",
}
SIDECAR_OPTIONS = {
    "csi-provisioner": _COMMON
    | {
        "worker-threads",
        "default-fstype",
        "enable-capacity",
        "capacity-ownerref-level",
        "capacity-poll-interval",
        "immediate-topology",
        "extra-create-metadata",
        "kube-api-capacity-qps",
        "kube-api-capacity-burst",
        "strict-topology",
    },
    "csi-attacher": _COMMON | {"worker-threads", "reconcile-sync", "max-entries"},
    "csi-resizer": _COMMON | {"workers", "handle-volume-inuse-error", "extra-modify-metadata"},
    "csi-snapshotter": _COMMON | {"worker-threads", "feature-gates", "extra-create-metadata"},
    "liveness-probe": {"csi-address", "v", "probe-timeout", "health-port", "metrics-path"},
    "node-driver-registrar": {
        "csi-address",
        "v",
        "kubelet-registration-path",
        "timeout",
        "http-endpoint",
        "enable-pprof",
    },
}


def ours(manifests: list[Manifest]) -> dict[str, dict[str, object]]:
    """The options of our containers by component."""
    return {
        component: parsed(container["args"])
        for component, name, container in chart.containers(manifests)
        if (component, name) in OUR_CONTAINERS
    }


def test_our_own_program_takes_every_argument(manifests: list[Manifest]) -> None:
    assert {"controller", "node"} <= ours(manifests).keys()


def test_an_argument_that_it_does_not_take_is_found() -> None:
    with pytest.raises(click.NoSuchOption):
        parsed(["node", "--endpoint=unix:///csi/csi.sock", "--max-volume=3"])


def test_sidecars_take_every_argument(manifests: list[Manifest]) -> None:
    found = {
        name: {argument.removeprefix("--").partition("=")[0] for argument in container["args"]}
        for component, name, container in chart.containers(manifests)
        if (component, name) not in OUR_CONTAINERS
        and component in ("controller", "node")
        and not name.startswith("extra-")
    }
    found.pop("join-simulator", None)
    found.pop("node-labels", None)  # our own program, see test_zones.py
    assert found.keys() <= SIDECAR_OPTIONS.keys()
    for name, options in found.items():
        assert options <= SIDECAR_OPTIONS[name], name


def test_values_reach_our_own_program(every_case: dict[Case, list[Manifest]]) -> None:
    options = ours(next(found for case, found in every_case.items() if case.values == "full"))
    assert options["controller"]["driver_name"] == options["node"]["driver_name"] == "csi.example.org"
    assert options["controller"]["cluster_id"] == "k8s2"
    assert options["controller"]["log_level"] == "debug"
    assert options["controller"]["metrics_address"] == ":18080"
    assert options["node"]["kubelet_dir"] == Path("/var/lib/k0s/kubelet")
    assert options["node"]["drv_cfg"] == Path("/opt/sdc/bin/drv_cfg")
    assert options["node"]["max_volumes"] == 100
    assert options["node"]["mount_roots"] == (Path("/mnt/other"),)
    assert options["node"]["sdc_on_demand"] is True
    assert options["node"]["sdc_mdms"] == ("192.0.2.1, 192.0.2.2", "2001:db8::1")
    assert options["node"]["drv_cfg_file"] == Path("/etc/sdc/drv_cfg.txt")


def test_the_node_takes_the_mdms_that_the_chart_takes(every_case: dict[Case, list[Manifest]]) -> None:
    options = ours(next(found for case, found in every_case.items() if case.values == "full"))
    assert [mdm_group(str(text)) for text in cast("tuple[str, ...]", options["node"]["sdc_mdms"])] == [
        ("192.0.2.1", "192.0.2.2"),
        ("2001:db8::1",),
    ]


def test_attributes_classes_are_read_exactly_where_the_cluster_serves_them(
    every_case: dict[Case, list[Manifest]],
) -> None:
    for case, manifests in every_case.items():
        serves = tuple(map(int, case.kubernetes.split("."))) >= (1, 34)
        assert ours(manifests)["controller"]["in_kubernetes"] is serves, case.name


def test_the_simulated_host_is_where_the_node_looks(every_case: dict[Case, list[Manifest]]) -> None:
    options = ours(next(found for case, found in every_case.items() if case.values == "simulator"))
    state = options["simulator"]["state"]
    assert options["simulator"]["hosts_by_folder"] is True
    assert options["node"]["drv_cfg"] == Path(f"{state}/hosts/$(NODE_NAME)/drv_cfg")
    assert options["node"]["by_id_dir"] == Path(f"{state}/hosts/$(NODE_NAME)/by-id")


def test_the_driver_takes_the_systems_that_the_chart_writes(
    every_case: dict[Case, list[Manifest]], tmp_path: Path
) -> None:
    (tmp_path / "passwordFile").write_text("x")
    shutil.copy(certificates.ensure(tmp_path / "tls").authority, tmp_path / "caFile")
    for case, manifests in every_case.items():
        for secret in chart.of_kind(manifests, "Secret"):
            text = secret.get("stringData", {}).get("systems.yaml")
            if text is None:
                continue
            path = tmp_path / f"{case.name}.yaml"
            # Files that a Secret would bring are not here; everything else is read as the controller does.
            content = yaml.safe_load(text)
            for system in content["systems"]:
                for key in ("caFile", "passwordFile"):
                    if key in system:
                        system[key] = str(tmp_path / key)
            path.write_text(yaml.safe_dump(content))
            assert len(loader.load(path)) == (2 if case.values in ("full", "nvme") else 1)


def test_the_driver_takes_the_parameters_of_every_class(manifests: list[Manifest]) -> None:
    for each in chart.of_kind(manifests, "StorageClass"):
        VolumeParameters.parse(each.get("parameters", {}))
    for kind in ("VolumeSnapshotClass", "VolumeGroupSnapshotClass"):
        for each in chart.of_kind(manifests, kind):
            SnapshotParameters.parse(each.get("parameters", {}))
    for each in chart.of_kind(manifests, "VolumeAttributesClass"):
        assert parse_mutable(each["parameters"]) != MutableParameters()
