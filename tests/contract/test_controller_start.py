"""The controller serves its socket first: sidecars do not wait for Kubernetes or for an array."""

from __future__ import annotations

import json
import signal
import socket as sockets
import subprocess
import sys
import threading
from pathlib import Path

from tests.children import wait_for_socket


def test_the_socket_is_served_before_anything_is_asked_of_kubernetes_or_an_array(
    socket: Path, tmp_path: Path
) -> None:
    # Whether the socket was there when the first connection came. Both would wait for an answer without end.
    served: dict[str, bool] = {}
    with _listener() as cluster, _listener() as array:
        threads = [
            threading.Thread(target=_note, args=(listener, name, socket, served))
            for name, listener in (("cluster", cluster), ("array", array))
        ]
        for thread in threads:
            thread.start()
        kubeconfig = _kubeconfig(tmp_path / "kubeconfig", cluster.getsockname()[1])
        systems = _systems(tmp_path / "systems.json", array.getsockname()[1])
        command = [
            *(sys.executable, "-m", "csi_powerflex", "controller", f"--endpoint=unix://{socket}"),
            *(f"--systems={systems}", "--cluster-id=test", "--kubernetes", f"--kubeconfig={kubeconfig}"),
        ]
        with (tmp_path / "log").open("wb") as stderr, subprocess.Popen(command, stderr=stderr) as process:
            wait_for_socket(socket, lambda: process.poll() is None)
            for thread in threads:
                thread.join(60)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    assert served == {"cluster": True, "array": True}


def _listener() -> sockets.socket:
    return sockets.create_server(("127.0.0.1", 0))


def _note(listener: sockets.socket, name: str, socket: Path, served: dict[str, bool]) -> None:
    connection, _ = listener.accept()
    served[name] = socket.exists()
    connection.close()


def _kubeconfig(path: Path, port: int) -> Path:
    path.write_text(
        json.dumps(
            {
                "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{port}"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    return path


def _systems(path: Path, port: int) -> Path:
    system = {"name": "a", "endpoints": [f"https://127.0.0.1:{port}"], "username": "u", "password": "p"}
    path.write_text(
        json.dumps({"systems": [{**system, "protectionDomain": "domain", "storagePool": "pool"}]})
    )
    return path
