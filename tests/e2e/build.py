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
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "e2e"
BIN = CACHE / "bin"
HELM = ROOT / ".cache" / "bin" / "helm"
"""Made by make, for the tests of the chart too."""
IMAGES = CACHE / "images"
_TOOLCHAIN = ROOT / "tests" / "e2e" / "toolchain"
_KUBERNETES, _SIDECARS = _TOOLCHAIN / "kubernetes", _TOOLCHAIN / "sidecars"

PACKAGES = {
    "buildah": "buildah",
    "busybox": "busybox-static",
    "containerd": "containerd",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "nft": "nftables",
    "runc": "runc",
}
"""A command of each Debian package that is needed."""

_SUITE = "trixie"
_BASE = "localhost/e2e-base"
_SNAPSHOT_CLIENT = "github.com/kubernetes-csi/external-snapshotter/client/v8"
_MONITORS = "github.com/prometheus-operator/prometheus-operator@v0.85.0"

DRIVER_IMAGE = "localhost/csi-powerflex"
SIMULATOR_IMAGE = "localhost/csi-powerflex-simulator"
BUSYBOX_IMAGE = "docker.io/library/busybox:1.37"
PAUSE_IMAGE = "e2e.test/pause:1"
FOLDERS_IMAGE = "e2e.test/folders:1"

SIDECARS = {
    "csi-attacher": "github.com/kubernetes-csi/external-attacher/v4",
    "csi-provisioner": "github.com/kubernetes-csi/external-provisioner/v6",
    "csi-resizer": "github.com/kubernetes-csi/external-resizer/v2",
    "csi-snapshotter": "github.com/kubernetes-csi/external-snapshotter/v8",
}
"""The upstream sidecars and the modules that they are built from."""

STAND_INS = {"csi-node-driver-registrar": "registrar", "livenessprobe": "livenessprobe"}
"""Sidecars that the Go module proxy does not have, and ours in their place (sidecars/registrar says why)."""


def main() -> None:
    """Build everything."""
    for what, build in (
        ("Kubernetes, etcd, CoreDNS and the sidecars", binaries),
        ("the Debian base image", base_image),
        ("the driver's and the simulator's image", project_images),
        ("images of single programs", program_images),
    ):
        began = time.monotonic()
        print(f"{what} ...", end=" ", flush=True)  # noqa: T201 - a command
        print(f"{'built' if build() else 'there'} ({time.monotonic() - began:.0f} s)", flush=True)  # noqa: T201


# --- programs --------------------------------------------------------------------------------------


def version_of(sidecar: str) -> str:
    """The version of an upstream sidecar that is built, such as v4.13.0."""
    # Provisioner 6.3 is for the client-go of Kubernetes 1.36; of 6.4, the proxy lacks a library.
    folder = _KUBERNETES if sidecar == "csi-provisioner" else _SIDECARS
    return _go("list", "-m", "-f", "{{.Version}}", SIDECARS[sidecar], folder=folder)


def snapshot_crds() -> list[Path]:
    """The files with the snapshot APIs' definitions, as the module with their client brings them."""
    folder = _go("list", "-m", "-f", "{{.Dir}}", _SNAPSHOT_CLIENT, folder=_SIDECARS)
    return sorted(Path(folder, "config", "crd").glob("*storage.k8s.io_*.yaml"))


def monitor_crd() -> Path:
    """The file with the ServiceMonitor's definition; of the module that has it nothing is compiled."""
    folder = json.loads(_go("mod", "download", "-json", _MONITORS, folder=_SIDECARS))["Dir"]
    return Path(folder, "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml")


