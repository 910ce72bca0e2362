"""``make release``: what a release needs, how it is built, and what has to be published where.

Without options it changes nothing: it checks, and shows the commands. With ``--run`` it runs them: it builds
everything into dist/, and sets the tag at the end, when all of it has succeeded. It never publishes.
dist/PUBLISH.md has the commands for that, for a person to run.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from csi_powerflex import __version__

ROOT = Path(__file__).parent.parent.parent
_DIST = "dist"
_BASE = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Settings:
    """How to build. The fields are those of the Makefile's variables; ``folder`` is the clone."""

    folder: Path
    helm: str
    container: str
    registry: str
    base: str
    version: str = __version__

    @property
    def tag(self) -> str:
        """The git tag of the version."""
        return f"v{self.version}"


# --- checks ----------------------------------------------------------------------------------------


def problems(settings: Settings) -> Iterator[str]:
    """What is missing for a release: each says what was found and what to do."""
    folder, version = settings.folder, settings.version
    changes = _git(folder, "status", "--porcelain").splitlines()
    if changes:
        yield f"{len(changes)} files are not committed: commit or remove them"
    if _git(folder, "tag", "--list", settings.tag):
        yield f"the tag {settings.tag} exists already: set another version in csi_powerflex/_version.py"
    chart = yaml.safe_load((folder / "charts/csi-powerflex/Chart.yaml").read_text(encoding="utf-8"))
    for key in ("version", "appVersion"):
        if chart[key] != version:
            yield f"the chart's {key} is {chart[key]}, and the driver's version is {version}: set Chart.yaml"
    changelog = (folder / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## {re.escape(version)} - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE):
        yield f"CHANGELOG.md has no heading '## {version} - <year-month-day>': rename '## Unreleased' to it"
    if not _BASE.fullmatch(settings.base):
        yield (
            f"BASE is {settings.base or 'not set'}: give the base image with its digest, as in "
            "BASE=debian:trixie-slim@sha256:...; docker buildx imagetools inspect debian:trixie-slim shows it"
        )
    if settings.registry in ("", "localhost"):
        yield "REGISTRY is localhost: give the registry that the images will be pushed to"


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


# --- commands --------------------------------------------------------------------------------------


def commands(settings: Settings) -> list[list[str]]:
    """The commands of a release, in their order. The tag is the last one."""
    build = [
        "make",
        f"CONTAINER={settings.container}",
        f"REGISTRY={settings.registry}",
        f"BASE={settings.base}",
    ]
    package = [settings.helm, "package", "charts/csi-powerflex", "--destination", _DIST]
    return [
        ["make", "check"],
        ["make", "test", "ARGS=--complete"],
        ["make", "audit"],
        [".venv-supply/bin/uv", "build", "--quiet", "--out-dir", _DIST],
        package,
        [*build, "image"],
        [*build, "sbom"],
        ["cp", "deploy/csi-powerflex.yaml", _DIST],
        ["git", "tag", "--annotate", settings.tag, "--message", f"csi-powerflex {settings.version}"],
    ]


def publication(settings: Settings) -> list[tuple[str, str, str]]:
    """What has to be published: what it is, where it goes, and the command."""
    version, registry = settings.version, settings.registry
    push = f"{settings.container} push"
    return [
        ("the tag", "the git repository", f"git push origin {settings.tag}"),
        ("the driver's image", registry, f"{push} {registry}/csi-powerflex:{version}"),
        ("the simulator's image", registry, f"{push} {registry}/csi-powerflex-simulator:{version}"),
        ("the mover's image", registry, f"{push} {registry}/csi-powerflex-mover:{version}"),
        ("the chart", registry, f"helm push {_DIST}/csi-powerflex-{version}.tgz oci://{registry}/charts"),
        ("the Python package", "PyPI", f"twine upload {_DIST}/csi_powerflex-{version}*"),
        (
            "plain manifests, sbom.json, SHA256SUMS",
            "the files of the release, next to the tag",
            f"upload {_DIST}/csi-powerflex.yaml, {_DIST}/sbom.json and {_DIST}/SHA256SUMS",
        ),
    ]


def page(settings: Settings) -> str:
    """dist/PUBLISH.md."""
    rows = [f"| {what} | {where} | `{command}` |" for what, where, command in publication(settings)]
    return "\n".join(
        [
            f"# Publishing csi-powerflex {settings.version}",
            "",
            "Nothing is published yet. Compare the files with SHA256SUMS, then run from the top:",
            "",
            "| what | where | command |",
            "| --- | --- | --- |",
            *rows,
            "",
            "After that, write the images' digests into the release's text, for the chart's `image.digest`.",
            "",
        ]
    )


def checksums(folder: Path) -> str:
    """SHA256SUMS of the files in ``folder``, as sha256sum writes it."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}"
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name not in ("SHA256SUMS", "PUBLISH.md")
    ]
    return "\n".join([*lines, ""])


# --- the program -----------------------------------------------------------------------------------


def run(settings: Settings, steps: Sequence[Sequence[str]]) -> None:
    """Run the commands, and write SHA256SUMS and PUBLISH.md before the last one, which sets the tag.

    Raises:
        SystemExit: a command failed. The tag is not set.
    """
    dist = settings.folder / _DIST
    dist.mkdir(exist_ok=True)
    if any(dist.iterdir()):
        sys.exit(f"{dist} is not empty: remove what is in it")
    for number, step in enumerate(steps):
        if number == len(steps) - 1:
            (dist / "SHA256SUMS").write_text(checksums(dist), encoding="utf-8")
            (dist / "PUBLISH.md").write_text(page(settings), encoding="utf-8")
        _say(f"$ {shlex.join(step)}")
        done = subprocess.run(step, cwd=settings.folder, check=False)
        if done.returncode:
            sys.exit(f"{step[0]} ended with {done.returncode}: the release is not tagged")
    _say(f"built in {dist}; {dist}/PUBLISH.md says what to publish where")


def main() -> int:
    """Check and show, or run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make release")
    parser.add_argument("helm")
    parser.add_argument("--run", action="store_true", help="build and tag, instead of showing how")
    asked = parser.parse_args()
    settings = Settings(
        folder=ROOT,
        helm=asked.helm,
        container=os.environ.get("CONTAINER") or "docker",
        registry=os.environ.get("REGISTRY") or "localhost",
        base=os.environ.get("BASE") or "",
    )
    missing = list(problems(settings))
    for problem in missing:
        _say(f"MISSING: {problem}")
    steps = commands(settings)
    if not asked.run:
        _say("with ARGS=--run, these commands run:")
        for step in steps:
            _say(f"  {shlex.join(step)}")
        _say(f"{_DIST}/PUBLISH.md will say:")
        for what, where, command in publication(settings):
            _say(f"  {what} to {where}: {command}")
    elif not missing:
        run(settings, steps)
    return 1 if missing else 0


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - this is its output


if __name__ == "__main__":
    sys.exit(main())
