"""The steps of a volume's life, as in Kubernetes. Each step may be repeated."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc

from csi_powerflex.demo import mountinfo
from csi_powerflex.demo.environment import DemoNode, Environment
from csi_powerflex.demo.orchestrator import Client, Refused
from csi_powerflex.pb import csi_pb2

GIB = 1024**3
MIB = 1024**2


class UnexpectedResult(Exception):
    """The driver did not do what it should."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its title, its RPC and the client that calls it. ``run`` returns the text to show."""

    title: str
    rpc: str
    client: Client | None
    run: Callable[[], str]


class Scenario:
    """The life of one volume. It remembers what an orchestrator remembers: ids and contexts."""

    def __init__(self, environment: Environment, *, filesystem: str, mebibytes: int) -> None:
        self._environment = environment
        self._mebibytes = mebibytes
        self._name = f"pvc-{uuid.uuid4()}"
        self._capability = csi_pb2.VolumeCapability(
            mount=csi_pb2.VolumeCapability.MountVolume(fs_type=filesystem),
            access_mode=csi_pb2.VolumeCapability.AccessMode(
                mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
            ),
        )
        self._volume = csi_pb2.Volume()
        self._publish_context: dict[str, dict[str, str]] = {}
        self._checksum = ""

    def steps(self) -> Iterator[Step]:
        """All steps, in order."""
        controller = self._environment.client
        yield Step("create a volume of 8 GiB", "CreateVolume", controller, self._create)
        yield self._publish("a")
        if self._environment.devices:
            node = self._environment.nodes["a"]
            yield from self._mount(node)
            yield Step(f"a pod writes {self._mebibytes} MiB", "", None, lambda: self._write(node))
            yield from self._unmount(node)
        yield self._unpublish("a")
        yield self._publish("b")
        if self._environment.devices:
            node = self._environment.nodes["b"]
            yield from self._mount(node)
            yield Step("the pod reads it all back", "", None, lambda: self._read(node))
        yield Step(
            "node a is refused meanwhile", "ControllerPublishVolume", controller, lambda: self._refused("a")
        )
        if self._environment.devices:
            yield from self._unmount(self._environment.nodes["b"])
        yield self._unpublish("b")
        yield Step("delete the volume", "DeleteVolume", controller, self._delete)
        yield Step("it no longer exists", "ValidateVolumeCapabilities", controller, self._not_found)

    def clean_up(self) -> None:
        """Unmount, unmap and delete the volume. Each call succeeds if there is nothing to do."""
        for node in self._environment.nodes.values():
            if node.process.running and self._volume.volume_id:
                self._unpublish_volume(node)
                self._unstage_volume(node)
        if self._environment.controller.running and self._volume.volume_id:
            for name in self._publish_context:
                self._unmap(name)
            self._delete()

    # --- controller ------------------------------------------------------------------------------

    def _create(self) -> str:
        answer = self._environment.client.call(
            self._environment.client.controller.CreateVolume,
            csi_pb2.CreateVolumeRequest(
                name=self._name,
                capacity_range=csi_pb2.CapacityRange(required_bytes=8 * GIB),
                volume_capabilities=[self._capability],
            ),
        )
        self._volume = answer.volume
        return f"volume {answer.volume.volume_id}"

    def _publish(self, name: str) -> Step:
        return Step(
            f"map it to node {name}",
            "ControllerPublishVolume",
            self._environment.client,
            lambda: self._map(name),
        )

    def _map(self, name: str) -> str:
        answer = self._environment.client.call(
            self._environment.client.controller.ControllerPublishVolume,
            csi_pb2.ControllerPublishVolumeRequest(
                volume_id=self._volume.volume_id,
                node_id=self._node_id(name),
                volume_capability=self._capability,
                volume_context=self._volume.volume_context,
            ),
        )
        self._publish_context[name] = dict(answer.publish_context)
        return f"node id {self._node_id(name)[:17]}…"

    def _unpublish(self, name: str) -> Step:
        return Step(
            f"unmap it from node {name}",
            "ControllerUnpublishVolume",
            self._environment.client,
            lambda: self._unmap(name),
        )

    def _unmap(self, name: str) -> str:
        self._environment.client.call(
            self._environment.client.controller.ControllerUnpublishVolume,
            csi_pb2.ControllerUnpublishVolumeRequest(
                volume_id=self._volume.volume_id, node_id=self._node_id(name)
            ),
        )
        return ""

    def _refused(self, name: str) -> str:
        try:
            self._map(name)
        except Refused as error:
            if error.code is not grpc.StatusCode.FAILED_PRECONDITION:
                raise
            return f"{error.code.name}: {error.detail.partition(';')[0]}"
        raise UnexpectedResult(f"the volume is in use on one node, but it was also mapped to node {name}")

    def _delete(self) -> str:
        self._environment.client.call(
            self._environment.client.controller.DeleteVolume,
            csi_pb2.DeleteVolumeRequest(volume_id=self._volume.volume_id),
        )
        return ""

    def _not_found(self) -> str:
        try:
            self._environment.client.call(
                self._environment.client.controller.ValidateVolumeCapabilities,
                csi_pb2.ValidateVolumeCapabilitiesRequest(
                    volume_id=self._volume.volume_id, volume_capabilities=[self._capability]
                ),
            )
        except Refused as error:
            if error.code is not grpc.StatusCode.NOT_FOUND:
                raise
            return error.code.name
        raise UnexpectedResult(f"volume {self._volume.volume_id} still exists")

    def _node_id(self, name: str) -> str:
        """The node id, from the node itself. Without node processes, it follows from the SDC's GUID."""
        if name not in self._environment.nodes:
            return f"sdc:{self._environment.guids[name]}"
        client = self._environment.nodes[name].client
        return client.call(client.node.NodeGetInfo, csi_pb2.NodeGetInfoRequest()).node_id

    # --- nodes -----------------------------------------------------------------------------------

    def _mount(self, node: DemoNode) -> Iterator[Step]:
        yield Step(
            f"node {node.name} finds and mounts it",
            "NodeStageVolume",
            node.client,
            lambda: self._stage_volume(node),
        )
        yield Step(
            "mount it into the pod", "NodePublishVolume", node.client, lambda: self._publish_volume(node)
        )

    def _unmount(self, node: DemoNode) -> Iterator[Step]:
        yield Step(
            "unmount it from the pod",
            "NodeUnpublishVolume",
            node.client,
            lambda: self._unpublish_volume(node),
        )
        yield Step(
            f"node {node.name} lets go of it",
            "NodeUnstageVolume",
            node.client,
            lambda: self._unstage_volume(node),
        )

    def _staging(self, node: DemoNode) -> Path:
        return node.kubelet / "plugins" / "staging" / self._name

    def _target(self, node: DemoNode) -> Path:
        return node.kubelet / "pods" / "pod" / "volumes" / self._name

    def _stage_volume(self, node: DemoNode) -> str:
        staging = self._staging(node)
        staging.mkdir(parents=True, exist_ok=True)
        node.client.call(
            node.client.node.NodeStageVolume,
            csi_pb2.NodeStageVolumeRequest(
                volume_id=self._volume.volume_id,
                publish_context=self._publish_context[node.name],
                staging_target_path=str(staging),
                volume_capability=self._capability,
                volume_context=self._volume.volume_context,
            ),
        )
        return _mounted(staging)

    def _publish_volume(self, node: DemoNode) -> str:
        target = self._target(node)
        target.parent.mkdir(parents=True, exist_ok=True)
        node.client.call(
            node.client.node.NodePublishVolume,
            csi_pb2.NodePublishVolumeRequest(
                volume_id=self._volume.volume_id,
                publish_context=self._publish_context[node.name],
                staging_target_path=str(self._staging(node)),
                target_path=str(target),
                volume_capability=self._capability,
                volume_context=self._volume.volume_context,
            ),
        )
        return ""

    def _unpublish_volume(self, node: DemoNode) -> str:
        node.client.call(
            node.client.node.NodeUnpublishVolume,
            csi_pb2.NodeUnpublishVolumeRequest(
                volume_id=self._volume.volume_id, target_path=str(self._target(node))
            ),
        )
        return ""

    def _unstage_volume(self, node: DemoNode) -> str:
        node.client.call(
            node.client.node.NodeUnstageVolume,
            csi_pb2.NodeUnstageVolumeRequest(
                volume_id=self._volume.volume_id, staging_target_path=str(self._staging(node))
            ),
        )
        return ""

    # --- the pod ---------------------------------------------------------------------------------

    def _write(self, node: DemoNode) -> str:
        digest = hashlib.sha256()
        with (self._target(node) / "data").open("wb") as file:
            for _ in range(self._mebibytes):
                block = os.urandom(MIB)
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        self._checksum = digest.hexdigest()
        return f"sha256 {self._checksum[:16]}…"

    def _read(self, node: DemoNode) -> str:
        with (self._target(node) / "data").open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self._checksum:
            raise UnexpectedResult(
                f"node {node.name} read data with sha256 {found}, but the written data has {self._checksum}"
            )
        return f"sha256 {found[:16]}… equal"


def _mounted(path: Path) -> str:
    """The device and filesystem that are mounted at ``path``.

    Raises:
        UnexpectedResult: nothing is mounted there.
    """
    for mount in mountinfo.read():
        if mount.point == str(path):
            return f"{mount.source}, {mount.filesystem}"
    raise UnexpectedResult(f"nothing is mounted at {path}")