def _go(*arguments: str, folder: Path) -> str:
    done = subprocess.run(["go", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def binaries() -> bool:
    """Build all Go programs, those of a module at once; whether there was need to."""
    sources = [path for path in _TOOLCHAIN.rglob("*") if path.is_file()]
    return _made_of(sources, CACHE / "binaries.stamp", _build_binaries)


def _build_binaries() -> None:
    version = _go("list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes", folder=_KUBERNETES)
    major, minor, _ = version.removeprefix("v").split(".")
    stamp = "k8s.io/component-base/version."
    flags = f"-s -w -X {stamp}gitVersion={version} -X {stamp}gitMajor={major} -X {stamp}gitMinor={minor}"
    BIN.mkdir(parents=True, exist_ok=True)
    for folder in (_KUBERNETES, _SIDECARS):
        subprocess.run(
            ["go", "build", "-mod=readonly", "-trimpath", f"-ldflags={flags}", f"-o={BIN}/", "tool"],
            cwd=folder,
            env={**os.environ, "CGO_ENABLED": "0"},
            check=True,
        )
    (BIN / "server").rename(BIN / "etcd")


# --- images ----------------------------------------------------------------------------------------


def _buildah(*arguments: str | Path) -> str:
    folder = CACHE / "storage"
    done = subprocess.run(
        [
            "buildah",
            f"--root={folder}/root",
            f"--runroot={folder}/run",
            *map(str, arguments),
        ],
        env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def base_image() -> bool:
    """Make a small Debian, in place of the one that a registry would have; whether there was need to."""
    return _made_of([], CACHE / f"base-{_SUITE}.stamp", _build_base)


def _build_base() -> None:
    folder = CACHE / "base"
    shutil.rmtree(folder, ignore_errors=True)
    mirror = _debian_mirror()
    command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", _SUITE, str(folder), mirror]
    log = CACHE / "debootstrap.log"
    with log.open("wb") as output:
        if subprocess.run(command, stdout=output, stderr=output, check=False).returncode:
            raise SystemExit(f"debootstrap failed: see {log}")
    slim = folder / "etc/dpkg/dpkg.cfg.d/slim"
    for unwanted in ("doc", "info", "locale", "man"):
        with slim.open("a") as rules:
            rules.write(f"path-exclude /usr/share/{unwanted}/*\n")
        shutil.rmtree(folder / "usr/share" / unwanted, ignore_errors=True)
    for cache in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(folder / cache, ignore_errors=True)
    container = _buildah("from", "scratch")
    _buildah("add", "--quiet", container, folder, "/")
    _buildah("commit", "--quiet", "--rm", container, _BASE)
    shutil.rmtree(folder)


def _debian_mirror() -> str:
    """The mirror that this machine uses."""
    command = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        origin, _, address = line.partition(" ")
        if origin == "Debian" and "security" not in address:
            return address
    return "http://deb.debian.org/debian"


def app_version() -> str:
    """The driver's version: the tag of its images."""
    values: dict[str, str] = {}
    exec((ROOT / "csi_powerflex" / "_version.py").read_text(), values)  # noqa: S102 - our own file
    return values["__version__"]


def project_images() -> bool:
    """Build both targets of the Dockerfile; whether there was need to."""
    package = [
        path for path in (ROOT / "csi_powerflex").rglob("*") if path.is_file() and path.suffix != ".pyc"
    ]
    files = [ROOT / name for name in ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md")]
    sources = [*package, *files, *(ROOT / "docker").iterdir()]
    return _made_of(sources, CACHE / "project.stamp", _build_project)


def _build_project() -> None:
    version = app_version()
    settings = CACHE / "pip.conf"
    settings.write_text(_pip_settings())
    mounts = [f"--volume={settings}:/etc/pip.conf:ro", "--volume=/etc/ssl/certs:/etc/ssl/certs:ro"]
    for target, image in (("simulator", SIMULATOR_IMAGE), ("driver", DRIVER_IMAGE)):
        _buildah(
            "bud", "--quiet", "--layers", "--pull-never", f"--build-arg=BASE={_BASE}",
            f"--build-arg=VERSION={version}", *mounts, f"--target={target}", f"--tag={image}:{version}", ROOT,
        )  # fmt: skip
        archive = IMAGES / f"{target}.tar"
        IMAGES.mkdir(parents=True, exist_ok=True)
        archive.unlink(missing_ok=True)
        _buildah("push", "--quiet", f"{image}:{version}", f"docker-archive:{archive}:{image}:{version}")
    _buildah("rmi", "--prune")


def _pip_settings() -> str:
    """How pip on this machine reaches its index, as a pip.conf."""
    done = subprocess.run(["pip3", "config", "list"], capture_output=True, text=True, check=True)
    wanted = {"cert", "index-url", "extra-index-url", "proxy", "trusted-host", "timeout", "default-timeout"}
    lines = ["[global]"]
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in wanted:
            lines.append(f"{key.removeprefix('default-')} = {value.strip(chr(39))}")
    return "\n".join(dict.fromkeys(lines)) + "\n"


def program_images() -> bool:
    """Pack each sidecar, and busybox, into an image of nothing else; whether there was need to."""
    sources = [CACHE / "binaries.stamp", ROOT / "charts/csi-powerflex/values.yaml"]
    return _made_of(sources, CACHE / "programs.stamp", _build_programs)


def _build_programs() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    busybox = shutil.which("busybox")
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


def reference_of(image: str) -> str:
    """The reference of a sidecar's image in the chart."""
    import yaml  # noqa: PLC0415 - only here

    values = yaml.safe_load((ROOT / "charts/csi-powerflex/values.yaml").read_text())
    (tag,) = (
        sidecar["image"]["tag"]
        for sidecar in values["sidecars"].values()
        if sidecar["image"]["repository"] == f"sig-storage/{image}"
    )
    return f"registry.k8s.io/sig-storage/{image}:{tag}"


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
    done = subprocess.run([program, "--list"], capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split() if name != "busybox"]


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


# --- what is up to date ----------------------------------------------------------------------------


def _made_of(sources: Sequence[Path], stamp: Path, build: Callable[[], None]) -> bool:
    """Build unless ``stamp`` tells that it was done with just these sources; whether it was."""
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
        yield str(path).encode() + hashlib.sha256(path.read_bytes()).digest()


if __name__ == "__main__":
    main()
