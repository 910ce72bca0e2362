"""Runs Kubernetes' own storage suites against the driver: ``python -m tests.e2e.external.run [OPTIONS]``.

The cluster, the simulated array and the chart are those of the end-to-end tests, in the same namespaces. The
results are a table, and the reasons of what was skipped or has failed. The exit status is not 0 if something
failed for a reason that ``results.KNOWN`` does not have.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e import build as cluster_build, built
from tests.e2e.cluster import DRIVER, Cluster, running
from tests.e2e.external import build, results
from tests.e2e.external.definition import STORAGE_CLASSES, definition
from tests.e2e.external.memory import memory_table
from tests.e2e.external.results import GROWING, Known
from tests.e2e.machine_limits import may_grow_ext4
from tests.e2e.processes import NotReady
from tests.e2e.run import FOLDER_VARIABLE, new_folder, prepared, run_inside

_DESCRIPTION = "Runs Kubernetes' own storage suites against the driver, in the cluster of make e2e."
_LOGS = build.FOLDER / "logs"
_QUICK = r"\[(Slow|Disruptive|Serial)\]"
_IMMEDIATE_SUITE = "volume-modify-stress"
_OF_DEFAULT_FILESYSTEM = r"\(default fs\)"
# A suite fills a node with volumes up to its limit. The limit of PowerFlex would let it create thousands.
_MAX_VOLUMES = 64
# The suites ask for 1 MiB for volumes of groups, also if the definition has another size. They ask for 1 MiB
# again when they restore a snapshot, which has 8 GiB, and the provisioner refuses that. So they get 8 GiB.
_GROUP_CLAIMS = "claims-of-group-suites"
_ENOUGH = "8Gi"
_REQUEST = "object.spec.resources.requests['storage']"


@dataclass(frozen=True, slots=True)
class Run:
    """One call of Ginkgo. ``name`` is a filesystem, or says what is different."""

    name: str
    filesystem: str
    focus: str
    skip: str
    immediate: bool = False


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="make e2e-external ARGS=", description=_DESCRIPTION)
    made.add_argument(
        "--all", action="store_true", help="also slow, serial and disruptive specs, on each filesystem"
    )
    made.add_argument("--focus", metavar="REGEX", default="", help="only specs with such a name")
    made.add_argument("--skip", metavar="REGEX", default="", help="no specs with such a name")
    made.add_argument(
        "--filesystems",
        type=_filesystems,
        metavar="NAMES",
        help=f"default filesystems, of {', '.join(STORAGE_CLASSES)}; default: ext4, with --all each of them",
    )
    made.add_argument("--processes", type=int, metavar="N", default=4, help="how many specs run at a time")
    made.add_argument(
        "--minutes", type=int, metavar="N", default=600, help="end each of the runs after this time"
    )
    made.add_argument(
        "--logs", type=Path, metavar="FOLDER", default=_LOGS, help=f"default: {_LOGS.relative_to(built.ROOT)}"
    )
    return made


def _filesystems(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in STORAGE_CLASSES]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
    return names


def runs(options: argparse.Namespace, left_out: Mapping[str, Sequence[Known]]) -> list[Run]:
    """The calls of Ginkgo for these options, without the specs that are left out, by filesystem.

    Specs that do not use the default filesystem run once.
    """
    common = [options.skip, "" if options.all else _QUICK]
    first, *others = options.filesystems or (list(STORAGE_CLASSES) if options.all else ["ext4"])

    def run(filesystem: str, *focus: str) -> Run:
        names = (known.name for known in left_out.get(filesystem, ()))
        return Run(
            filesystem, filesystem, _focus(options.focus, *focus), _any(*common, *names, _IMMEDIATE_SUITE)
        )

    found = [run(first), *(run(name, _OF_DEFAULT_FILESYSTEM) for name in others)]
    if options.all and not options.focus:
        # Each of its volumes must be there before the class changes.
        found.append(
            Run(f"{first}, immediate", first, _focus(_IMMEDIATE_SUITE), _any(*common), immediate=True)
        )
    return found


def impossible_here() -> dict[str, Sequence[Known]]:
    """The specs that cannot succeed on this machine, by filesystem. Each would wait for ten minutes."""
    return {} if may_grow_ext4() else {"ext4": GROWING}


def _any(*expressions: str) -> str:
    return "|".join(filter(None, expressions))


def _focus(*parts: str) -> str:
    """A regular expression for names in which all parts are found in some order."""
    # Ginkgo's expressions have no lookahead, and the pattern with the filesystem is the first part of a name.
    return ".*".join(["External.Storage", *filter(None, reversed(parts))])


def main(arguments: Sequence[str]) -> int:
    """Build what is missing, run the suites, keep their logs; returns the exit status."""
    options = parser().parse_args(arguments)
    if not prepared(cluster_build.main, build.main):
        return 1
    folder = new_folder()
    try:
        return run_inside(folder, [sys.executable, "-m", "tests.e2e.external.run", "--inside", *arguments])
    finally:
        _keep(folder, options.logs)
        shutil.rmtree(folder, ignore_errors=True)
        print(f"logs: {options.logs}")


def _keep(folder: Path, logs: Path) -> None:
    """Copy the results and all logs of a run."""
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    for part in ("control-plane", "array", "worker1", "worker2"):
        (logs / part).mkdir()
        for log in (folder / part).glob("*.log"):
            shutil.copy(log, logs / part)
        if (pods := folder / part / "pod-logs").exists():
            shutil.copytree(pods, logs / part / "pods", symlinks=True)
    with contextlib.suppress(FileNotFoundError):
        shutil.copytree(folder / "results", logs, dirs_exist_ok=True)


# --- in the namespaces -----------------------------------------------------------------------------


def inside(folder: Path, options: argparse.Namespace) -> int:
    """Start the cluster with the driver, run the suites, print the results; returns the exit status."""
    out = folder / "results"
    out.mkdir()
    with running(folder) as cluster:
        _prepare(cluster, options)
        left_out = impossible_here()
        chosen = runs(options, left_out)
        found = [result for run in chosen for result in _run(cluster, run, options, out)]
        memory = memory_table()
        left = _left(cluster)
    parts = [results.table(found), results.reasons(found), *_described(left_out), memory]
    parts += [f"Volumes left on the array: {', '.join(left) or 'none'}."]
    text = "\n\n".join(filter(None, parts))
    (out / "results.md").write_text(f"{text}\n")
    print(f"\n{text}", flush=True)
    return not results.is_success(found) or bool(left)


def _left(cluster: Cluster) -> list[str]:
    """The names of the volumes that are left on the array. The last spec does not wait for its own."""
    with contextlib.suppress(NotReady):
        cluster.array.await_volumes(set())
    return sorted(volume["name"] for volume in cluster.array.volumes().values())


def _prepare(cluster: Cluster, options: argparse.Namespace) -> None:
    """Install the chart, and give the nodes the images of the suites."""
    for machine in cluster.machines.values():
        machine.import_image(build.IMAGE)
        machine.tag_image(build.IMAGE_NAME, *build.references("agnhost", "glibc-dns-testing"))
        machine.tag_image(built.BUSYBOX_IMAGE, *build.references("busybox", "nginx"))
        machine.tag_image(built.PAUSE_IMAGE, *build.references("pause"))
        machine.run("sh", "-c", f"echo {machine.pid} >{build.NODE_FILE}")
    cluster.make_secret()
    cluster.install(*([f"--set=node.maxVolumes={_MAX_VOLUMES}"] if options.all else []))
    cluster.kubernetes.apply(*_policy())


def _described(left_out: Mapping[str, Sequence[Known]]) -> Iterator[str]:
    for filesystem, specs in left_out.items():
        for known in specs:
            yield f"Left out on {filesystem}, {known.name}: {known.reason}."


def _policy() -> Iterator[dict[str, object]]:
    group = "admissionregistration.k8s.io/v1"
    change = f'[JSONPatch{{op: "replace", path: "/spec/resources/requests/storage", value: "{_ENOUGH}"}}]'
    yield {
        "apiVersion": group,
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": _GROUP_CLAIMS},
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "resources": ["persistentvolumeclaims"],
                        "operations": ["CREATE"],
                    }
                ]
            },
            "matchConditions": [
                {
                    "name": "suite",
                    "expression": "object.metadata.namespace.startsWith('volumegroupsnapshot')",
                },
                {"name": "small", "expression": f"quantity({_REQUEST}).isLessThan(quantity('{_ENOUGH}'))"},
            ],
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": change}}],
        },
    }
    yield {
        "apiVersion": group,
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": _GROUP_CLAIMS},
        "spec": {"policyName": _GROUP_CLAIMS},
    }


def _run(cluster: Cluster, run: Run, options: argparse.Namespace, out: Path) -> list[results.Result]:
    """Call Ginkgo once; returns its results."""
    folder = out / run.name.replace(", ", "-")
    folder.mkdir()
    (node,) = (
        driver
        for driver in cluster.kubernetes.get("csinodes", "worker1")["spec"]["drivers"]
        if driver["name"] == DRIVER
    )
    described = folder / "driver.json"
    text = json.dumps(definition(run.filesystem, node["topologyKeys"], immediate=run.immediate), indent=1)
    described.write_text(text)
    log = folder / "ginkgo.log"
    began = time.monotonic()
    print(f"{run.name}: {log} ...", end=" ", flush=True)
    with log.open("wb") as output:
        subprocess.run(
            [*_ginkgo(run, options, folder), *_suites(cluster, described)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(cluster),
            check=False,
        )
    print(f"{time.monotonic() - began:.0f} s", flush=True)
    try:
        return results.read(folder / "report.json", run.name)
    except (OSError, ValueError) as error:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        raise SystemExit(f"Ginkgo wrote no report ({error}):\n{last}") from error


def _ginkgo(run: Run, options: argparse.Namespace, folder: Path) -> list[str]:
    return [
        str(build.GINKGO), f"--procs={options.processes}", f"--timeout={options.minutes}m", "--no-color",
        "-v", f"--focus={run.focus}", *([f"--skip={run.skip}"] if run.skip else []),
        "--json-report=report.json", f"--output-dir={folder}", str(build.SUITES), "--",
    ]  # fmt: skip


def _suites(cluster: Cluster, described: Path) -> list[str]:
    return [
        f"-kubeconfig={cluster.kubernetes.kubeconfig}",
        f"-storage.testdriver={described}",
        "-provider=local",
        f"-num-nodes={len(cluster.machines)}",
        "-allowed-not-ready-nodes=0",
        "-dump-logs-on-failure=false",
    ]


def _environment(cluster: Cluster) -> dict[str, str]:
    """That of this process, with kubectl. No proxy leads to the cluster."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "KUBECONFIG": str(cluster.kubernetes.kubeconfig), "PATH": f"{built.BIN}:{kept['PATH']}"}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        sys.exit(inside(Path(os.environ[FOLDER_VARIABLE]), parser().parse_args(sys.argv[2:])))
    sys.exit(main(sys.argv[1:]))
