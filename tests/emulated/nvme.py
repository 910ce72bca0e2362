"""The driver's node process over NVMe/TCP on a real kernel, with the simulator's target at the other end.

``python -m tests.emulated.nvme``, as root in the emulated machine (see ``run``). All scenarios share one
array and run one after the other, because each start of a Python process takes many seconds there. The names
of the scenarios say what must be true. The script ends with status 1 if one of them failed.

The two portals are 127.0.0.1 and 127.0.0.2. The kernel has two NVMe hosts: the node's, and a foreign one that
another program has connected, with volumes of its own.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from csi_powerflex.simulator.faults import FaultKind
from tests.emulated import kernel
from tests.emulated.array import GIB, PORTALS, Array, Volume
from tests.emulated.launcher import Launcher
from tests.emulated.plugin import BLOCK, READ_ONLY, Plugin

FIRST, SECOND = PORTALS
_AWAY_SECONDS = 12.0  # longer than the keep-alive time, shorter than the timeout of a request
_SHORT = 4.0  # the deadline of a call that cannot succeed
_UNTIL_WRITES = 10.0  # long enough for a call to come to the first writes
_UNIT = Path(__file__).parents[2] / "docs" / "nvme.md"


@dataclass
class World:
    """What the scenarios share.

    ``formatted`` are volumes that are not mapped and have an ext4: formatting takes long in this machine.
    ``background`` runs one call next to a scenario. ``kept`` is a volume that stays staged over several
    scenarios. ``times`` are measurements in seconds, for docs/performance.md.
    """

    launcher: Launcher
    folder: Path
    array: Array
    node: kernel.Host
    foreign: kernel.Host
    node_id: str
    foreign_id: str
    plugin: Plugin
    background: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    formatted: list[Volume] = field(default_factory=list)
    kept: Volume | None = None
    foreign_controllers: set[str] = field(default_factory=set)
    times: dict[str, float] = field(default_factory=dict)

    def restart_plugin(self) -> None:
        """Kill the plugin, and start it again."""
        self.plugin.kill()
        self.plugin = Plugin(self.launcher, self.folder, self.node, self.array)

    def live(self) -> bool:
        """Whether the node is connected to both portals."""
        return list(kernel.controllers(self.node).values()) == ["live", "live"]

    def staged(self, content: str = "content") -> Volume:
        """A volume that is staged with a file. It is one that was staged before, if there is one."""
        volume = self.formatted.pop() if self.formatted else self.array.volume()
        self.array.map(volume, self.node_id)
        kernel.write_file(self.plugin.stage(volume) / "file", content)
        return volume

    def content(self, volume: Volume) -> str:
        """The content of the file."""
        return kernel.read_file(self.plugin.staging(volume) / "file")

    def drop(self, volume: Volume) -> None:
        """Unstage a volume, and take it from the node."""
        self.plugin.unstage(volume)
        assert not kernel.is_mounted(self.plugin.staging(volume))
        self.array.unmap(volume, self.node_id)
        kernel.wait("the device is removed", lambda: kernel.device(volume.nguid) is None)
        self.formatted.append(volume)


@contextlib.contextmanager
def refused(*codes: grpc.StatusCode, words: tuple[str, ...] = ()) -> Iterator[None]:
    """The call in the block must fail with one of these codes, and its message must have these words."""
    try:
        yield
    except grpc.RpcError as error:
        code, details = error.code(), error.details() or ""
    else:
        raise AssertionError("the call succeeded")
    assert code in codes, f"{code}: {details}"
    for word in words:
        assert word in details, f"{word!r} is not in: {details}"


NOT_NOW = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED)


# --- scenarios, in their order -----------------------------------------------------------------------


def nvme_cli_discovers_connects_and_lists(world: World) -> None:
    """nvme-cli is a client that is not of this project. It becomes the foreign host."""
    address = (f"--traddr={FIRST.address}", "--transport=tcp")
    service = (*address, f"--trsvcid={FIRST.discovery_port}")
    log = kernel.nvme("discover", *service, host=world.foreign)
    assert not (log or {}).get("records"), log
    volume = world.array.volume(world.foreign_id)
    log = kernel.nvme("discover", *service, host=world.foreign)
    found = {(entry["traddr"], entry["trsvcid"], entry["subnqn"]) for entry in log["records"]}
    assert found == {(each.address, str(each.nvme_port), world.array.nqn) for each in PORTALS}
    began = time.monotonic()
    kernel.run(
        "nvme", "connect", *address, f"--trsvcid={FIRST.nvme_port}", f"--nqn={world.array.nqn}",
        f"--hostnqn={world.foreign.nqn}", f"--hostid={world.foreign.host_id}", "--ctrl-loss-tmo=600",
    )  # fmt: skip
    world.times["connect alone (nvme-cli)"] = time.monotonic() - began
    kernel.wait("the foreign host has its volume", lambda: kernel.device(volume.nguid))
    devices = kernel.nvme("list")["Devices"]
    assert [each["DevicePath"] for each in devices] == [str(kernel.device(volume.nguid))]
    assert devices[0]["PhysicalSize"] == GIB
    world.foreign_controllers = set(kernel.controllers(world.foreign))


def the_node_registers_with_its_nqn(world: World) -> None:
    info = world.plugin.info()
    assert info.node_id == f"nqn:{world.node.nqn}", info.node_id


def a_volume_of_another_host_of_this_kernel_is_not_taken(world: World) -> None:
    volume = world.array.volume(world.foreign_id)
    kernel.wait("the foreign host has it", lambda: kernel.device(volume.nguid))
    with refused(*NOT_NOW, grpc.StatusCode.FAILED_PRECONDITION):
        world.plugin.stage(volume, seconds=_SHORT)
    assert not kernel.is_mounted(world.plugin.staging(volume))


def a_dead_portal_does_not_stop_the_first_staging(world: World) -> None:
    with world.array.away(FIRST):
        began = time.monotonic()
        volume = world.staged()
        world.times["first NodeStageVolume of a new volume: discovery, connect, mkfs, mount"] = (
            time.monotonic() - began
        )
        assert list(kernel.controllers(world.node).values()) == ["live"]
        assert world.content(volume) == "content"
    world.kept = volume


def its_connection_is_added_later(world: World) -> None:
    """The plugin looks for missing connections once a minute, as long as there are volumes."""
    kernel.wait("both portals are connected", world.live)
    assert world.kept is not None
    assert world.content(world.kept) == "content"
    world.drop(world.kept)


def a_volume_is_staged_over_two_portals_written_expanded_and_unstaged(world: World) -> None:
    volume = world.array.volume(world.node_id)
    staging = world.plugin.stage(volume)
    assert world.live()
    assert world.plugin.health(volume) == ""
    target = world.plugin.publish(volume)
    kernel.write_file(target / "file", "content")
    grown = world.array.grow(volume)
    assert world.plugin.expand(grown) == grown.size
    assert world.plugin.capacity(grown) > GIB
    assert world.content(grown) == "content"
    world.plugin.unpublish(grown)
    world.drop(grown)
    assert world.live(), "the connections stay"
    assert not kernel.is_mounted(staging)


def a_warm_process_takes_little_more_than_mkfs_and_mount(world: World) -> None:
    """It measures, and expects nothing: the machine is emulated."""
    volume = world.array.volume()
    began = time.monotonic()
    world.array.map(volume, world.node_id)
    kernel.wait("the device appears", lambda: kernel.device(volume.nguid))
    world.times["from mapping to the device, alone"] = time.monotonic() - began
    path, folder = str(kernel.device(volume.nguid)), str(world.folder / "mount")
    Path(folder).mkdir()
    for name, words in (("mkfs.ext4", ("mkfs.ext4", "-q", path)), ("mount", ("mount", path, folder))):
        began = time.monotonic()
        kernel.run(*words)
        world.times[f"{name} alone"] = time.monotonic() - began
    kernel.run("umount", folder)
    world.array.unmap(volume, world.node_id)
    other = world.array.volume()
    began = time.monotonic()
    world.array.map(other, world.node_id)
    world.plugin.stage(other)
    world.times["from mapping to a mounted new ext4"] = time.monotonic() - began
    world.plugin.unstage(other)
    began = time.monotonic()
    world.plugin.stage(other)
    world.times["NodeStageVolume of a volume with an ext4"] = time.monotonic() - began
    world.drop(other)


def a_lost_event_is_made_up_for_by_a_rescan(world: World) -> None:
    with world.array.fault(FaultKind.NO_EVENT):
        volume = world.staged()
        grown = world.array.grow(volume)
        assert world.plugin.expand(grown) == grown.size
    world.drop(grown)


def a_read_only_mapping_is_mounted_read_only(world: World) -> None:
    volume = world.staged()
    world.drop(volume)
    world.formatted.remove(volume)
    world.array.map(volume, world.node_id, read_only=True)
    staging = world.plugin.stage(volume, READ_ONLY, read_only=True)
    assert kernel.run("blockdev", "--getro", str(kernel.device(volume.nguid))).strip() == "1"
    assert kernel.read_file(staging / "file") == "content"
    write = subprocess.run(["touch", staging / "other"], capture_output=True, text=True, check=False)
    assert "Read-only file system" in write.stderr
    world.drop(volume)


def a_block_device_of_two_hosts_stays_when_the_other_host_loses_it(world: World) -> None:
    volume = world.array.volume(world.node_id, world.foreign_id)
    world.plugin.stage(volume, BLOCK)
    target = world.plugin.publish(volume, BLOCK)
    assert target.is_block_device()
    kernel.run("dd", "if=/dev/urandom", f"of={target}", "bs=64k", "count=4", "oflag=direct")
    world.array.unmap(volume, world.foreign_id)
    kernel.run("dd", f"if={target}", "of=/dev/null", "bs=64k", "count=4", "iflag=direct")
    world.plugin.unpublish(volume)
    world.plugin.unstage(volume)
    world.array.unmap(volume, world.node_id)


def a_lost_portal_stops_no_write_and_its_connection_comes_back(world: World) -> None:
    volume = world.staged()
    with world.array.away(FIRST):
        kernel.wait("a connection is lost", lambda: "connecting" in kernel.controllers(world.node).values())
        kernel.write_file(world.plugin.staging(volume) / "file", "written over one portal")
        assert "PathsLost" in world.plugin.health(volume)
        other = world.staged()
    kernel.wait("it is back", world.live)
    assert world.plugin.health(volume) == ""
    assert world.content(volume) == "written over one portal"
    for each in (volume, other):
        world.drop(each)


def all_portals_away_is_a_wait_and_no_error_and_the_plugin_can_be_restarted_meanwhile(world: World) -> None:
    volume = world.staged()
    log = kernel.kernel_log()
    file = world.plugin.staging(volume) / "written"
    words = f"for n in 1 2 3 4 5 6; do echo $n >>{file} && sync {file} || exit 1; sleep 1; done"
    writer = subprocess.Popen(["sh", "-c", words])
    with world.array.away(*PORTALS):
        began = time.monotonic()
        assert "NoPath" in world.plugin.health(volume)
        world.restart_plugin()
        assert "NoPath" in world.plugin.health(volume)
        time.sleep(max(0.0, began + _AWAY_SECONDS - time.monotonic()))
        assert writer.poll() is None, "the writer has ended"
    assert writer.wait(kernel.PATIENCE) == 0
    assert kernel.read_file(file).split() == ["1", "2", "3", "4", "5", "6"]
    new = kernel.kernel_log().removeprefix(log)
    assert "I/O error" not in new, new
    kernel.wait("both are back", world.live)
    world.plugin.stage(volume)
    assert world.plugin.capacity(volume) > 0
    grown = world.array.grow(volume)
    assert world.plugin.expand(grown) == grown.size
    world.drop(grown)


def without_paths_calls_end_in_time_or_wait_and_the_plugin_waits_for_no_device(world: World) -> None:
    volume, other = world.staged(), world.array.volume(world.node_id)
    file = world.plugin.staging(volume) / "unwritten"
    kernel.run("dd", "if=/dev/zero", f"of={file}", "bs=64k", "count=16")  # in the page cache
    with world.array.away(*PORTALS):
        kernel.wait("no path is left", lambda: set(kernel.controllers(world.node).values()) == {"connecting"})
        with refused(*NOT_NOW):
            world.plugin.unstage(volume, seconds=_SHORT)
        assert world.plugin.stuck == []
        with refused(*NOT_NOW):
            world.plugin.stage(other, seconds=_SHORT)
        assert world.plugin.stuck == []
        assert world.plugin.info().node_id
        waiting = world.background.submit(world.plugin.stage, other)
        time.sleep(1.0)
        assert not waiting.done(), waiting
    waiting.result(kernel.PATIENCE)
    kernel.wait("both are back", world.live)
    for each in (volume, other):
        world.drop(each)


def a_format_whose_writes_do_not_return_ends_in_time(world: World) -> None:
    volume = world.array.volume(world.node_id)
    frozen = world.array.fault(FaultKind.FREEZE, route="Nvme.write", object=volume.handle.volume_id)
    with frozen, refused(*NOT_NOW):
        world.plugin.stage(volume, seconds=_UNTIL_WRITES)
    kernel.wait("the connections serve", world.live)
    world.plugin.stage(volume)
    world.drop(volume)


def a_volume_unmapped_under_its_mount_is_reported_and_unstaged(world: World) -> None:
    volume = world.staged()
    world.array.unmap(volume, world.node_id)
    kernel.wait("the device is removed", lambda: kernel.device(volume.nguid) is None)
    assert "DeviceMissing" in world.plugin.health(volume)
    with refused(*NOT_NOW, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND):
        world.plugin.expand(Volume(volume.handle, volume.size + GIB), seconds=_SHORT)
    with contextlib.suppress(grpc.RpcError):  # any answer is right that comes in time
        world.plugin.capacity(volume)
    world.plugin.unstage(volume)
    assert not kernel.is_mounted(world.plugin.staging(volume))
    world.formatted.append(volume)


def a_name_that_another_volume_got_does_not_lead_to_it(world: World) -> None:
    first = world.staged("of the first")
    name = kernel.device(first.nguid)
    world.drop(first)
    world.formatted.remove(first)
    second = world.array.volume()
    for _ in range(10):
        world.array.map(second, world.node_id)
        kernel.wait("the device appears", lambda: kernel.device(second.nguid))
        if kernel.device(second.nguid) == name:
            break
        # The kernel frees a name some time after the device.
        world.array.unmap(second, world.node_id)
        kernel.wait("the device is removed", lambda: kernel.device(second.nguid) is None)
        time.sleep(0.5)
    else:
        raise LeftOut("the kernel did not give the name of the first device to the second one")
    kernel.write_file(world.plugin.stage(second) / "file", "of the second")
    assert kernel.device(second.nguid) == name
    with refused(*NOT_NOW, grpc.StatusCode.FAILED_PRECONDITION):
        world.plugin.stage(first, seconds=_SHORT)
    assert world.content(second) == "of the second"
    world.drop(second)
    world.array.map(first, world.node_id)
    world.plugin.stage(first)
    assert world.content(first) == "of the first"
    world.drop(first)


def after_a_reboot_a_volume_is_staged_again_over_the_connection_of_another_program(world: World) -> None:
    """A reboot leaves no mount and no connection. Then a program has connected one portal as this host."""
    volume = world.staged()
    world.plugin.kill()
    kernel.run("umount", str(world.plugin.staging(volume)))
    kernel.delete(world.node)
    kernel.wait("no connection is left", lambda: not kernel.controllers(world.node))
    world.plugin = Plugin(world.launcher, world.folder, world.node, world.array)
    kernel.run(
        "nvme", "connect", "--transport=tcp", f"--traddr={SECOND.address}",
        f"--trsvcid={SECOND.nvme_port}", f"--nqn={world.array.nqn}", f"--hostnqn={world.node.nqn}",
        f"--hostid={world.node.host_id}", "--ctrl-loss-tmo=600",
    )  # fmt: skip
    (theirs,) = kernel.controllers(world.node)
    world.plugin.stage(volume)
    assert world.content(volume) == "content"
    assert kernel.loss_timeout(theirs) == "off", "the kernel would give the connection up"
    world.drop(volume)


def the_unit_in_the_documentation_limits_the_wait_at_shutdown(world: World) -> None:
    match = re.search(r"^ExecStop=/bin/sh -c '(.*)'$", _UNIT.read_text(), re.MULTILINE)
    assert match is not None
    kernel.run("sh", "-c", match[1].replace("$$", "$").replace("%%", "%"))
    times = {file.read_text().strip() for file in Path("/sys/class/nvme").glob("*/ctrl_loss_tmo")}
    assert times == {"30"}, times


def no_foreign_connection_was_touched(world: World) -> None:
    assert world.foreign_controllers
    found = kernel.controllers(world.foreign)
    assert set(found) == world.foreign_controllers, found
    assert set(found.values()) == {"live"}, found


SCENARIOS: tuple[Callable[[World], None], ...] = (
    nvme_cli_discovers_connects_and_lists,
    the_node_registers_with_its_nqn,
    a_dead_portal_does_not_stop_the_first_staging,
    # The next ones need only one path.
    a_volume_of_another_host_of_this_kernel_is_not_taken,
    a_warm_process_takes_little_more_than_mkfs_and_mount,
    a_lost_event_is_made_up_for_by_a_rescan,
    a_read_only_mapping_is_mounted_read_only,
    a_block_device_of_two_hosts_stays_when_the_other_host_loses_it,
    a_name_that_another_volume_got_does_not_lead_to_it,
    a_volume_unmapped_under_its_mount_is_reported_and_unstaged,
    its_connection_is_added_later,
    a_volume_is_staged_over_two_portals_written_expanded_and_unstaged,
    a_lost_portal_stops_no_write_and_its_connection_comes_back,
    all_portals_away_is_a_wait_and_no_error_and_the_plugin_can_be_restarted_meanwhile,
    without_paths_calls_end_in_time_or_wait_and_the_plugin_waits_for_no_device,
    a_format_whose_writes_do_not_return_ends_in_time,
    after_a_reboot_a_volume_is_staged_again_over_the_connection_of_another_program,
    the_unit_in_the_documentation_limits_the_wait_at_shutdown,
    no_foreign_connection_was_touched,
)


class LeftOut(Exception):
    """What a scenario needs did not come about in this kernel; the text says what."""


# --- running them --------------------------------------------------------------------------------------


def _run(world: World, wanted: list[str]) -> int:
    """Run the scenarios whose names contain one of these texts, or all. Returns how many failed."""
    failed = 0
    for scenario in SCENARIOS:
        if wanted and not any(text in scenario.__name__ for text in wanted):
            continue
        began = time.monotonic()
        try:
            scenario(world)
        except LeftOut as reason:
            verdict = f"left out ({reason})"
        except Exception:  # noqa: BLE001 - the next scenarios may show more
            failed += 1
            verdict = "FAILED"
            traceback.print_exc(file=sys.stdout)
        else:
            verdict = "ok    "
        name = scenario.__name__.replace("_", " ")
        print(f"{verdict} {time.monotonic() - began:6.1f} s  {name}", flush=True)
    for name, seconds in world.times.items():
        print(f"       {seconds:6.2f} s  {name}")
    return failed


def main() -> int:
    """Run the scenarios. At the end no connection and no mount is left, also after an error."""
    began = time.monotonic()
    # In memory: the files of this machine are those of another one, over a slow connection.
    folder = Path(tempfile.mkdtemp(prefix="nvme-", dir="/dev/shm"))
    launcher = Launcher()
    array = Array(folder / "array")
    node, foreign = kernel.Host.numbered("3"), kernel.Host.numbered("4")
    plugin = Plugin(launcher, folder, node, array)
    world = World(
        launcher, folder, array, node, foreign, array.host(node.nqn), array.host(foreign.nqn), plugin
    )
    try:
        world.plugin.info()
        print(f"       {time.monotonic() - began:6.1f} s  until the plugin answers", flush=True)
        failed = _run(world, sys.argv[1:])
        if failed:
            print((folder / "node.log").read_text()[-8000:])
    finally:
        world.plugin.kill()
        # First the connections: what is mounted over a lost one cannot be unmounted.
        kernel.delete()
        for line in Path("/proc/self/mounts").read_text().splitlines():
            if str(folder) in line:
                subprocess.run(["umount", "--lazy", line.split()[1]], check=False, timeout=kernel.PATIENCE)
        array.close()
        launcher.close()
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
