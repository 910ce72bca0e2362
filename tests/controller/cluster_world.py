"""A controller in Kubernetes mode: the API server of its cluster, with nodes and VolumeAttachments."""

from __future__ import annotations

import json
from pathlib import Path

from csi_powerflex.kube.nodes import ATTACHMENTS, CSI_NODES
from tests.controller.api_server import DRIVER, Cluster
from tests.controller.eventually import eventually
from tests.controller.world import World


class NodesCluster(Cluster):
    """A context manager. Nodes and attachments are put as kubelet and Kubernetes would do it."""

    def put_node(self, name: str, node_id: str | None, *, driver: str = DRIVER) -> None:
        """A CSINode; ``node_id`` is None while the driver is not registered there."""
        drivers = None if node_id is None else [{"name": driver, "nodeID": node_id}]
        self.put(CSI_NODES, name, {"spec": {"drivers": drivers}})

    def remove_node(self, name: str) -> None:
        self.remove(CSI_NODES, name)

    def attach(self, handle: str, node: str, *, driver: str = DRIVER) -> None:
        """The VolumeAttachment of a PersistentVolume that ``put_volume`` has put."""
        spec = {"attacher": driver, "nodeName": node, "source": {"persistentVolumeName": f"pv-{handle}"}}
        self.put(ATTACHMENTS, f"attachment-{node}", {"spec": spec})

    def attach_inline(self, handle: str, node: str, *, driver: str = DRIVER) -> None:
        source = {"inlineVolumeSpec": {"csi": {"volumeHandle": handle}}}
        spec = {"attacher": driver, "nodeName": node, "source": source}
        self.put(ATTACHMENTS, f"inline-{node}", {"spec": spec})

    def detach(self, node: str) -> None:
        self.remove(ATTACHMENTS, f"attachment-{node}")

    def let_nodes_be_seen(self, controllers: int = 1) -> None:
        """Wait until so many controllers have seen the last change of the nodes."""
        version = self.bookmark(CSI_NODES)

        def seen() -> bool:
            # A watch that begins only now does not end with the others.
            self.end_watches()
            return self.watched_from(CSI_NODES).count(version) >= controllers

        eventually(seen)

    def asked(self) -> int:
        """How many times VolumeAttachments were read."""
        return self.lists(ATTACHMENTS)


def connect(world: World, cluster: NodesCluster, folder: Path, *, remove_stale: bool) -> World:
    """Restart the controller in Kubernetes mode."""
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps(cluster.kubeconfig()), encoding="utf-8")
    world.more |= {"in_kubernetes": True, "kubeconfig": kubeconfig, "remove_stale_mappings": remove_stale}
    world.restart()
    return world
