"""The document of what is in the image: each package of Python and of Debian that is installed, once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
OS_RELEASE = 'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n'
STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.41-12+deb13u1
Description: GNU C Library: Shared libraries
 Contains the standard libraries.
 Status: deinstall ok config-files

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0

Package: e2fsprogs
Status: install ok installed
Architecture: arm64
Version: 1:1.47.2-3~b1
Description: ext2/ext3/ext4 file system utilities
"""
PYTHON = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "metadata": {"tools": {"components": []}},
    "components": [
        {"type": "library", "bom-ref": "click==8.2.1", "name": "click", "version": "8.2.1"},
        {"type": "library", "bom-ref": "msgspec==0.19.0", "name": "msgspec", "version": "0.19.0"},
    ],
    "dependencies": [{"ref": "click==8.2.1", "dependsOn": ["msgspec==0.19.0"]}, {"ref": "msgspec==0.19.0"}],
}


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Any]:
    """The document of a small image."""
    for name, text in (("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", STATUS)):
        path = tmp_path / "image" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    (tmp_path / "python.json").write_text(json.dumps(PYTHON))
    command = [sys.executable, str(ROOT / "docker/sbom.py"), "python.json", "image", "sbom.json"]
    command += ["--version=1.2.3", "--revision=abc", "--base=debian:trixie-slim@sha256:1"]
    subprocess.run(command, cwd=tmp_path, check=True)
    made: dict[str, Any] = json.loads((tmp_path / "sbom.json").read_text())
    return made


def test_each_installed_package_is_there_once(written: dict[str, Any]) -> None:
    assert [(each["name"], each["version"]) for each in written["components"]] == [
        ("click", "8.2.1"),
        ("msgspec", "0.19.0"),
        ("libc6", "2.41-12+deb13u1"),
        ("e2fsprogs", "1:1.47.2-3~b1"),
    ]


def test_a_debian_package_has_a_package_url_and_its_source_package(written: dict[str, Any]) -> None:
    libc, e2fsprogs = written["components"][2:]
    assert libc["purl"] == "pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=amd64&distro=debian-13"
    assert e2fsprogs["purl"] == "pkg:deb/debian/e2fsprogs@1%3A1.47.2-3~b1?arch=arm64&distro=debian-13"
    assert libc["properties"] == [{"name": "debian:source", "value": "glibc"}]
    assert e2fsprogs["properties"] == [{"name": "debian:source", "value": "e2fsprogs"}]


def test_the_document_says_which_image_it_is_about(written: dict[str, Any]) -> None:
    image = written["metadata"]["component"]
    assert (image["type"], image["name"], image["version"]) == ("container", "csi-powerflex", "1.2.3")
    properties = {each["name"]: each["value"] for each in image["properties"]}
    assert properties == {"git:revision": "abc", "image:base": "debian:trixie-slim@sha256:1"}


def test_the_image_depends_on_each_component_and_every_reference_is_known(written: dict[str, Any]) -> None:
    references = {each["bom-ref"] for each in written["components"]}
    assert len(references) == len(written["components"])
    depends = {each["ref"]: set(each.get("dependsOn", ())) for each in written["dependencies"]}
    assert depends.pop("csi-powerflex-image") == references
    assert depends.keys() == references
    assert depends["click==8.2.1"] == {"msgspec==0.19.0"}


# --- the Dockerfile --------------------------------------------------------------------------------


def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text(encoding="utf-8")


def stages() -> dict[str, str]:
    """The instructions of each stage by its name."""
    found = re.split(r"^FROM (\S+)(?: AS (\S+))?$", dockerfile(), flags=re.MULTILINE)[1:]
    return {name or "default": text for name, text in zip(found[1::3], found[2::3], strict=True)}


def test_an_image_without_a_target_is_the_driver_s() -> None:
    assert dockerfile().rstrip().splitlines()[-1] == "FROM driver"


@pytest.mark.parametrize("stage", ["driver", "simulator"])
def test_an_image_says_its_version_its_commit_and_its_base(stage: str) -> None:
    text = stages()[stage]
    for label, argument in (("version", "VERSION"), ("revision", "REVISION"), ("base.name", "BASE")):
        assert f'org.opencontainers.image.{label}="${{{argument}}}"' in text
        assert re.search(rf"^ARG {argument}\b", text, re.MULTILINE)


def test_python_packages_are_installed_by_hash_in_every_stage() -> None:
    commands = [line for line in re.split(r"(?<!\\)\n", dockerfile()) if "pip" in line and "install" in line]
    installs = [
        part for line in commands for part in line.split("&&") if re.search(r"pip\S* .*install", part)
    ]
    assert len(installs) > 4
    for each in installs:
        assert any(word in each for word in ("--require-hashes", "/wheels/*.whl", "apt-get")), each


def test_the_driver_s_image_has_no_program_that_nothing_starts() -> None:
    assert "apt-get" not in stages()["driver"]
    assert "nvme" not in dockerfile()
