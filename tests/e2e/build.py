"""Builds what the end-to-end tests run, into .cache/e2e: Kubernetes, its tools, and images in archives.

Everything comes from Debian's packages, the Go module proxy and the Python package index, as this machine is
set up to reach them. ``python -m tests.e2e.build`` builds what is missing or older than what it is made from.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests import registries, tools
from tests.commands import output_of
from tests.e2e.built import (
    BIN,
    BUSYBOX_IMAGE,
    CACHE,
    CRDS,
    DRIVER_IMAGE,
    FOLDERS_IMAGE,
    IMAGES,
    MOVER_IMAGE,
    OPERATOR_IMAGE,
    PAUSE_IMAGE,
    ROOT,
    SIMULATOR_IMAGE,
    STAND_INS,
    VERSIONS,
    app_version,
    reference_of,
    version_of,
)

_TOOLCHAIN = ROOT / "tests" / "e2e" / "toolchain"
KUBERNETES, _SIDECARS = _TOOLCHAIN / "kubernetes", _TOOLCHAIN / "sidecars"

_SUITE = "trixie"
BASE_IMAGE = "localhost/e2e-base"
_SNAPSHOT_CLIENT = "github.com/kubernetes-csi/external-snapshotter/client/v8"
_MONITORS = "github.com/prometheus-operator/prometheus-operator@v0.85.0"

SIDECARS = {
    "csi-attacher": "github.com/kubernetes-csi/external-attacher/v4",
    "csi-provisioner": "github.com/kubernetes-csi/external-provisioner/v6",
    "csi-resizer": "github.com/kubernetes-csi/external-resizer/v2",
    "csi-snapshotter": "github.com/kubernetes-csi/external-snapshotter/v8",
}
"""The upstream sidecars and the modules that they are built from."""


def main() -> None:
    """Build everything."""
    for what, build in (
        ("Kubernetes, etcd, CoreDNS and the sidecars", binaries),
        ("the Debian base image", base_image),
        ("the images of driver, simulator, operator and mover", project_images),
        ("images of single programs", program_images),
    ):
        began = time.monotonic()
        print(f"{what} ...", end=" ", flush=True)
        print(f"{'built' if build() else 'there'} ({time.monotonic() - began:.0f} s)", flush=True)


# --- programs --------------------------------------------------------------------------------------


def _version_of(sidecar: str) -> str:
    # Provisioner 6.3 is for the client-go of Kubernetes 1.36; of 6.4, the proxy lacks a library.
    folder = KUBERNETES if sidecar == "csi-provisioner" else _SIDECARS
    return go("list", "-m", "-f", "{{.Version}}", SIDECARS[sidecar], folder=folder)


def go(*arguments: str, folder: Path) -> str:
    """The output of a go command in a module's folder."""
    return output_of(["go", *arguments], folder=folder)


def binaries() -> bool:
    """Build all Go programs, all of a module together; returns whether it was necessary."""
    sources = [Path(__file__), *(path for path in _TOOLCHAIN.rglob("*") if path.is_file())]
    return made_of(sources, CACHE / "binaries.stamp", _build_binaries)


def flags() -> list[str]:
    """The arguments of builds. The Makefile has the same, so nothing is compiled twice."""
    version = go("list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes", folder=KUBERNETES)
    major, minor, _ = version.removeprefix("v").split(".")
    stamp = "k8s.io/component-base/version."
    names = f"-X {stamp}gitVersion={version} -X {stamp}gitMajor={major} -X {stamp}gitMinor={minor}"
    return ["-mod=readonly", "-trimpath", f"-ldflags=-s -w {names}"]


def compile_programs(*arguments: str, folder: Path) -> None:
    """Run a go command that compiles programs without C."""
    output_of(["go", *arguments], folder=folder, environment={**os.environ, "CGO_ENABLED": "0"})


def _build_binaries() -> None:
    BIN.mkdir(parents=True, exist_ok=True)
    for folder in (KUBERNETES, _SIDECARS):
        compile_programs("build", *flags(), f"-o={BIN}/", "tool", folder=folder)
    (BIN / "server").rename(BIN / "etcd")
    VERSIONS.write_text(json.dumps({sidecar: _version_of(sidecar) for sidecar in SIDECARS}))
    shutil.rmtree(CRDS, ignore_errors=True)
    CRDS.mkdir()
    for definition in _definitions():
        shutil.copy(definition, CRDS)


def _definitions() -> Iterator[Path]:
    """The files with the custom resources of the cluster."""
    snapshots = go("list", "-m", "-f", "{{.Dir}}", _SNAPSHOT_CLIENT, folder=_SIDECARS)
    yield from Path(snapshots, "config", "crd").glob("*storage.k8s.io_*.yaml")
    monitors = json.loads(go("mod", "download", "-json", _MONITORS, folder=_SIDECARS))["Dir"]
    for kind in ("servicemonitors", "prometheusrules"):
        yield Path(monitors, f"example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml")


# --- images ----------------------------------------------------------------------------------------


def buildah(*arguments: str | Path) -> str:
    """The output of a buildah command with the images of the end-to-end tests."""
    storage = CACHE / "storage"
    return output_of(
        ["buildah", f"--root={storage}/root", f"--runroot={storage}/run", *arguments],
        environment={**os.environ, "BUILDAH_ISOLATION": "chroot"},
    )


def base_image() -> bool:
    """Create a small Debian image, as a registry has it; returns whether it was necessary."""
    return made_of([], CACHE / f"base-{_SUITE}.stamp", _build_base)


