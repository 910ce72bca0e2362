"""node.sdcOnDemand, without a cluster: the node's container as it is rendered, on a host of its own.

The host is a mount and a PID namespace whose first process has a systemctl and a modprobe that know the SDC.
The container is another mount namespace, and another PID namespace unless the chart says otherwise, with the
chart's mounts of the host and without those tools.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_powerflex.demo.orchestrator import Client, Refused
from csi_powerflex.pb import csi_pb2
from tests.chart import helm as chart
from tests.chart.helm import Case, Manifest
from tests.node.loophost import GUID, SYSTEM, LoopHost

MDMS = "192.0.2.11,192.0.2.12"
# The real tool keeps MDMs in the file that it is given, and writes no other file.
DRV_CFG = """#!/bin/sh
if [ "$1" = --add_mdm ]; then echo "mdm $3" >> "$5"; fi
exec {tool} "$@"
"""
SYSTEMCTL = """#!/bin/sh
exec {tool} "$@"
"""
MODPROBE = """#!/bin/sh
echo modprobe "$@" >> {folder}/calls
rm {folder}/stopped
"""


@pytest.fixture
def host() -> Iterator[LoopHost]:
    """A host whose SDC is installed and does not run."""
    # The path of a socket may have 107 characters, of which a test's own folder would take too many.
    with tempfile.TemporaryDirectory(prefix="sdc-") as folder:
        yield _host(Path(folder) / "host")


def _host(folder: Path) -> LoopHost:
    host = LoopHost(folder)
    tools = {
        "sdc/bin/drv_cfg": DRV_CFG.format(tool=host.drv_cfg),
        "tools/systemctl": SYSTEMCTL.format(tool=host.systemctl),
        "tools/modprobe": MODPROBE.format(folder=host.sdc),
    }
    for name, script in tools.items():
        path = host.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)
    (host.folder / "etc").mkdir()
    host.know_systems()
    host.stop_sdc()
    host.serve_system(SYSTEM, *MDMS.split(","))
    return host


def rendered(helm: str, host: LoopHost) -> Manifest:
    """The node's pod."""
    settings = (
        f'kubeletDir="{host.kubelet}"',
        f'node.sdcDir="{host.sdc}/bin"',
        f'node.sdcOnDemand={{"enabled": true, "mdms": ["{MDMS}"], "configDir": "{host.folder}/etc"}}',
        "metrics.enabled=false",
    )
    manifests = chart.rendered(helm, Case("minimal", "1.36", settings=settings))
    return next(spec for component, spec in chart.pods(manifests) if component == "node")


@contextlib.contextmanager
def driver(pod: Manifest, host: LoopHost) -> Iterator[Client]:
    """The pod's driver, run as a kubelet would have it run; killed at the end of the block."""
    container = next(each for each in pod["containers"] if each["name"] == "driver")
    paths = {each["name"]: each["hostPath"]["path"] for each in pod["volumes"] if "hostPath" in each}
    in_container = []
    for mount in container["volumeMounts"]:
        if mount["name"] in paths:
            source, target = paths[mount["name"]], moved(mount["mountPath"], host)
            for folder in (source, target):
                Path(folder).mkdir(parents=True, exist_ok=True)
            in_container.append(words("mount", "--rbind", source, target))
            if mount.get("readOnly"):
                in_container.append(words("mount", "-o", "remount,bind,ro", target))
    arguments = [moved(argument, host) for argument in container["args"]]
    program = words(sys.executable, "-m", "csi_powerflex", *arguments)
    processes = (
        "mount -t proc proc /proc; exec" if pod.get("hostPID") else "exec unshare --pid --fork --mount-proc"
    )
    in_container.append(f"{processes} {program}")
    on_host = [
        "mount -t tmpfs none /usr/local/sbin",
        words("cp", "--recursive", f"{host.folder}/tools/.", "/usr/local/sbin"),
        "unshare --mount sh -ec " + shlex.quote("\n".join(["umount /usr/local/sbin", *in_container])),
    ]
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with (host.folder / "node.log").open("ab") as log:
        process = subprocess.Popen([*command, "sh", "-ec", "\n".join(on_host)], stdout=log, stderr=log)
    client = Client(Path(paths["socket"]) / "csi.sock")
    try:
        yield client
    finally:
        client.close()
        process.kill()
        process.wait()


def moved(text: str, host: LoopHost) -> str:
    """The container's folder /csi, which this machine does not have, below the host's folder."""
    return re.sub("(?<![a-z])/csi\\b(?=/|$)", f"{host.folder}/csi", text)


def words(*each: str) -> str:
    return shlex.join(each)


def changes(host: LoopHost) -> list[str]:
    return [call for call in host.calls() if "is-active" not in call and "--query" not in call]


@pytest.mark.needs("devices")
@pytest.mark.parametrize(
    ("without_service", "start"), [(False, "systemctl start scini"), (True, "modprobe scini")]
)
def test_the_node_starts_the_host_s_sdc_and_tells_it_of_its_system(
    helm: str, host: LoopHost, without_service: bool, start: str
) -> None:
    if without_service:
        (host.sdc / "no-unit").touch()
    with driver(rendered(helm, host), host) as client:
        info = client.call(client.node.NodeGetInfo, csi_pb2.NodeGetInfoRequest())
    assert info.node_id == f"sdc:{GUID}"
    key = f"csi.powerflex.dev/{SYSTEM}"
    assert dict(info.accessible_topology.segments) == {key: "true", f"{key}-sdc": "true"}
    assert changes(host) == [start, f"--add_mdm --ip {MDMS} --file {host.folder}/etc/drv_cfg.txt"]
    assert (host.folder / "etc" / "drv_cfg.txt").read_text() == f"mdm {MDMS}\n"


@pytest.mark.needs("devices")
def test_without_the_host_s_processes_the_answer_says_what_is_missing(helm: str, host: LoopHost) -> None:
    pod = rendered(helm, host)
    del pod["hostPID"]
    with driver(pod, host) as client, pytest.raises(Refused, match="a pod needs hostPID: true"):
        client.call(client.node.NodeGetInfo, csi_pb2.NodeGetInfoRequest())
    assert host.calls() == []
