"""node.transport and node.nvme: what the node's pod gets of the host, and what the driver is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chart import helm as chart
from tests.chart.arguments import parsed
from tests.chart.helm import Case, Manifest

SYSTEM = "0a1b2c3d4e5f6071"
OTHER = "1a1b2c3d4e5f6071"
WITH_NVME = ("nvme", "auto")


def pod(helm: str, transport: str, *settings: str) -> Manifest:
    """The node's pod of an installation with an existing Secret."""
    known = (f'node.nvme.systems=["{SYSTEM}"]',) if transport in WITH_NVME else ()
    case = Case("minimal", "1.36", settings=(f'node.transport="{transport}"', *known, *settings))
    return pod_of(chart.rendered(helm, case))


def pod_of(manifests: list[Manifest]) -> Manifest:
    return next(spec for component, spec in chart.pods(manifests) if component == "node")


def container(spec: Manifest, name: str) -> Manifest:
    found = [each for each in (*spec.get("initContainers", ()), *spec["containers"]) if each["name"] == name]
    assert len(found) == 1
    return dict(found[0])


def options(spec: Manifest) -> dict[str, Any]:
    return parsed(container(spec, "driver")["args"])


def mounts(spec: Manifest) -> dict[str, bool]:
    """The folders of the driver's container, and whether it can only read each."""
    return {
        each["mountPath"]: each.get("readOnly", False) for each in container(spec, "driver")["volumeMounts"]
    }


def host_folders(spec: Manifest) -> dict[str, str]:
    """The host's folders, each with the type that it must have."""
    found = [each["hostPath"] for each in spec["volumes"] if "hostPath" in each]
    return {each["path"]: each["type"] for each in found}


@pytest.mark.parametrize("transport", ["sdc", "nvme", "auto"])
def test_the_driver_is_told_which_transports_to_use(helm: str, transport: str) -> None:
    assert options(pod(helm, transport))["transport"] == transport


@pytest.mark.parametrize(("transport", "wanted"), [("sdc", False), ("nvme", True), ("auto", True)])
def test_only_with_nvme_the_pods_use_the_network_of_the_node(helm: str, transport: str, wanted: bool) -> None:
    spec = pod(helm, transport)
    assert spec["hostNetwork"] is wanted
    assert spec.get("dnsPolicy") == ("ClusterFirstWithHostNet" if wanted else None)


@pytest.mark.parametrize("transport", WITH_NVME)
def test_the_driver_can_only_read_the_files_of_the_host_nqn(helm: str, transport: str) -> None:
    spec = pod(helm, transport)
    assert mounts(spec)["/etc/nvme"] is True
    assert options(spec)["nvme_folder"] == Path("/etc/nvme")


def test_the_driver_can_write_the_files_of_the_host_nqn_where_it_may_create_them(helm: str) -> None:
    spec = pod(helm, "nvme", "node.nvme.createHostNqn=true")
    assert mounts(spec)["/etc/nvme"] is False
    assert options(spec)["nvme_create_hostnqn"] is True


def test_without_nvme_the_driver_has_nothing_of_it(helm: str) -> None:
    spec = pod(helm, "sdc")
    assert not [path for path in (*mounts(spec), *host_folders(spec)) if "nvme" in path or "modules" in path]
    assert not [word for word in container(spec, "driver")["args"] if "nvme" in word]


def test_without_the_sdc_the_driver_has_nothing_of_it(helm: str) -> None:
    spec = pod(helm, "nvme")
    assert not [path for path in (*mounts(spec), *host_folders(spec)) if "scaleio" in path]
    assert not [word for word in container(spec, "driver")["args"] if "drv-cfg" in word]


def test_with_auto_a_pod_starts_on_a_node_without_an_sdc(helm: str) -> None:
    folder = "/opt/emc/scaleio/sdc/bin"
    assert host_folders(pod(helm, "auto"))[folder] == "DirectoryOrCreate"
    assert host_folders(pod(helm, "sdc"))[folder] == "Directory"


def test_systems_are_those_of_the_values_unless_others_are_named(helm: str) -> None:
    inline = pod_of(chart.rendered(helm, Case("nvme", "1.36")))
    named = Case("nvme", "1.36", settings=(f'node.nvme.systems=["{OTHER}"]',))
    assert options(inline)["nvme_systems"] == (SYSTEM, OTHER)
    assert options(pod_of(chart.rendered(helm, named)))["nvme_systems"] == (OTHER,)


def test_the_other_values_reach_the_driver(helm: str) -> None:
    spec = pod(helm, "nvme", "node.nvme.singlePath=true", "node.nvme.ioQueues=4")
    assert options(spec)["nvme_single_path"] is True
    assert options(spec)["nvme_io_queues"] == 4


def test_the_driver_loads_a_module_only_on_request_and_without_the_processes_of_the_host(helm: str) -> None:
    assert options(pod(helm, "nvme"))["nvme_load_modules"] is False
    spec = pod(helm, "nvme", "node.nvme.loadModules=true")
    assert options(spec)["nvme_load_modules"] is True
    assert mounts(spec)["/lib/modules"] is True
    assert "hostPID" not in spec
