"""The contents of the images of the driver, the operator and the mover."""

from __future__ import annotations

import json
import tarfile
from typing import Any

import pytest

from tests.e2e import built
from tests.e2e.cluster import NAMESPACE, Cluster


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    """The image's configuration."""
    return _config("driver")


@pytest.fixture(scope="module")
def files() -> set[str]:
    """The files and links of all its layers."""
    return _files("driver")


def _config(image: str) -> dict[str, Any]:
    with tarfile.open(built.IMAGES / f"{image}.tar") as archive:
        (manifest,) = json.load(_opened(archive, "manifest.json"))
        content: dict[str, Any] = json.load(_opened(archive, manifest["Config"]))
    return content["config"]  # type: ignore[no-any-return]


def _files(image: str) -> set[str]:
    found: set[str] = set()
    with tarfile.open(built.IMAGES / f"{image}.tar") as archive:
        (manifest,) = json.load(_opened(archive, "manifest.json"))
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=_opened(archive, layer)) as content:
                found |= {member.name.removeprefix("./") for member in content if not member.isdir()}
    return found


def _opened(archive: tarfile.TarFile, name: str) -> Any:
    opened = archive.extractfile(name)
    assert opened is not None
    return opened


def test_the_image_runs_without_root_and_with_an_init_process(config: dict[str, Any]) -> None:
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/usr/bin/tini", "--", "csi-powerflex"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == "csi-powerflex"
    assert labels["org.opencontainers.image.version"] == built.app_version()


def test_the_image_has_the_tools_of_filesystems_and_neither_simulator_nor_build_tools(
    files: set[str],
) -> None:
    names = {name.rpartition("/")[2] for name in files}
    assert {
        "mkfs.ext4",
        "mkfs.xfs",
        "mkfs.btrfs",
        "resize2fs",
        "xfs_growfs",
        "btrfs",
        "tini",
    } <= names
    assert not {"gcc", "cc", "make", "pip", "pip3", "go", "nvme", "qemu-img"} & names
    package = {name.partition("/csi_powerflex/")[2] for name in files if "/csi_powerflex/" in name}
    assert "cli/node.py" in package
    others = ("simulator", "demo", "mover", "operator")
    unwanted = tuple(f"{folder}{name}" for name in others for folder in ("", "cli/", "app/", "config/"))
    assert not [name for name in package if name.startswith(unwanted)]
    assert not [name for name in files if "/site-packages/kopf/" in name]


def test_the_command_in_the_image_has_only_its_roles(cluster: Cluster) -> None:
    node = "daemonset/csi-powerflex-node"
    shown = cluster.kubernetes.kubectl(
        "exec", "--namespace", NAMESPACE, node, "--container=driver", "--", "csi-powerflex", "--help"
    )
    commands = {line.split()[0] for line in shown.partition("Commands:")[2].splitlines() if line.strip()}
    assert {"controller", "node", "version"} <= commands
    assert not {"simulate", "demo", "mover", "operator"} & commands


def test_the_mover_has_an_image_of_its_own_without_other_roles() -> None:
    config, files = _config("mover"), _files("mover")
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/usr/bin/tini", "-g", "--", "csi-powerflex", "mover"]
    assert config["Labels"]["org.opencontainers.image.title"] == "csi-powerflex mover"
    names = {name.rpartition("/")[2] for name in files}
    assert {"qemu-img", "zstd", "prlimit", "tini"} <= names
    assert not {"gcc", "make", "pip", "pip3", "mkfs.xfs", "block-curl.so"} & names
    package = {name.partition("/csi_powerflex/")[2] for name in files if "/csi_powerflex/" in name}
    assert {"cli/mover.py", "mover/copying.py"} <= package
    assert not {"cli/node.py", "cli/controller.py", "cli/volumes.py", "cli/simulate.py"} & package


def test_the_operator_has_an_image_of_its_own_without_tools_and_the_mover() -> None:
    config, files = _config("operator"), _files("operator")
    assert config["User"] == "65532:65532"
    assert (config["Entrypoint"], config["Cmd"]) == (["/usr/bin/tini", "--", "csi-powerflex"], ["operator"])
    assert config["Labels"]["org.opencontainers.image.title"] == "csi-powerflex operator"
    names = {name.rpartition("/")[2] for name in files}
    assert not {"gcc", "make", "pip", "pip3", "mkfs.xfs", "qemu-img"} & names
    package = {name.partition("/csi_powerflex/")[2] for name in files if "/csi_powerflex/" in name}
    assert {"cli/operator.py", "operator/application.py"} <= package
    assert not [name for name in package if name.startswith(("simulator/", "demo/", "mover/"))]