def _build_base() -> None:
    folder = CACHE / "base"
    shutil.rmtree(folder, ignore_errors=True)
    minimal = ["debootstrap", "--variant=minbase", "--include=ca-certificates"]
    output_of([*minimal, _SUITE, folder, *registries.debian_mirror()])
    slim = folder / "etc/dpkg/dpkg.cfg.d/slim"
    for unwanted in ("doc", "info", "locale", "man"):
        with slim.open("a") as rules:
            rules.write(f"path-exclude /usr/share/{unwanted}/*\n")
        shutil.rmtree(folder / "usr/share" / unwanted, ignore_errors=True)
    for cache in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(folder / cache, ignore_errors=True)
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, folder, "/")
    buildah("commit", "--quiet", "--rm", container, BASE_IMAGE)
    shutil.rmtree(folder)


def project_images() -> bool:
    """Build the targets of the Dockerfile; returns whether it was necessary."""
    package = [
        path for path in (ROOT / "csi_powerflex").rglob("*") if path.is_file() and path.suffix != ".pyc"
    ]
    files = [ROOT / name for name in ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md")]
    sources = [*package, *files, *(ROOT / "docker").iterdir()]
    return made_of(sources, CACHE / "project.stamp", _build_project)


def _build_project() -> None:
    version = app_version()
    settings = CACHE / "pip.conf"
    settings.write_text(registries.pip_settings())
    mounts = [f"--volume={settings}:/etc/pip.conf:ro", "--volume=/etc/ssl/certs:/etc/ssl/certs:ro"]
    images = {
        "simulator": SIMULATOR_IMAGE,
        "driver": DRIVER_IMAGE,
        "operator": OPERATOR_IMAGE,
        "mover": MOVER_IMAGE,
    }
    for target, image in images.items():
        buildah(
            "bud", "--quiet", "--layers", "--force-rm", "--pull-never", f"--build-arg=BASE={BASE_IMAGE}",
            f"--build-arg=VERSION={version}", *mounts, f"--target={target}", f"--tag={image}:{version}", ROOT,
        )  # fmt: skip
        archive = IMAGES / f"{target}.tar"
        IMAGES.mkdir(parents=True, exist_ok=True)
        archive.unlink(missing_ok=True)
        buildah("push", "--quiet", f"{image}:{version}", f"docker-archive:{archive}:{image}:{version}")
    buildah("rmi", "--prune")


def program_images() -> bool:
    """Pack each sidecar, and busybox, into its own image; returns whether it was necessary."""
    sources = [CACHE / "binaries.stamp", ROOT / "charts/csi-powerflex/values.yaml"]
    return made_of(sources, CACHE / "programs.stamp", _build_programs)


def _build_programs() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    busybox = tools.located("busybox")
    assert busybox is not None
    _pack("busybox", BUSYBOX_IMAGE, Path(busybox), command=["/bin/sh"], busybox=True)
    _pack("pause", PAUSE_IMAGE, Path(busybox), command=["/bin/sleep", "1000000000"], busybox=True)
    _pack("folders", FOLDERS_IMAGE, BIN / "folders", entrypoint=["/bin/folders"])
    for name in SIDECARS:
        _pack(
            name,
            f"registry.k8s.io/sig-storage/{name}:{version_of(name)}",
            BIN / name,
            entrypoint=[f"/bin/{name}"],
        )
    for name, program in STAND_INS.items():
        _pack(name, reference_of(name), BIN / program, entrypoint=[f"/bin/{program}"])


def _pack(
    name: str,
    reference: str,
    program: Path,
    *,
    entrypoint: Sequence[str] = (),
    command: Sequence[str] = (),
    busybox: bool = False,
) -> None:
    """Write an image of one static program as an archive that containerd imports."""
    links = _applets(program) if busybox else []
    layer = _layer(program, links)
    digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Entrypoint": entrypoint or None, "Cmd": command or None},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps(
        [{"Config": config_name, "RepoTags": [reference], "Layers": ["layer.tar"]}]
    ).encode()
    with tarfile.open(IMAGES / f"{name}.tar", "w") as archive:
        for file, data in ((config_name, config), ("layer.tar", layer), ("manifest.json", manifest)):
            _add(archive, file, data, 0o644)


def _applets(program: Path) -> list[str]:
    return [name for name in output_of([program, "--list"]).split() if name != "busybox"]


def _layer(program: Path, links: Sequence[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for folder in ("bin", "dev", "etc", "proc", "registration", "sys", "tmp"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            layer.addfile(entry)
        _add(layer, f"bin/{program.name}", program.read_bytes(), 0o755)
        for link in links:
            entry = tarfile.TarInfo(f"bin/{link}")
            entry.type, entry.linkname = tarfile.SYMTYPE, program.name
            layer.addfile(entry)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


# --- stamps ----------------------------------------------------------------------------------------


def made_of(sources: Sequence[Path], stamp: Path, build: Callable[[], None]) -> bool:
    """Build unless ``stamp`` shows that the same sources were built; returns whether it has built.

    A copy of the whole repository, with the cache, needs no new build.
    """
    wanted = _fingerprint(sources)
    if stamp.exists() and stamp.read_text() == wanted:
        return False
    CACHE.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    build()
    stamp.write_text(wanted)
    return True


def _fingerprint(sources: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(_described(sources))).hexdigest()


def _described(sources: Sequence[Path]) -> Iterator[bytes]:
    for path in sorted(sources):
        yield str(path.relative_to(ROOT)).encode() + hashlib.sha256(path.read_bytes()).digest()


if __name__ == "__main__":
    main()
