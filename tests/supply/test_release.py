"""``make release``: what it asks for, and that it tags last and publishes nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
from pathlib import Path

import pytest

from csi_powerflex import __version__
from tests.supply import release
from tests.supply.release import ROOT, Settings

BASE = f"debian:trixie-slim@sha256:{'0' * 64}"
CHANGELOG = "# Changelog\n\n## {version} - 2026-01-31\n"


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def ready(tmp_path: Path) -> Settings:
    """A clone from which a release is possible."""
    folder = tmp_path / "clone"
    (folder / "charts/csi-powerflex").mkdir(parents=True)
    chart = (ROOT / "charts/csi-powerflex/Chart.yaml").read_text(encoding="utf-8")
    (folder / "charts/csi-powerflex/Chart.yaml").write_text(chart)
    (folder / "CHANGELOG.md").write_text(CHANGELOG.format(version=__version__))
    (folder / ".gitignore").write_text("dist/\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "all")
    return Settings(folder, helm="helm", container="docker", registry="registry.example.org", base=BASE)


def test_nothing_is_missing_in_a_clone_that_is_ready(ready: Settings) -> None:
    assert list(release.problems(ready)) == []


def test_each_thing_that_is_missing_is_named_with_what_to_do(ready: Settings) -> None:
    git(ready.folder, "tag", f"v{__version__}")
    (ready.folder / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n")
    (ready.folder / "charts/csi-powerflex/Chart.yaml").write_text("version: 9.9.9\nappVersion: 9.9.9\n")
    wrong = dataclasses.replace(ready, base="debian:trixie-slim", registry="localhost")
    found = "\n".join(release.problems(wrong))
    for words in (
        "2 files are not committed",
        f"the tag v{__version__} exists already",
        f"the chart's version is 9.9.9, and the driver's version is {__version__}",
        "the chart's appVersion is 9.9.9",
        f"CHANGELOG.md has no heading '## {__version__} - <year-month-day>'",
        "BASE is debian:trixie-slim: give the base image with its digest",
        "REGISTRY is localhost",
    ):
        assert words in found


def test_the_tag_is_the_last_command_and_no_command_publishes(ready: Settings) -> None:
    steps = release.commands(ready)
    assert steps[-1][:2] == ["git", "tag"]
    for step in steps:
        assert not {"push", "upload", "publish"} & set(step)
    assert ["make", "test", "ARGS=--complete"] in steps


def test_the_checksums_and_the_list_of_what_to_publish_are_written_before_the_tag(ready: Settings) -> None:
    steps = [["sh", "-c", "echo chart > dist/chart.tgz"], ["git", "tag", ready.tag]]
    release.run(ready, steps)
    dist = ready.folder / "dist"
    digest = hashlib.sha256(b"chart\n").hexdigest()
    assert (dist / "SHA256SUMS").read_text() == f"{digest}  chart.tgz\n"
    page = (dist / "PUBLISH.md").read_text()
    assert f"`docker push registry.example.org/csi-powerflex:{__version__}`" in page
    assert f"`git push origin v{__version__}`" in page
    assert git(ready.folder, "tag") == ready.tag


def test_a_command_that_fails_ends_the_release_without_a_tag(ready: Settings) -> None:
    with pytest.raises(SystemExit, match="false ended with 1: the release is not tagged"):
        release.run(ready, [["false"], ["git", "tag", ready.tag]])
    assert git(ready.folder, "tag") == ""


def test_files_of_an_earlier_build_are_not_released(ready: Settings) -> None:
    (ready.folder / "dist").mkdir()
    (ready.folder / "dist/old.tgz").touch()
    with pytest.raises(SystemExit, match="is not empty: remove what is in it"):
        release.run(ready, [["true"]])


def test_make_labels_the_images_with_version_and_commit() -> None:
    shown = subprocess.run(
        [
            "make",
            "--dry-run",
            "image",
            "sbom",
            "CONTAINER=podman",
            "REGISTRY=registry.example.org",
            f"BASE={BASE}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    commands = [line for line in shown.splitlines() if line.startswith("podman build")]
    head = git(ROOT, "rev-parse", "HEAD")
    for command in commands:
        assert f"VERSION={__version__} --build-arg REVISION={head}" in command
        assert f"--build-arg BASE={BASE}" in command
    images = {"driver": "", "simulator": "-simulator", "operator": "-operator", "mover": "-mover"}
    for (target, suffix), command in zip(images.items(), commands[:-1], strict=True):
        assert f"--target {target} --tag registry.example.org/csi-powerflex{suffix}:{__version__}" in command
    assert "--target sbom --output dist" in commands[-1]
