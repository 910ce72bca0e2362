"""Mappings as real block devices, also after a kill of the simulator."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from csi_powerflex.simulator.hosts import btrfs, loop
from csi_powerflex.simulator.simulator import CannotSimulate, Simulator
from tests.commands import output_of
from tests.controller.eventually import eventually
from tests.simulator.devices import devices_over_volumes, mapped, simulated, size_of, write

pytestmark = pytest.mark.needs("devices")


def test_a_mapping_makes_a_block_device_of_the_volumes_size(tmp_path: Path) -> None:
    with simulated(tmp_path) as array:
        device = mapped(array, array.create())
        assert device.is_block_device()
        assert size_of(device) == 8 * 2**30


def test_unmapping_removes_device_and_link(tmp_path: Path) -> None:
    with simulated(tmp_path) as array:
        volume_id = array.create()
        device = mapped(array, volume_id)
        array.unmap(volume_id)
        eventually(lambda: not os.path.lexists(device) and not devices_over_volumes(array))


def test_a_host_reads_what_another_wrote(tmp_path: Path) -> None:
    with simulated(tmp_path) as array:
        volume_id = array.create()
        write(mapped(array, volume_id, "a"), b"written on a")
        array.unmap(volume_id, "a")
        with mapped(array, volume_id, "b").open("rb") as device:
            assert device.read(12) == b"written on a"


def test_the_device_of_a_grown_volume_grows(tmp_path: Path) -> None:
    with simulated(tmp_path) as array:
        volume_id = array.create()
        device = mapped(array, volume_id)
        array.volume_action(volume_id, "setVolumeSize", sizeInGB="16")
        eventually(lambda: size_of(device) == 16 * 2**30)


def test_a_read_only_mapping_makes_a_read_only_device(tmp_path: Path) -> None:
    with simulated(tmp_path) as array:
        volume_id = array.create()
        device = mapped(array, volume_id, accessMode="ReadOnly")
        assert is_read_only(device)
        with pytest.raises(PermissionError):
            device.write_bytes(b"no")
        array.volume_action(
            volume_id, "setVolumeMappingAccessMode", sdcId=array.sdcs["a"], accessMode="ReadWrite"
        )
        eventually(lambda: not is_read_only(device))
        write(device, b"yes")


def is_read_only(device: Path) -> bool:
    return Path(f"/sys/block/{device.readlink().name}/ro").read_text().strip() == "1"


def test_a_restart_keeps_recreates_and_removes_devices(tmp_path: Path) -> None:
    with simulated(tmp_path) as array:
        volume_ids = {name: array.create(name) for name in ("kept", "lost")}
        devices = {name: mapped(array, volume_id) for name, volume_id in volume_ids.items()}
        file = loop.backing_file(devices["kept"].readlink())
        assert file is not None
        before = devices["kept"].readlink()
        loop.detach(devices["lost"].readlink(), file.with_name(volume_ids["lost"]))
        extra = loop.attach(file, read_only=False)
        array.simulator._folder_lock.release()  # a kill releases the lock too, and cleans up nothing
        try:
            with Simulator(folder=tmp_path, hosts=("a", "b")):
                assert devices["kept"].readlink() == before
                eventually(lambda: size_of(devices["lost"]) == 8 * 2**30)
                assert extra not in devices_over_volumes(array)
        finally:
            loop.detach(extra, file)


def test_devices_of_a_run_in_another_mount_namespace_are_kept(tmp_path: Path) -> None:
    """After a container was killed, the kernel shows its files with paths that do not exist."""
    ready = tmp_path / "ready.json"
    folder, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    files = folder / "systems" / "sim1" / "volumes"  # it exists, so the simulator makes no btrfs image
    files.mkdir(parents=True)
    elsewhere.mkdir()
    serve = f"{sys.executable} -m csi_powerflex simulate --state={elsewhere} --host=a --ready-file={ready}"
    script = f"mount --bind {folder} {elsewhere} && exec {serve}"
    process = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", script])
    try:
        eventually(ready.exists, seconds=20)
        device = mapped_over_https(json.loads(ready.read_text()), folder)
        process.kill()
        process.wait()
        eventually(lambda: not (loop.backing_file(device) or tmp_path).is_relative_to(tmp_path))
        with Simulator(folder=folder, hosts=("a",)) as simulator:
            (link,) = simulator.hosts["a"].by_id.iterdir()
            assert link.readlink() == device
            assert list(loop.under(files)) == [device]
        assert loop.backing_file(device) is None
    finally:
        process.kill()
        process.wait()
        for left, file in loop.under(files).items():
            loop.detach(left, file)


def mapped_over_https(facts: dict[str, Any], folder: Path) -> Path:
    """The device of a new volume on the host a. The simulator itself has ``folder`` at another path."""
    with requests.Session() as client:
        client.trust_env = False
        client.verify = str(folder / "tls" / "ca.pem")
        login = {"username": facts["username"], "password": facts["password"]}
        token = client.post(f"{facts['url']}/rest/auth/login", json=login, timeout=5).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        (pool,) = client.get(f"{facts['url']}/api/types/StoragePool/instances", timeout=5).json()
        body = {"storagePoolId": pool["id"], "volumeSizeInGb": "8"}
        volume = client.post(f"{facts['url']}/api/types/Volume/instances", json=body, timeout=5).json()["id"]
        action = f"{facts['url']}/api/instances/Volume::{volume}/action/addMappedSdc"
        client.post(action, json={"guid": facts["hosts"]["a"]["guid"]}, timeout=5).raise_for_status()
    link = folder / "hosts" / "a" / "by-id" / f"emc-vol-{facts['systemId']}-{volume}"
    eventually(lambda: os.path.lexists(link))
    return link.readlink()


def _mounts_of(process: int) -> Path:
    return Path(f"/proc/{process}/ns/mnt").readlink()


@pytest.mark.needs("btrfs")
def test_a_pool_that_is_mounted_in_another_namespace_is_mounted_from_the_same_device(tmp_path: Path) -> None:
    """Two devices over one image would be two independent mounts of one filesystem."""
    plane = btrfs.BtrfsPlane(tmp_path)
    pinned = None
    try:
        (device,) = loop.under(tmp_path)
        keep = ["unshare", "--mount", "--propagation", "private", "sleep", "infinity"]  # a copy of all mounts
        pinned = subprocess.Popen(keep)
        eventually(lambda: _mounts_of(pinned.pid) != _mounts_of(os.getpid()))
        plane.close()
        assert list(loop.under(tmp_path)) == [device]
        again = btrfs.BtrfsPlane(tmp_path)
        try:
            assert list(loop.under(tmp_path)) == [device]
        finally:
            again.close()
    finally:
        plane.close()
        if pinned is not None:
            pinned.kill()
            pinned.wait()
    eventually(lambda: not loop.under(tmp_path))


def test_the_sdcs_tool_has_the_output_format_of_the_real_one(tmp_path: Path) -> None:
    with simulated(tmp_path) as array:
        volume_id = array.create()
        mapped(array, volume_id)
        host = array.simulator.hosts["a"]

        def drv_cfg(*arguments: str) -> list[str]:
            return output_of([host.drv_cfg, *arguments]).splitlines()

        assert drv_cfg("--query_guid") == [host.guid]
        count, mdm = drv_cfg("--query_mdms")
        assert count == "Retrieved 1 mdm(s)"
        assert mdm.startswith(f"MDM-ID {array.system_id} SDC ID {array.sdcs['a']} INSTALLATION ID ")
        assert drv_cfg("--query_mdm") == [count, mdm]
        assert drv_cfg("--query_vols") == [
            "Retrieved 1 volume(s)",
            f"VOL-ID {volume_id} MDM-ID {array.system_id}",
        ]
        assert drv_cfg("--rescan") == []
        usage = subprocess.run([host.drv_cfg], capture_output=True, text=True, check=False)
        assert usage.returncode == 1
        assert "--query_guid" in usage.stderr
        assert usage.stdout == ""


def test_the_sdcs_tool_tells_the_volume_of_a_device_whatever_its_links_are(tmp_path: Path) -> None:
    with simulated(tmp_path) as array:
        volume_id = array.create()
        device = mapped(array, volume_id).resolve()
        host = array.simulator.hosts["a"]

        def query(asked: Path) -> subprocess.CompletedProcess[str]:
            command = [str(host.drv_cfg), "--query_block_device_id", "--block_device", str(asked)]
            return subprocess.run(command, capture_output=True, text=True, check=False)

        for link in host.by_id.iterdir():
            link.unlink()
        assert query(device).stdout.strip() == f"{array.system_id}-{volume_id}"
        assert query(Path("/dev/null")).returncode == 1


def test_a_start_without_the_existing_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated(tmp_path) as array:
        write(mapped(array, array.create()), b"precious")
    monkeypatch.setattr(btrfs, "why_unavailable", lambda: "btrfs is missing")
    if (tmp_path / "systems" / "sim1" / "pool.img").exists():
        with pytest.raises(CannotSimulate, match="the volumes' data cannot be mounted: btrfs is missing"):
            Simulator(folder=tmp_path)


def test_without_btrfs_snapshots_are_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(btrfs, "why_unavailable", lambda: "there is none")
    with simulated(tmp_path) as array:
        first, second = array.create(), array.create()
        device = mapped(array, first)
        write(device, b"original")
        write(mapped(array, second), b"second")
        snapshots = array.snapshot(first, second)
        write(device, b"changed")
        for snapshot, expected in zip(snapshots, (b"original", b"second"), strict=True):
            with mapped(array, snapshot, "b").open("rb") as opened:
                assert opened.read(8).rstrip() == expected
        array.volume_action(first, "overwriteVolumeContent", srcVolumeId=snapshots[0])
        eventually(lambda: content(device) == b"original")


def content(device: Path) -> bytes:
    with device.open("rb") as opened:
        return opened.read(8)


def test_a_disconnected_host_gets_its_devices_when_it_connects_again(tmp_path: Path) -> None:
    with simulated(tmp_path) as array:
        volume_id = array.create()
        array.gateway.set_connected("a", connected=False)
        array.map(volume_id)
        mapped(array, volume_id, "b", allowMultipleMappings="TRUE")
        late = array.simulator.hosts["a"].by_id / f"emc-vol-{array.system_id}-{volume_id}"
        assert not late.exists()
        array.gateway.set_connected("a", connected=True)
        eventually(late.exists)


def test_a_device_that_another_process_takes_during_a_detach_is_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of a detached device is free, and any process can take it."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for file in (ours, theirs):
        file.write_bytes(bytes(1 << 20))
    device = loop.attach(ours, read_only=False)
    opened = loop._opened

    def taken_by_another(path: Path, flags: int = os.O_RDWR) -> contextlib.AbstractContextManager[int]:
        monkeypatch.setattr(loop, "_opened", opened)
        loop.detach(device, ours)
        with opened(theirs) as backing:
            assert loop._configured(device, backing)
        return opened(path, flags)

    monkeypatch.setattr(loop, "_opened", taken_by_another)
    loop.detach(device, ours)
    assert loop.backing_file(device) == theirs
    loop.detach(device, theirs)
