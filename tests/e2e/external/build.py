"""Builds Kubernetes' storage suites, and the image of their pods, into .cache/e2e/external.

Their versions are those of tests/e2e/toolchain/kubernetes/go.mod.
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.commands import output_of
from tests.e2e import build
from tests.e2e.built import CACHE

FOLDER = CACHE / "external"
SUITES = FOLDER / "e2e.test"
GINKGO = FOLDER / "ginkgo"
IMAGE = FOLDER / "agnhost.tar"
IMAGE_NAME = "localhost/e2e-agnhost:1"
REFERENCES = FOLDER / "images"
"""The references of all images that the suites may ask for, one on each line."""

_AGNHOST = FOLDER / "agnhost"
_AGNHOST_PACKAGE = "k8s.io/kubernetes/test/images/agnhost"
_GINKGO_PACKAGE = "github.com/onsi/ginkgo/v2/ginkgo"

# The suites look at a node's mounts through its process 1. Here the nodes share one process namespace with
# everything else, so the file NODE_FILE of each node names a process that has the node's mounts.
NODE_FILE = Path("/run/e2e-node")
_NSENTER = f"""#!/bin/sh
case "$1" in
    --mount=/rootfs/proc/1/ns/mnt)
        shift
        exec /usr/bin/nsenter "--mount=/rootfs/proc/$(cat /rootfs{NODE_FILE})/ns/mnt" "$@" ;;
    *)  exec /usr/bin/nsenter "$@" ;;
esac
"""


def main() -> None:
    """Build everything. The end-to-end tests' own build must be there."""
    for what, step in (("Kubernetes' storage suites", suites), ("the image of their pods", image)):
        began = time.monotonic()
        print(f"{what} ...", end=" ", flush=True)
        print(f"{'built' if step() else 'there'} ({time.monotonic() - began:.0f} s)", flush=True)


def suites() -> bool:
    """Build the suites, their runner and their helper; returns whether it was necessary."""
    sources = [path for path in build.KUBERNETES.rglob("*") if path.is_file()]
    return build.made_of([Path(__file__), *sources], FOLDER / "suites.stamp", _build_suites)


def _build_suites() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    module = build.KUBERNETES
    build.compile_programs(
        "test", "-c", "-vet=off", *build.flags(), f"-o={SUITES}", "./suites", folder=module
    )
    build.compile_programs(
        "build", *build.flags(), f"-o={FOLDER}/", _AGNHOST_PACKAGE, _GINKGO_PACKAGE, folder=module
    )
    listed = output_of([SUITES, "-list-images", "-kubeconfig=/dev/null"]).splitlines()
    REFERENCES.write_text("\n".join(line for line in listed if "/" in line and " " not in line))


def image() -> bool:
    """Build a Debian with agnhost; returns whether it was necessary.

    The suites write with options of GNU's dd, which busybox does not have.
    """
    sources = [FOLDER / "suites.stamp", *CACHE.glob("base-*.stamp")]
    return build.made_of(sources, FOLDER / "image.stamp", _build_image)


def _build_image() -> None:
    wrapper = FOLDER / "nsenter"
    wrapper.write_text(_NSENTER)
    container = build.buildah("from", "--pull-never", build.BASE_IMAGE)
    build.buildah("copy", "--quiet", "--chmod=755", container, wrapper, "/usr/local/bin/nsenter")
    build.buildah("copy", "--quiet", "--chmod=755", container, _AGNHOST, "/agnhost")
    entrypoint = '--entrypoint=["/agnhost"]'
    path = "--env=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    build.buildah("config", entrypoint, "--cmd=pause", path, container)
    build.buildah("commit", "--quiet", "--rm", container, IMAGE_NAME)
    IMAGE.unlink(missing_ok=True)
    build.buildah("push", "--quiet", IMAGE_NAME, f"docker-archive:{IMAGE}:{IMAGE_NAME}")


def references(*names: str) -> list[str]:
    """The references of the images with these names, such as ``busybox``."""
    found = REFERENCES.read_text().splitlines()
    return [each for each in found if each.rpartition("/")[2].partition(":")[0] in names]


if __name__ == "__main__":
    main()
