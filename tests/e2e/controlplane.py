"""The cluster's control plane: etcd, API server, controller manager, scheduler, snapshot controller, DNS."""

from __future__ import annotations

import socket
from pathlib import Path

import requests

from tests.e2e import built
from tests.e2e.kubeconfig import write as write_kubeconfig
from tests.e2e.machine import API_SERVICE, CONTROL_ADDRESS, DNS_DOMAIN, SERVICES
from tests.e2e.pki import Authority
from tests.e2e.processes import Daemon

_ETCD = "http://127.0.0.1:2379"


class ControlPlane:
    """Runs in the network namespace of the tests. ``folder`` has its data and logs."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self._folder = folder
        self._authority = authority
        folder.mkdir(parents=True)
        admin = authority.issue("admin", groups=["system:masters"])
        self.kubeconfig = write_kubeconfig(folder / "admin.kubeconfig", CONTROL_ADDRESS, authority, admin)
        self.admin = admin
        self.url = f"https://{CONTROL_ADDRESS}"
        self._daemons: list[Daemon] = []

    def start(self) -> None:
        """Start it and wait until the API answers."""
        etcd = self._daemon(
            "etcd",
            built.BIN / "etcd",
            f"--data-dir={self._folder}/etcd",
            f"--listen-client-urls={_ETCD}",
            f"--advertise-client-urls={_ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync",
        )
        etcd.start()
        self._start_api_server()
        self._start_controllers()
        self._start_dns()

    def _daemon(self, name: str, *command: str | Path) -> Daemon:
        daemon = Daemon(name, command, self._folder)
        self._daemons.append(daemon)
        return daemon

    def _start_api_server(self) -> None:
        server = self._authority.issue(
            "kube-apiserver",
            addresses=[CONTROL_ADDRESS, API_SERVICE, "127.0.0.1", "kubernetes.default.svc", "localhost"],
        )
        to_kubelets = self._authority.issue("apiserver-to-kubelets", groups=["system:masters"])
        self._tokens = self._authority.service_account_key()
        self._api_server = self._daemon(
            "kube-apiserver",
            built.BIN / "kube-apiserver",
            f"--etcd-servers={_ETCD}",
            "--bind-address=0.0.0.0",
            "--secure-port=443",
            f"--advertise-address={CONTROL_ADDRESS}",
            f"--tls-cert-file={server.certificate}",
            f"--tls-private-key-file={server.key}",
            f"--client-ca-file={self._authority.certificate}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--service-cluster-ip-range={SERVICES}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._tokens}",
            f"--service-account-signing-key-file={self._tokens}",
            "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={self._authority.certificate}",
            f"--kubelet-client-certificate={to_kubelets.certificate}",
            f"--kubelet-client-key={to_kubelets.key}",
        )
        self._api_server.start_until(self._answers, seconds=90)

    def restart_api_server(self) -> None:
        """Kill the API server, start it again, and wait until it answers."""
        self._api_server.kill()
        self._api_server.start_until(self._answers, seconds=90)

    def _answers(self) -> bool:
        try:
            reply = requests.get(
                f"{self.url}/readyz",
                verify=str(self._authority.certificate),
                cert=(str(self.admin.certificate), str(self.admin.key)),
                timeout=2,
            )
        except requests.RequestException:
            return False
        return reply.ok

    def _start_controllers(self) -> None:
        for name, user, arguments in (
            (
                "kube-controller-manager",
                "system:kube-controller-manager",
                [
                    f"--service-account-private-key-file={self._tokens}",
                    f"--root-ca-file={self._authority.certificate}",
                    "--use-service-account-credentials=true",
                    "--leader-elect=false",
                    "--secure-port=0",
                    "--kube-api-qps=200",
                    "--kube-api-burst=400",
                    # Shorter timers of Kubernetes, so that scenarios take seconds.
                    "--pvclaimbinder-sync-period=2s",
                    "--attach-detach-reconcile-sync-period=2s",
                    "--node-monitor-period=1s",
                    "--node-monitor-grace-period=10s",
                ],
            ),
            ("kube-scheduler", "system:kube-scheduler", ["--leader-elect=false", "--secure-port=0"]),
        ):
            pair = self._authority.issue(user)
            kubeconfig = write_kubeconfig(
                self._folder / f"{name}.kubeconfig", CONTROL_ADDRESS, self._authority, pair
            )
            self._daemon(name, built.BIN / name, f"--kubeconfig={kubeconfig}", *arguments).start()

    def _start_dns(self) -> None:
        """Resolve the names of Services for pods, and refuse other names."""
        config = self._folder / "dns.conf"
        config.write_text(
            f"""
.:53 {{
  bind {CONTROL_ADDRESS}
  errors
  kubernetes {DNS_DOMAIN} {{
    kubeconfig {self.kubeconfig}
  }}
}}
"""
        )
        self._daemon("dns", built.BIN / "dns", f"-conf={config}").start_until(_answers_names)

    def start_snapshot_controller(self) -> None:
        """Start the controller of the snapshot APIs, which must exist."""
        self._daemon(
            "snapshot-controller",
            built.BIN / "snapshot-controller",
            f"--kubeconfig={self.kubeconfig}",
            "--feature-gates=CSIVolumeGroupSnapshot=true",
            "--v=2",
        ).start()

    def stop(self) -> None:
        """Stop it. Do not wait long for the API server, which waits for its watchers."""
        for daemon in reversed(self._daemons):
            daemon.stop(seconds=2)


def _answers_names() -> bool:
    try:
        socket.create_connection((CONTROL_ADDRESS, 53), timeout=2).close()
    except OSError:
        return False
    return True
