"""One worker of the cluster: kubelet, containerd and kube-proxy in their own namespaces on this machine.

A worker has its own mounts, network and host name: the kubelet's folder, the SDC's tool and /dev/disk/by-id
are where they are on any machine, and the chart's defaults hold. It is an SDC host of the simulated array.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.commands import checked, output_of
from tests.e2e import built
from tests.e2e.kubeconfig import write as write_kubeconfig
from tests.e2e.pki import Authority
from tests.e2e.processes import Daemon, await_true

BRIDGE = "e2e"
CONTROL_ADDRESS = "10.99.0.1"
SERVICES = "10.96.0.0/24"
API_SERVICE = "10.96.0.1"
PODS = "10.244.0.0/16"
DNS_DOMAIN = "cluster.local"


@dataclass(frozen=True, slots=True)
class Sdc:
    """The host of the simulated array for this worker: its folders in the simulator."""

    tools: Path
    by_id: Path


class Machine:
    """A worker. ``number`` counts from 1. All its files are in ``folder``."""

    def __init__(self, name: str, number: int, folder: Path, authority: Authority, sdc: Sdc) -> None:
        self.name = name
        self.address = f"10.99.0.{10 + number}"
        self.pods = f"10.244.{number}.0/24"
        self._folder = folder
        self._authority = authority
        self._sdc = sdc
        self._socket = folder / "containerd.sock"
        folder.mkdir(parents=True)
        holder = ["unshare", "--mount", "--net", "--uts", "--propagation", "slave", "sleep", "infinity"]
        self._holder = Daemon("namespaces", holder, folder)
        self.containerd: Daemon
        self.kubelet: Daemon
        self._proxy: Daemon

    # --- start and stop ----------------------------------------------------------------------------

    def start(self) -> None:
        """Create its namespaces, start containerd with all images, then the kubelet and kube-proxy."""
        self._holder.start()
        await_true(self._has_namespaces, what=f"{self.name} having its namespaces")
        self._connect()
        self._lay_out()
        self._start_containerd()
        for archive in sorted(built.IMAGES.glob("*.tar")):
            if archive.stem != "simulator":  # it runs outside of the cluster
                self.import_image(archive)
        self._start_kubelet()
        self._start_proxy()

    def _start_containerd(self) -> None:
        config = self._write_containerd_config()
        self.containerd = Daemon(
            "containerd", ["containerd", "-c", config], self._folder, inside=self._inside
        )
        self.containerd.start_until(lambda: self._ctr("version", check=False).returncode == 0)

    def _start_kubelet(self) -> None:
        pair = self._authority.issue(
            f"system:node:{self.name}", groups=["system:nodes"], addresses=[self.address]
        )
        kubeconfig = write_kubeconfig(self._folder / "kubeconfig", CONTROL_ADDRESS, self._authority, pair)
        command: list[str | Path] = [
            built.BIN / "kubelet",
            f"--config={self._write_kubelet_config(pair.certificate, pair.key)}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address}",
        ]
        self.kubelet = Daemon("kubelet", command, self._folder, inside=self._inside)
        self.kubelet.start()

    def _start_proxy(self) -> None:
        pair = self._authority.issue("system:kube-proxy")
        kubeconfig = write_kubeconfig(
            self._folder / "proxy.kubeconfig", CONTROL_ADDRESS, self._authority, pair
        )
        command: list[str | Path] = [
            built.BIN / "kube-proxy",
            f"--config={self._write_proxy_config(kubeconfig)}",
        ]
        self._proxy = Daemon("kube-proxy", command, self._folder, inside=self._inside)
        self._proxy.start()

    def stop(self) -> None:
        """Stop the kubelet, all containers, containerd, and the namespaces with all their mounts."""
        if hasattr(self, "_proxy"):
            self._proxy.stop()
        if hasattr(self, "kubelet"):
            self.kubelet.stop()
        if hasattr(self, "containerd") and self.containerd.running:
            self._remove_containers()
            self.containerd.stop()
        self._holder.kill()

    def _remove_containers(self) -> None:
        for task in self._ctr("tasks", "ls", "-q", check=False).stdout.split():
            self._ctr("tasks", "rm", "--force", task, check=False)
        for container in self._ctr("containers", "ls", "-q", check=False).stdout.split():
            self._ctr("containers", "rm", container, check=False)

    def crash(self) -> None:
        """Let the machine fail: it does not answer any more and reports nothing."""
        self.kubelet.kill()
        self.run("ip", "link", "set", "eth0", "down")

    def recover(self) -> None:
        """Start it again, as after a power failure, without its containers."""
        self._remove_containers()
        for mount in reversed(self._mounts_of_pods()):
            self.run("umount", "--lazy", mount)
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "route", "replace", "default", "via", CONTROL_ADDRESS)
        self.kubelet.start()

    # --- its namespaces ------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """A process that has its namespaces."""
        assert self._holder._process is not None
        return self._holder._process.pid

    @property
    def _inside(self) -> list[str]:
        return ["nsenter", f"--target={self.pid}", "--mount", "--net", "--uts", "--wdns=/"]

    def _has_namespaces(self) -> bool:
        return all(
            Path(f"/proc/{self.pid}/ns/{kind}").readlink() != Path(f"/proc/self/ns/{kind}").readlink()
            for kind in ("mnt", "net", "uts")
        )

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command on this machine as its administrator."""
        arguments = [*self._inside, *map(str, command)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)
        return checked(done) if check else done

    def _connect(self) -> None:
        """Connect it to the bridge, with routes to its pods."""
        outside = f"v-{self.name}"[:15]
        _ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", str(self.pid))
        _ip("link", "set", outside, "master", BRIDGE, "up")
        _ip("route", "add", self.pods, "via", self.address)
        for command in (
            f"hostname {self.name}",
            "ip link set lo up",
            f"ip address add {self.address}/24 dev eth0",
            "ip link set eth0 up",
            f"ip route add default via {CONTROL_ADDRESS}",
            "sysctl -qw net.ipv4.ip_forward=1",
        ):
            self.run(*command.split())

    def _lay_out(self) -> None:
        """Mount its folders over those of this machine, which do not change."""
        for place in ("opt", "var/lib"):
            upper, work = self._folder / "over" / place, self._folder / "work" / place
            upper.mkdir(parents=True)
            work.mkdir(parents=True)
            options = f"lowerdir=/{place},upperdir={upper},workdir={work}"
            self.run("mount", "-t", "overlay", "-o", options, "overlay", f"/{place}")
        self.run("mount", "-t", "tmpfs", "tmpfs", "/run")
        self._bind(self._sdc.tools, Path("/opt/emc/scaleio/sdc/bin"))
        self._bind(self._sdc.by_id, Path("/dev/disk/by-id"))
        self.share(self._folder / "kubelet", Path("/var/lib/kubelet"))

    def share(self, source: Path, target: Path) -> None:
        """Mount a folder from outside. Mounts of containers below it are visible outside too."""
        source.mkdir(exist_ok=True)
        self._bind(source, target)
        self.run("mount", "--make-rshared", target)

    def _bind(self, source: Path, target: Path) -> None:
        self.run("mkdir", "-p", target)
        self.run("mount", "--bind", source, target)

    def _mounts_of_pods(self) -> list[str]:
        mounts = Path(f"/proc/{self.pid}/mounts").read_text().splitlines()
        points = [line.split()[1] for line in mounts]
        return [
            point
            for point in points
            if point.startswith(("/var/lib/kubelet/pods", "/var/lib/kubelet/plugins"))
        ]

    # --- containers ----------------------------------------------------------------------------------

    def _ctr(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("ctr", "--address", self._socket, "--namespace", "k8s.io", *arguments, check=check)

    def import_image(self, archive: Path) -> None:
        """Import the image in an archive for its pods."""
        self._ctr("images", "import", archive)

    def tag_image(self, reference: str, *names: str) -> None:
        """Give an image that it has more names."""
        for name in names:
            self._ctr("images", "tag", "--force", reference, name)

    def _write_containerd_config(self) -> Path:
        network = self._folder / "cni"
        network.mkdir()
        (network / "10-e2e.conflist").write_text(
            json.dumps(
                {
                    "cniVersion": "0.4.0",
                    "name": "e2e",
                    "plugins": [
                        {
                            "type": "ptp",
                            "ipam": {
                                "type": "host-local",
                                "ranges": [[{"subnet": self.pods}]],
                                "routes": [{"dst": "0.0.0.0/0"}],
                                "dataDir": str(self._folder / "ipam"),
                            },
                        }
                    ],
                }
            )
        )
        config = self._folder / "containerd.toml"
        config.write_text(
            f"""
version = 2
root = "{self._folder}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{self._socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{built.PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{network}"
"""
        )
        return config

    def _write_kubelet_config(self, certificate: Path, key: Path) -> Path:
        """The settings that are not the defaults: no own cgroup hierarchy, and shorter timers."""
        config = self._folder / "kubelet.json"
        config.write_text(
            json.dumps(
                {
                    "apiVersion": "kubelet.config.k8s.io/v1beta1",
                    "kind": "KubeletConfiguration",
                    "address": self.address,
                    "authentication": {
                        "anonymous": {"enabled": False},
                        "webhook": {"enabled": True},
                        "x509": {"clientCAFile": str(self._authority.certificate)},
                    },
                    "authorization": {"mode": "Webhook"},
                    "tlsCertFile": str(certificate),
                    "tlsPrivateKeyFile": str(key),
                    "containerRuntimeEndpoint": f"unix://{self._socket}",
                    "podLogsDir": str(self._folder / "pod-logs"),
                    "resolvConf": "",
                    "clusterDNS": [CONTROL_ADDRESS],
                    "clusterDomain": DNS_DOMAIN,
                    "failCgroupV1": False,
                    "failSwapOn": False,
                    "cgroupDriver": "cgroupfs",
                    "cgroupsPerQOS": False,
                    "cgroupRoot": f"/{self._folder.parent.name}",
                    "enforceNodeAllocatable": [],
                    "makeIPTablesUtilChains": False,
                    "evictionHard": {
                        "nodefs.available": "1%",
                        "imagefs.available": "1%",
                        "memory.available": "10Mi",
                    },
                    "imageGCHighThresholdPercent": 100,
                    "nodeStatusUpdateFrequency": "1s",
                    "nodeLeaseDurationSeconds": 10,
                    "syncFrequency": "2s",
                    "volumeStatsAggPeriod": "10s",
                    "maxPods": 200,
                    "registryPullQPS": 0,
                }
            )
        )
        return config

    def _write_proxy_config(self, kubeconfig: Path) -> Path:
        config = self._folder / "proxy.json"
        config.write_text(
            json.dumps(
                {
                    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                    "kind": "KubeProxyConfiguration",
                    "clientConnection": {"kubeconfig": str(kubeconfig)},
                    "hostnameOverride": self.name,
                    "clusterCIDR": PODS,
                    "mode": "nftables",
                    # Do not change limits of the kernel, which apply to the whole machine.
                    "conntrack": {"maxPerCore": 0, "min": 0},
                    "healthzBindAddress": "127.0.0.1:10256",
                }
            )
        )
        return config


def _ip(*arguments: str) -> None:
    output_of(["ip", *arguments])


def prepare_network() -> None:
    """Create the bridge for the workers, with the address of the control plane.

    Must be called in a network namespace of our own.
    """
    for command in (
        "link set lo up",
        f"link add {BRIDGE} type bridge",
        f"address add {CONTROL_ADDRESS}/24 dev {BRIDGE}",
        f"link set {BRIDGE} up",
    ):
        _ip(*command.split())
    output_of(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
