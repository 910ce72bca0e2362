"""The agent of one simulated host. It makes a loop device and a link for each mapping, as an SDC does.

It works in its own thread, so the host sees a mapping shortly after the array, as with a real SDC. At the
start it keeps matching devices and links of a run that was killed.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from csi_powerflex.simulator.array import EVERY_VOLUME, Array
from csi_powerflex.simulator.hosts import drv_cfg, loop
from csi_powerflex.simulator.model import NO_ACCESS, READ_ONLY

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5
_BUSY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _DesiredState:
    """What the host should see of one volume."""

    size: int
    read_only: bool
    restores: int


@dataclass(slots=True)
class _Attached:
    """A device that the host sees."""

    device: Path
    file: Path
    desired: _DesiredState


Key = tuple[str, str]
"""System id and volume id."""


class SdcAgent:
    """Makes the devices and links of one host match the mappings of its systems."""

    def __init__(self, name: str, guid: str, folder: Path, arrays: Sequence[Array]) -> None:
        self.name = name
        self.guid = guid
        self.by_id = folder / "by-id"
        self._folder = folder
        self._arrays = {array.system.id: array for array in arrays}
        self._attached: dict[Key, _Attached] = {}
        self._work: queue.SimpleQueue[Key | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"sdc-{name}", daemon=True)

    # --- life --------------------------------------------------------------------------------------

    def start(self, known: dict[Path, Path]) -> set[Path]:
        """Keep matching devices of a killed run, attach the other mapped volumes, then follow changes.

        ``known`` are the loop devices over files of the simulator (device to file). Returns the devices of
        this host.
        """
        self.by_id.mkdir(parents=True, exist_ok=True)
        self._adopt(known)
        for system_id, array in self._arrays.items():
            array.listeners.append(partial(self._enqueue, system_id))
            for key in self._volumes(system_id):
                self._update(key)
        self._thread.start()
        return {attached.device for attached in self._attached.values()}

    def stop(self) -> None:
        """Detach everything and remove the links."""
        self._work.put(None)
        self._thread.join()
        for key in list(self._attached):
            self._detach(key)

    def _enqueue(self, system_id: str, volume_id: str) -> None:
        self._work.put((system_id, volume_id))

    def _is_connected(self, system_id: str) -> bool:
        array = self._arrays[system_id]
        with array.lock:
            host = array.host_by_guid(self.guid)
            return host is not None and host.connected

    def _volumes(self, system_id: str) -> list[Key]:
        """The volumes of a system that the host sees or should see."""
        array = self._arrays[system_id]
        with array.lock:
            host = array.host_by_guid(self.guid)
            mapped = list(array.volume_ids_by_host.get(host.id, ())) if host else []
        seen = [key for key in self._attached if key[0] == system_id]
        return list(dict.fromkeys([*((system_id, volume_id) for volume_id in mapped), *seen]))

    def _adopt(self, known: dict[Path, Path]) -> None:
        """Keep the devices of a killed run that match a mapping, and remove all other links."""
        drv_cfg.remove_devices(self._folder)
        for link in list(self.by_id.iterdir()):
            device = link.readlink() if link.is_symlink() else None
            system_id, _, volume_id = link.name.removeprefix("emc-vol-").partition("-")
            key = (system_id, volume_id)
            desired = self._desired_state(key) if link.name.startswith("emc-vol-") else None
            file = self._file(key, desired) if desired is not None else None
            if device is None or desired is None or file is None or known.get(device) != file:
                link.unlink()
            else:
                drv_cfg.add_device(self._folder, device, system_id=system_id, volume_id=volume_id)
                self._attached[key] = _Attached(device, file, desired)
                self._refresh(device, desired)

    # --- following changes -------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            key = self._work.get()
            if key is None:
                return
            for each in self._volumes(key[0]) if key[1] == EVERY_VOLUME else [key]:
                self._update(each)

    def _update(self, key: Key) -> None:
        """Update the device of one volume. After a failure, try again later.

        A disconnected host keeps its devices and learns nothing new.
        """
        try:
            if not self._is_connected(key[0]):
                return
            desired = self._desired_state(key)
            attached = self._attached.get(key)
            if desired is None:
                self._detach(key)
            elif attached is None:
                self._attach(key, desired)
            elif attached.desired != desired:
                self._file(key, desired)
                self._refresh(attached.device, desired)
                attached.desired = desired
        except OSError:
            log.exception("host %s failed to update volume %s, trying again", self.name, "-".join(key))
            timer = threading.Timer(_RETRY_SECONDS, self._work.put, (key,))
            timer.daemon = True
            timer.start()

    def _desired_state(self, key: Key) -> _DesiredState | None:
        system_id, volume_id = key
        array = self._arrays.get(system_id)
        if array is None:
            return None
        with array.lock:
            host = array.host_by_guid(self.guid)
            volume = array.volumes.get(volume_id)
            mapping = volume.mapping_of(host.id) if host and volume else None
            if volume is None or host is None or mapping is None or mapping.access_mode == NO_ACCESS:
                return None
            return _DesiredState(volume.size_kb * 1024, mapping.access_mode == READ_ONLY, volume.restores)

    def _file(self, key: Key, desired: _DesiredState) -> Path:
        return self._arrays[key[0]].plane.file(key[1], desired.size)

    def _attach(self, key: Key, desired: _DesiredState) -> None:
        file = self._file(key, desired)
        device = loop.attach(file, read_only=desired.read_only)
        self._attached[key] = _Attached(device, file, desired)
        drv_cfg.add_device(self._folder, device, system_id=key[0], volume_id=key[1])
        link = self.link_of(key)
        new = link.with_name(f".{link.name}")
        new.unlink(missing_ok=True)
        new.symlink_to(device)
        new.replace(link)

    def _refresh(self, device: Path, desired: _DesiredState) -> None:
        loop.grow(device)
        loop.set_read_only(device, read_only=desired.read_only)
        loop.forget_cached(device)

    def _detach(self, key: Key) -> None:
        self.link_of(key).unlink(missing_ok=True)
        attached = self._attached.pop(key, None)
        if attached is not None:
            drv_cfg.remove_device(self._folder, attached.device)
            loop.detach(attached.device, attached.file)

    def link_of(self, key: Key) -> Path:
        """The path of a volume's link on this host."""
        return self.by_id / f"emc-vol-{key[0]}-{key[1]}"


def detach_orphans(known: dict[Path, Path], kept: set[Path]) -> None:
    """Detach those devices of ``known`` (device to file) that are not in ``kept``."""
    for device, file in known.items():
        if device not in kept:
            loop.detach(device, file)


def wait_until_detached(folder: Path) -> list[Path]:
    """Wait up to two seconds until files below ``folder`` have no loop devices. Returns those that are left.

    Only a device that a process has open is left. It is empty, and the kernel removes it at the last close.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while left := list(loop.under(folder)):
        if time.monotonic() > deadline:
            return left
        time.sleep(0.01)
    return []
