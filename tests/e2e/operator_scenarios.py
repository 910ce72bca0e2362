"""Scenarios of the operator that run at the same time, each in a namespace of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from tests.commands import output_of
from tests.e2e.image_server import ImageServer
from tests.e2e.operated import WEST, Shop, examples, mover_process, watching
from tests.e2e.processes import await_true
from tests.e2e.space import of_snapshot

_LONG = 240.0
_COPY = "powerflex.dev/image-copy"
Scenario = Callable[[Shop, ImageServer, Path], None]


def _example_of_reverts(shop: Shop, _server: ImageServer, _folder: Path) -> None:
    shop.claims("data")
    shop.fill("data")
    old = shop.sums("data")
    shop.snapshot("before", "data")
    shop.fill("data")
    newer = shop.sums("data")
    example = examples("volume-revert.md", shop)[0]
    shop.kubernetes.apply(example)
    status = shop.until_ended("VolumeRevert", example["metadata"]["name"])
    assert shop.sums("data") == old
    (member,) = status["members"]
    shop.claim("newer", size=1, source=of_snapshot(member["safetySnapshot"]))
    assert list(shop.sums("newer").values()) == list(newer.values())


def _example_of_copies(shop: Shop, _server: ImageServer, _folder: Path) -> None:
    shop.claims("data")
    shop.fill("data", keep=True)
    wanted = shop.run("writer", "cut -d' ' -f1 < /claims/data/sum")
    copy, claim = examples("volume-copy.md", shop)
    shop.kubernetes.apply(copy, claim)
    # It is filled by the operator, in the zone of its first pod.
    assert shop.sums("data-west") == {"data-west": wanted}
    assert _system_of(shop, "data-west") == WEST
    assert shop.until("VolumeCopy", copy["metadata"]["name"], "Ready")["populated"] == 1
    shop.shut("writer", "data")


def _example_of_exports(shop: Shop, server: ImageServer, folder: Path) -> None:
    shop.claims("data", "images")
    shop.fill("data", keep=True)
    shop.snapshot("nightly", "data")
    wanted = shop.run("writer", "cut -d' ' -f1 < /claims/data/sum")
    _make_secret(shop, server, "upload", "data.raw")
    found = examples("volume-export.md", shop)
    shop.kubernetes.apply(*found)
    for each in found:
        shop.until_ended("VolumeExport", each["metadata"]["name"])
    shop.shut("writer", "data")
    assert _sum_in(server.folder / "data.raw") == wanted
    assert _sum_in(_raw_of(shop, "data.qcow2", folder)) == wanted


def _make_secret(shop: Shop, server: ImageServer, name: str, file: str) -> None:
    """The Secret with the URL of a file, and what its server asks for."""
    content = {"url": f"{server.url}/{file}", "token": server.token}
    content["ca.pem"] = shop.operated.cluster.authority.certificate.read_text()
    metadata = {"name": name, "namespace": shop.name}
    shop.kubernetes.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": content})


def _example_of_images(shop: Shop, server: ImageServer, folder: Path) -> None:
    """20 claims get clones of one import. Another copy is made when the budget of the first is used."""
    (folder / "content").mkdir()
    (folder / "content" / "file").write_bytes(os.urandom(1 << 20))
    disk = folder / "disk.raw"
    output_of(["mkfs.ext4", "-q", "-d", folder / "content", disk, "64M"])
    output_of(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", disk, server.folder / "appliance.vmdk"])
    _make_secret(shop, server, "appliance", "appliance.vmdk")
    (example,) = (
        each for each in examples("volume-image.md", shop) if each["metadata"]["name"] == "appliance"
    )
    # The data mover reads all of its target, which would take a minute here.
    example["spec"]["size"] = "1Gi"
    shop.kubernetes.apply(example)
    first = [shop.filled(f"server-{number}", "VolumeImage", "appliance") for number in range(20)]
    copies = {shop.volume(claim, seconds=_LONG)["metadata"]["labels"][_COPY] for claim in first}
    assert len(copies) == 1
    assert server.given.count("appliance.vmdk") == 1

    shop.change("VolumeImage", "appliance", clonesPerCopy=20)
    last = shop.filled("server-20", "VolumeImage", "appliance")
    assert shop.volume(last, seconds=_LONG)["metadata"]["labels"][_COPY] not in copies
    assert server.given.count("appliance.vmdk") == 2
    wanted = sha256((folder / "content" / "file").read_bytes()).hexdigest()
    shop.pod("user", {"/first": first[0], "/last": last})
    assert shop.run("user", "cat /first/file | sha256sum; cat /last/file | sha256sum").split() == 2 * [
        wanted,
        "-",
    ]
    shop.remove_pod("user")


def _raw_of(shop: Shop, name: str, folder: Path) -> Path:
    """The disk of a QCOW2 file on the claim ``images``."""
    shop.pod("reader", {"/images": "images"})
    image, disk = folder / name, folder / f"{name}.raw"
    shop.kubernetes.kubectl("cp", "--namespace", shop.name, f"reader:/images/{name}", str(image))
    shop.shut("reader", "images")
    assert "corruptions" not in output_of(["qemu-img", "check", "-f", "qcow2", image])
    output_of(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, disk])
    return disk


def _sum_in(disk: Path) -> str:
    """The checksum of the file in the ext4 of a disk, whose journal is written back first."""
    output_of(["e2fsck", "-p", "-E", "journal_only", disk])
    copy = disk.with_suffix(".file")
    output_of(["debugfs", "-R", f"dump /file {copy}", disk])
    return sha256(copy.read_bytes()).hexdigest()


def _example_of_moves(shop: Shop, _server: ImageServer, _folder: Path) -> None:
    shop.claims("data")
    shop.fill("data")
    before = shop.sums("data")
    old = shop.volume("data")
    (example,) = examples("volume-move.md", shop)
    name = example["metadata"]["name"]
    shop.kubernetes.apply(example)
    plan = shop.until("VolumeMove", name, "Planned")["plan"]
    assert plan["persistentVolume"] == old["metadata"]["name"]
    shop.change("VolumeMove", name, approved=True)
    shop.until("VolumeMove", name, "Moved")
    assert shop.sums("data") == before
    assert _system_of(shop, "data") == WEST
    old_id = old["spec"]["csi"]["volumeHandle"].rpartition("-")[2]
    assert old_id in shop.operated.volumes()
    shop.change("VolumeMove", name, confirmed=True)
    shop.until_ended("VolumeMove", name)
    assert old_id not in shop.operated.volumes()
    assert shop.sums("data") == before


def _system_of(shop: Shop, claim: str) -> int:
    return shop.operated.cluster.array.pool_of(shop.volume(claim)["spec"]["csi"]["volumeHandle"])[0]


def _example_of_schedules(shop: Shop, _server: ImageServer, _folder: Path) -> None:
    labels = {"app": "db", "tier": "gold"}
    shop.claim("ledger", size=1, storage_class="powerflex-now", labels=labels)
    shop.claim("other", size=1, storage_class="powerflex-now")
    shop.volume("ledger")
    (example,) = examples("snapshot-schedule.md", shop)
    name = example["metadata"]["name"]
    shop.kubernetes.apply(example)
    assert shop.until("SnapshotSchedule", name, "Active")["nextAt"]
    shop.change("SnapshotSchedule", name, schedule="* * * * *")
    await_true(lambda: bool(shop.names("volumesnapshots")), what="the snapshot of a run")
    (taken,) = shop.names("volumesnapshots")
    assert taken.startswith(f"{name}-ledger-")
    shop.until_snapshot(taken)
    shop.change("SnapshotSchedule", name, suspend=True)
    shop.until("SnapshotSchedule", name, "Suspended")


def _killed_movers(shop: Shop, _server: ImageServer, _folder: Path) -> None:
    """One mover is killed, and the pod of another one is deleted. Both do their work in the end."""
    shop.claims("source", "moved", "images")
    shop.fill("source", "moved", mebibytes=100)
    before = shop.sums("moved")
    export = shop.exported("killed.raw", "source", format="raw")
    os.kill(mover_process("--target=/target/killed.raw"), signal.SIGKILL)
    move = shop.moved("moved")
    uid = shop.kubernetes.get("volumemoves", move, shop.name)["metadata"]["uid"]
    mover_process(f"--job={uid}")
    (pod,) = shop.kubernetes.list("pods", shop.name, labels=f"powerflex.dev/mover=move-{uid}")
    shop.kubernetes.delete("pods", pod["metadata"]["name"], shop.name)
    shop.until_ended("VolumeExport", export)
    shop.until("VolumeMove", move, "Moved")
    assert shop.sums("moved") == before
    shop.change("VolumeMove", move, confirmed=True)
    shop.until_ended("VolumeMove", move)


def _full_targets_and_sources_that_go(shop: Shop, _server: ImageServer, _folder: Path) -> None:
    """A full claim is named, and used when it has space. Sources are deleted while they are read."""
    shop.claims("exported", "moved", "images")
    shop.fill("exported", "moved", mebibytes=20)
    _on_images(shop, "dd if=/dev/zero of=/images/ballast bs=1M 2>/dev/null || sync")
    export = shop.exported("late.raw", "exported", format="raw")
    move = shop.moved("moved")

    shop.until("VolumeMove", move, "Copying")
    shop.kubernetes.delete("persistentvolumeclaims", "moved", shop.name)
    failure = shop.until("VolumeMove", move, "Failed")["message"]
    assert "moved" in failure

    shop.until("VolumeExport", export, "Exporting")
    shop.kubernetes.delete("persistentvolumeclaims", "exported", shop.name)
    shop.kubernetes.until(
        "volumeexports",
        export,
        shop.name,
        lambda found: "space" in found["status"]["message"],
        what="naming the missing space",
    )
    _on_images(shop, "rm /images/ballast; sync")
    shop.until_ended("VolumeExport", export)


def _on_images(shop: Shop, script: str) -> None:
    """Run a script in a pod of its own, which is removed. A claim can be attached to one node at a time."""
    shop.pod("keeper", {"/images": "images"})
    shop.run("keeper", script)
    shop.shut("keeper", "images")


# The phases that are missing are left within the round in which they begin.
_DELETED_IN = {
    "VolumeRevert": ("Pending", "Holding", "Securing", "Reverting", "Verifying", "Releasing"),
    "VolumeExport": ("Pending", "Securing", "Exporting", "Cleaning"),
    "VolumeMove": ("Planned", "Holding", "Securing", "Copying", "Closing", "Swapping", "Finishing", "Moved"),
    "VolumeCopy": ("Securing", "Copying", "Closing", "Binding"),
    "VolumeImage": ("Importing", "Caching", "Cleaning", "Ready"),
}


def _deletions(shop: Shop, _server: ImageServer, _folder: Path) -> None:
    """Objects are deleted in each phase. Nothing of them is left, and no data are lost."""
    wanted = {
        kind: {f"{kind.lower()}-{phase.lower()}": phase for phase in all_phases}
        for kind, all_phases in _DELETED_IN.items()
    }
    names = {kind: list(phases) for kind, phases in wanted.items()}
    claims = (*names["VolumeRevert"], *names["VolumeMove"], "source")
    shop.claims(*claims, "images")
    shop.fill(*claims)
    before = shop.sums(*claims)
    shop.snapshots({f"{claim}-before": claim for claim in names["VolumeRevert"]})

    def delete_in(kind: str, name: str, phase: str) -> bool:
        if phase == wanted[kind].get(name):
            del wanted[kind][name]
            shop.delete(kind, name)
        return not wanted[kind]

    with watching(shop, names, delete_in):
        for name in names["VolumeRevert"]:
            shop.reverted(name, f"{name}-before")
        for name in names["VolumeExport"]:
            shop.exported(name, "source")
        for name in names["VolumeMove"]:
            shop.moved(name)
        for name in names["VolumeCopy"]:
            shop.copied(name, "source")
        for name in names["VolumeImage"]:
            shop.imported(name, "source")
    shop.until_none_is_led()
    # A claim that has begun to get its copy gets it. The others would wait for another object.
    assert list(shop.sums("volumecopy-binding").values()) == [before["source"]]
    shop.remove_claims(*names["VolumeCopy"], *names["VolumeImage"])
    assert shop.names("jobs") == shop.names("networkpolicies") == []
    assert sorted(shop.names("persistentvolumeclaims")) == sorted([*claims, "images"])
    assert shop.sums(*claims) == before
    _remove_kept(shop)


def _remove_kept(shop: Shop) -> None:
    """Remove the old volumes of moves that were deleted after the end. Their PersistentVolumes are kept."""
    for volume in shop.kubernetes.list("persistentvolumes"):
        claim, phase = volume["spec"]["claimRef"], volume["status"]["phase"]
        if claim["namespace"] == shop.name and phase == "Released":
            change = {"spec": {"persistentVolumeReclaimPolicy": "Delete"}}
            shop.kubernetes.patch("persistentvolumes", volume["metadata"]["name"], change)


SCENARIOS: dict[str, Scenario] = {
    "the example of SnapshotSchedule": _example_of_schedules,
    "the example of VolumeCopy": _example_of_copies,
    "the example of VolumeExport": _example_of_exports,
    "the example of VolumeImage": _example_of_images,
    "the example of VolumeMove": _example_of_moves,
    "the example of VolumeRevert": _example_of_reverts,
    "objects that are deleted in each phase": _deletions,
    "movers that are killed": _killed_movers,
    "a full target, and sources that are deleted": _full_targets_and_sources_that_go,
}
