"""A simulated array next to a Kubernetes cluster, and the commands that look at both."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

import yaml
from click.testing import CliRunner, Result

from csi_powerflex.cli.main import main
from csi_powerflex.kube_objects.reader import CLAIMS, CONTENTS, NODES, VOLUMES
from csi_powerflex.names import Kind, array_name
from csi_powerflex.pb import csi_pb2
from tests.controller.systems_file import SystemsFile
from tests.controller.world import World
from tests.kube.api_server import ApiServer

DRIVER = "csi.powerflex.dev"


class InventoryWorld:
    """Puts objects into the cluster as the sidecars do, and runs commands of ``csi-powerflex``."""

    def __init__(self, world: World, cluster: ApiServer) -> None:
        self.world = world
        self.cluster = cluster
        self.uids = 0
        self.systems = SystemsFile(world)
        self.entries = list(self.systems.entries)
        self.kubeconfig = world.folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(cluster.kubeconfig()), encoding="utf-8")
        for name in world.simulator.hosts:
            self.cluster.put(
                NODES, f"worker-{name}", {"spec": {"drivers": [{"name": DRIVER, "nodeID": world.node(name)}]}}
            )

    # --- what the cluster has --------------------------------------------------------------------

    def uid(self) -> str:
        """A new UID, as the API server makes them."""
        self.uids += 1
        return str(uuid.UUID(int=self.uids, version=4))

    def claim(self, name: str, *, namespace: str = "shop", volume: str = "", uid: str = "") -> str:
        """Put a claim, and return its UID."""
        uid = uid or self.uid()
        metadata = {"namespace": namespace, "name": name, "uid": uid}
        self.cluster.put(
            CLAIMS, f"{namespace}/{name}", {"metadata": metadata, "spec": {"volumeName": volume}}
        )
        return uid

    def provisioned(self, claim: str, **more: Any) -> csi_pb2.Volume:
        """A claim with its volume and its PersistentVolume, made as the provisioner makes them."""
        uid = self.claim(claim, volume="later")
        volume = self.world.driver.create(f"pvc-{uid}", **more)
        self.claim(claim, volume=f"pvc-{uid}", uid=uid)
        attributes = dict(volume.volume_context)
        self.persistent_volume(f"pvc-{uid}", volume.volume_id, claim=claim, attributes=attributes)
        return volume

    def persistent_volume(
        self,
        name: str,
        handle: str,
        *,
        claim: str = "",
        driver: str = DRIVER,
        attributes: Mapping[str, str] | None = None,
        attributes_class: str = "",
    ) -> None:
        """Put a PersistentVolume for a claim in the namespace shop."""
        reference = {"claimRef": {"namespace": "shop", "name": claim}} if claim else {}
        spec = {
            "csi": {"driver": driver, "volumeHandle": handle, "volumeAttributes": dict(attributes or {})},
            "persistentVolumeReclaimPolicy": "Delete",
            "volumeAttributesClassName": attributes_class or None,
            "storageClassName": "powerflex",
            **reference,
        }
        self.cluster.put(
            VOLUMES, name, {"spec": spec, "status": {"phase": "Bound" if claim else "Available"}}
        )

    def content(self, name: str, handle: str, *, snapshot: str = "", uid: str = "") -> None:
        """Put a VolumeSnapshotContent for a VolumeSnapshot in the namespace shop."""
        spec = {
            "driver": DRIVER,
            "deletionPolicy": "Delete",
            "source": {"volumeHandle": "that of the volume"},
            "volumeSnapshotRef": {"namespace": "shop", "name": snapshot, "uid": uid},
        }
        self.cluster.put(
            CONTENTS, name, {"spec": spec, "status": {"snapshotHandle": handle} if handle else None}
        )

    def taken(self, snapshot: str, volume_id: str) -> csi_pb2.Snapshot:
        """A VolumeSnapshot with its snapshot and its VolumeSnapshotContent, as the snapshotter makes them."""
        uid = self.uid()
        found = self.world.driver.snapshot(volume_id, f"snapshot-{uid}")
        self.content(f"snapcontent-{uid}", found.snapshot_id, snapshot=snapshot, uid=uid)
        return found

    # --- what the array has ----------------------------------------------------------------------

    def name_of(self, handle: str) -> str | None:
        """The name of an object on the array."""
        return self.world.volume(handle).name

    def foreign(self, name: str | None, *, kind: Kind | None = None, cluster: str = "othr") -> str:
        """A volume with another name on the array: the one given, or that of another cluster."""
        volume = self.world.driver.create(f"pvc-{self.uid()}")
        new_name = array_name(kind, cluster, self.uid()) if kind else name
        self.rename(volume.volume_id, new_name)
        return volume.volume_id

    def rename(self, handle: str, name: str | None) -> None:
        """Rename an object as an administrator of the array does it."""
        array = self.world.array
        with array.lock:
            array.change(self.world.volume(handle), name=name)
            array.commit()

    def made_older(self, *handles: str, hours: int = 24) -> None:
        """Let objects have been created earlier."""
        array = self.world.array
        with array.lock:
            for handle in handles:
                volume = self.world.volume(handle)
                array.change(volume, created=volume.created - hours * 3600)
            array.commit()

    # --- commands --------------------------------------------------------------------------------

    def run(
        self,
        *arguments: str,
        kubernetes: bool = True,
        env: Mapping[str, str] | None = None,
        **system_keys: object,
    ) -> Result:
        """Run a command of ``csi-powerflex`` with options for this world."""
        self.systems.entries = [{**entry, **system_keys} for entry in self.entries]
        self.systems.write()
        group, name, *rest = arguments
        where = ["--kubeconfig", str(self.kubeconfig)] if kubernetes else []
        options = ["--systems", str(self.systems.path), "--cluster-id", "test", *where]
        return CliRunner().invoke(main, [group, name, *options, *rest], env=dict(env or {}))

    def ok(self, *arguments: str, **more: Any) -> str:
        """Run a command that must succeed; returns its standard output."""
        result = self.run(*arguments, **more)
        assert result.exit_code == 0, result.output
        return result.stdout

    def refused(self, *arguments: str, **more: Any) -> str:
        """Run a command that must fail; returns its standard error, which is all that it prints."""
        result = self.run(*arguments, **more)
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        return result.stderr

    def document(self, *arguments: str, **more: Any) -> Any:
        """Run a command with ``-o json``; returns what it prints."""
        return json.loads(self.ok(*arguments, "-o", "json", **more))
