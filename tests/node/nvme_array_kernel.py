"""A kernel with NVMe/TCP that learns of volumes as a real one does: from the array, over its connections.

Loop devices over the simulator's files stand in for its devices.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from pathlib import Path

from csi_powerflex.ids import VolumeHandle
from tests.commands import CommandFailed
from tests.node.loophost import Volume, command
from tests.node.nvme_kernel import FakeArray, FakeKernel, FakePortal, FakeVolume
from tests.nvme_initiator import Failed, Initiator


class ArrayKernel(FakeKernel):
    """The kernel of one host.

    Args:
        folder: where its files are.
        images: the folder with a file for each volume of the array.
    """

    def __init__(self, folder: Path, images: Path) -> None:
        super().__init__(folder)
        self.arrays = {}
        self._images = images
        self._looking = threading.Lock()
        self._behind: dict[str, tuple[FakeVolume, Volume]] = {}
        self._followers: list[tuple[threading.Thread, socket.socket]] = []

    def connect(self, line: str) -> str:
        """Make a connection to the array's portal."""
        options = dict(part.split("=", 1) for part in line.split(","))
        host, nqn = options["hostnqn"], options["nqn"]
        initiator = Initiator(options["traddr"], int(options["trsvcid"]), host, options["hostid"])
        try:
            initiator.connect(nqn, io=False)
        except Failed as error:
            raise OSError(errno.EIO, os.strerror(errno.EIO)) from error
        except EOFError as error:
            raise OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)) from error
        try:
            with self._lock:
                array = self.arrays.setdefault(nqn, FakeArray(nqn, hosts={}))
                array.hosts.setdefault(host, [])
                array.portals[f"{initiator.address}:{initiator.port}"] = FakePortal()
            answer = super().connect(line)
        except BaseException:
            initiator.close()
            raise
        initiator.admin.socket.settimeout(None)
        follower = threading.Thread(target=self._follow, args=(initiator, array), daemon=True)
        self._followers.append((follower, initiator.admin.socket))
        follower.start()
        return answer

    def close(self) -> None:
        for follower, connection in self._followers:
            with contextlib.suppress(OSError):  # the array has ended it
                connection.shutdown(socket.SHUT_RDWR)
            follower.join()
        super().close()
        for _, behind in self._behind.values():
            behind.unmap()

    def _follow(self, initiator: Initiator, array: FakeArray) -> None:
        """Look at the array's volumes at each of its events, until the connection ends."""
        with contextlib.closing(initiator), contextlib.suppress(EOFError, OSError):
            while True:
                event = initiator.request_event()
                with self._looking:
                    self._look(initiator, array)
                initiator.admin.wait(event)
                initiator.changed()

    def _look(self, initiator: Initiator, array: FakeArray) -> None:
        found: dict[str, tuple[int, bool]] = {}
        for number in initiator.namespaces():
            with contextlib.suppress(Failed):  # unmapped now
                found[initiator.nguid(number)] = initiator.size(number), initiator.is_read_only(number)
        for volume in list(array.hosts[initiator.hostnqn]):
            if volume.nguid not in found:
                self.unmap(volume, host=initiator.hostnqn, nqn=array.nqn)
                self._behind.pop(volume.nguid)[1].unmap()
        for nguid, (size, read_only) in found.items():
            if nguid not in self._behind:
                self._add(nguid, size, read_only=read_only, host=initiator.hostnqn, nqn=array.nqn)
            if nguid not in self._behind:
                continue
            volume, behind = self._behind[nguid]
            if volume.size != size:
                behind.grow(size)
                self.grow(volume, size)

    def _add(self, nguid: str, size: int, *, read_only: bool, host: str, nqn: str) -> None:
        handle = VolumeHandle(nqn.rpartition(":")[2], nguid[:16])
        image = self._images / handle.volume_id
        with image.open("ab") as file:  # the array makes the file when it is first written
            file.truncate(size)
        behind = Volume(handle, image, self.dev, size)
        try:
            volume = FakeVolume(handle, size, nguid, behind.connect())
        except CommandFailed:
            if image.exists():
                raise
            return  # unmapped and deleted meanwhile; the event of that is on its way
        if read_only:
            command("blockdev", "--setro", behind.path)
        self._behind[nguid] = volume, behind
        self.map(volume, host=host, nqn=nqn)
