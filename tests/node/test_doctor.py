"""The doctor of the node's side: each fault has its line. Files describe the host, so no device is needed."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from csi_powerflex.app import node as app
from csi_powerflex.cli.main import main
from csi_powerflex.config.node import NodeSettings, SdcOnDemand, SdcSettings
from csi_powerflex.errors import Unavailable
from csi_powerflex.host import facts, mountinfo, probe, run
from csi_powerflex.host.facts import CAPABILITIES, HostFacts
from csi_powerflex.model.checks import Check, Level
from csi_powerflex.operations.node import doctor, target_paths
from csi_powerflex.operations.node.doctor import HostPaths
from csi_powerflex.transport.sdc import doctor as sdc_doctor
from tests.node.conftest import ReplaceTool

DRIVER = "csi.powerflex.dev"
GUID = "B0E3BFB8-C20B-43BF-93C8-13339E85AA50"
SYSTEM = "5a1b2c3d4e5f600f"
ROOT = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
PRIVATE = b"22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"


def host(table: bytes = ROOT, **changes: Any) -> HostFacts:
    """A host on which everything works, but for ``changes``."""
    good = HostFacts(0, frozenset(CAPABILITIES), "6.1.0-18-amd64", mountinfo.parse(table))
    return dataclasses.replace(good, **changes)


@pytest.fixture
def settings(tmp_path: Path) -> NodeSettings:
    kubelet = tmp_path / "kubelet"
    (kubelet / "pods").mkdir(parents=True)
    sdc = tmp_path / "sdc"
    (sdc / "by-id").mkdir(parents=True)
    tool = sdc / "drv_cfg"
    tool.write_text(
        '#!/bin/sh\nhere=$(dirname "$0")\n'
        f'case "$1" in --query_guid) echo {GUID} ;; --query_mdms) cat "$here/mdms" ;; esac\n'
    )
    tool.chmod(0o755)
    write_systems(sdc, SYSTEM)
    return NodeSettings(
        endpoint="",
        driver_name=DRIVER,
        mount_roots=(kubelet,),
        sdc=SdcSettings(
            drv_cfg=tool,
            control_device=sdc / "scini",
            by_id=sdc / "by-id",
            on_demand=SdcOnDemand(module=sdc / "module"),
        ),
    )


def write_systems(sdc: Path, *systems: str) -> None:
    lines = [
        f"MDM-ID {system} SDC ID 6b18479c00000003 INSTALLATION ID 68ab55462cbb3ae4 "
        f"IPs [0]-192.0.2.1{number}\n"
        for number, system in enumerate(systems)
    ]
    (sdc / "mdms").write_text("".join(lines))


@pytest.fixture
def paths(tmp_path: Path) -> HostPaths:
    sysfs = tmp_path / "sys"
    (sysfs / "block").mkdir(parents=True)
    return HostPaths(sysfs, tmp_path / "multipath.conf")


def essentials(settings: NodeSettings, of: HostFacts) -> list[Check]:
    return list(doctor.essentials(settings, of))


def examine(settings: NodeSettings, of: HostFacts, paths: HostPaths) -> list[Check]:
    return list(doctor.examine(settings, of, always_needed=app.ALWAYS_NEEDED, paths=paths))


def named(checks: list[Check], name: str) -> list[Check]:
    return [check for check in checks if check.name == name]


def only_problem(checks: list[Check]) -> Check:
    (problem,) = [check for check in checks if check.level is not Level.OK]
    assert problem.remedy
    return problem


# --- what every volume needs -----------------------------------------------------------------------


def test_a_host_on_which_volumes_can_be_mounted_has_no_problem(settings: NodeSettings) -> None:
    checks = essentials(settings, host())
    assert {check.level for check in checks} == {Level.OK}
    assert [check.name for check in checks] == [
        *("user", "capabilities", "kubelet folder", "mount propagation", "kernel")
    ]


def test_another_user_than_root_is_a_fault(settings: NodeSettings) -> None:
    check = only_problem(essentials(settings, host(user=65532)))
    assert (check.name, check.level) == ("user", Level.FAULT)
    assert check.found == "user 65532, who may not mount"


def test_without_the_capability_to_mount_there_is_a_fault(settings: NodeSettings) -> None:
    lacking = frozenset(CAPABILITIES) - {"CAP_SYS_ADMIN"}
    check = only_problem(essentials(settings, host(capabilities=lacking)))
    assert (check.name, check.level) == ("capabilities", Level.FAULT)
    assert "CAP_SYS_ADMIN is missing" in check.found


@pytest.mark.parametrize("name", ["CAP_DAC_OVERRIDE", "CAP_SYS_RESOURCE", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE"])
def test_another_missing_capability_is_a_warning_with_its_use(settings: NodeSettings, name: str) -> None:
    lacking = frozenset(CAPABILITIES) - {name}
    check = only_problem(essentials(settings, host(capabilities=lacking)))
    assert (check.name, check.level) == ("capabilities", Level.WARNING)
    assert f"{name} (to " in check.found


def test_capabilities_for_starting_the_sdc_are_wanted_only_for_that(settings: NodeSettings) -> None:
    plain = dataclasses.replace(settings, sdc=dataclasses.replace(settings.sdc, on_demand=None))
    lacking = frozenset(CAPABILITIES) - {"CAP_SYS_CHROOT", "CAP_SYS_PTRACE"}
    checks = essentials(plain, host(capabilities=lacking))
    assert {check.level for check in checks} == {Level.OK}


def test_a_missing_kubelet_folder_is_a_fault(settings: NodeSettings, tmp_path: Path) -> None:
    absent = dataclasses.replace(settings, mount_roots=(tmp_path / "absent",))
    check = only_problem(essentials(absent, host()))
    assert (check.name, check.level) == ("kubelet folder", Level.FAULT)
    assert check.subject == str(tmp_path / "absent")


def test_a_kubelet_folder_that_cannot_be_written_is_a_fault(
    settings: NodeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    check = only_problem(essentials(settings, host()))
    assert (check.name, check.level) == ("kubelet folder", Level.FAULT)
    assert check.found == "it cannot be written"


def test_a_folder_that_may_not_be_the_kubelets_is_a_warning(settings: NodeSettings, paths: HostPaths) -> None:
    (settings.mount_roots[0] / "pods").rmdir()
    _, check = named(examine(settings, host(), paths), "kubelet folder")
    assert check.level is Level.WARNING
    assert "it has no folder pods" in check.found


def test_a_private_mount_is_a_fault(settings: NodeSettings) -> None:
    check = only_problem(essentials(settings, host(PRIVATE)))
    assert (check.name, check.level) == ("mount propagation", Level.FAULT)
    assert "mount --make-rshared /" in check.remedy


def test_the_mount_that_the_folder_is_in_decides_about_propagation(settings: NodeSettings) -> None:
    (kubelet,) = settings.mount_roots
    shared = f"23 22 8:2 / {kubelet} rw shared:2 - ext4 /dev/sdb rw\n".encode()
    assert {check.level for check in essentials(settings, host(PRIVATE + shared))} == {Level.OK}
    covered = shared + f"24 23 8:3 / {kubelet} rw - ext4 /dev/sdc rw\n".encode()
    check = only_problem(essentials(settings, host(ROOT + covered)))
    assert check.name == "mount propagation"
    other = f"23 22 8:2 / {kubelet}-other rw - ext4 /dev/sdb rw\n".encode()
    assert {check.level for check in essentials(settings, host(ROOT + other))} == {Level.OK}


@pytest.mark.parametrize(
    ("kernel", "level"),
    [
        ("4.18.0-553.el8", Level.FAULT),
        ("5.1.21", Level.FAULT),
        ("5.2.0", Level.WARNING),
        ("5.11.22", Level.WARNING),
        ("5.12.0", Level.OK),
        ("6.18.1", Level.OK),
        ("unknown", Level.WARNING),
    ],
)
def test_the_kernel_needs_the_system_calls_of_the_driver(
    settings: NodeSettings, kernel: str, level: Level
) -> None:
    (check,) = named(essentials(settings, host(kernel=kernel)), "kernel")
    assert check.level is level
    assert kernel in check.found


def test_the_facts_of_this_machine_can_be_read() -> None:
    found = facts.read()
    assert found.user == os.geteuid()
    assert found.kernel_version is not None
    assert found.mount_of(Path("/")) is not None
    assert found.capabilities <= set(CAPABILITIES)
    assert facts.clock_is_synchronized() in (True, False, None)


# --- the start of the node -------------------------------------------------------------------------


def test_the_node_says_in_its_log_what_keeps_volumes_from_being_mounted(
    settings: NodeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text_log: io.StringIO
) -> None:
    lacking = frozenset(CAPABILITIES) - {"CAP_SYS_RESOURCE"}
    monkeypatch.setattr(facts, "read", lambda: host(user=1000, capabilities=lacking))
    app.say_what_is_wrong(dataclasses.replace(settings, mount_roots=(tmp_path / "absent",)))
    lines = text_log.getvalue().splitlines()
    assert len(lines) == 3
    assert 'ERROR   host check failed check=user subject="this host" found="user 1000, ' in lines[0]
    assert "WARNING host check gave a warning check=capabilities" in lines[1]
    assert f'check="kubelet folder" subject={tmp_path}/absent' in lines[2]


def test_the_node_says_nothing_on_a_host_without_problems(
    settings: NodeSettings, monkeypatch: pytest.MonkeyPatch, text_log: io.StringIO
) -> None:
    monkeypatch.setattr(facts, "read", host)
    app.say_what_is_wrong(settings)
    assert text_log.getvalue() == ""


# --- tools -----------------------------------------------------------------------------------------


def test_tools_are_shown_with_their_versions(
    settings: NodeSettings, paths: HostPaths, replace_tool: ReplaceTool
) -> None:
    for tool in run.PACKAGES:
        replace_tool(tool, f"echo {tool}, version 1.47.0 >&2; exit 1")
    checks = named(examine(settings, host(), paths), "tools")
    assert {check.level for check in checks} == {Level.OK}
    assert "e2fsprogs 1.47.0 (mkfs.ext4, e2fsck, resize2fs)" in [check.found for check in checks]


def test_a_tool_that_tells_no_version_is_no_problem(
    settings: NodeSettings, paths: HostPaths, replace_tool: ReplaceTool
) -> None:
    replace_tool("mkfs.xfs", "exit 1")
    found = [check.found for check in named(examine(settings, host(), paths), "tools")]
    assert any(text.startswith("xfsprogs of an unknown version (") for text in found)


def test_a_tool_that_hangs_is_shown_with_the_reason(
    settings: NodeSettings,
    paths: HostPaths,
    replace_tool: ReplaceTool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replace_tool("mkfs.xfs", "sleep 60")
    monkeypatch.setattr(doctor, "_VERSION_SECONDS", 0.1)
    found = [check.found for check in named(examine(settings, host(), paths), "tools")]
    assert any("did not end within 0.1 s" in text for text in found)


def test_missing_tools_are_named_with_their_packages(
    settings: NodeSettings, paths: HostPaths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(run, "tools", run.Tools(str(tmp_path / "empty")))
    namespace = SdcOnDemand(mount_namespace=Path("/proc/1/ns/mnt"))
    wanted = dataclasses.replace(settings, sdc=dataclasses.replace(settings.sdc, on_demand=namespace))
    checks = named(examine(wanted, host(), paths), "tools")
    assert [check.level for check in checks] == [
        *(Level.FAULT, Level.WARNING, Level.WARNING, Level.WARNING, Level.FAULT)
    ]
    assert "mount (package mount), umount (package mount), blkid (package util-linux)" in checks[0].found
    assert checks[2].found == (
        "xfs cannot be used without mkfs.xfs (package xfsprogs), xfs_growfs (package xfsprogs)"
    )


# --- multipath, clock ------------------------------------------------------------------------------


def test_a_multipath_map_on_a_volume_is_a_fault(settings: NodeSettings, paths: HostPaths) -> None:
    block = paths.sysfs / "block"
    for device, uuid in (("dm-0", "LVM-x"), ("dm-1", "mpath-x")):
        (block / device / "dm").mkdir(parents=True)
        (block / device / "dm" / "uuid").write_text(uuid)
    (block / "scinia" / "holders" / "dm-0").mkdir(parents=True)
    assert named(examine(settings, host(), paths), "multipath")[0].level is Level.OK
    (block / "scinib" / "holders" / "dm-1").mkdir(parents=True)
    (check,) = named(examine(settings, host(), paths), "multipath")
    assert (check.level, check.found) == (Level.FAULT, "multipathd has taken scinib (dm-1)")


def test_a_configuration_of_multipath_without_scini_is_a_warning(
    settings: NodeSettings, paths: HostPaths
) -> None:
    paths.multipath.write_text("defaults { user_friendly_names yes }\n")
    (check,) = named(examine(settings, host(), paths), "multipath")
    assert check.level is Level.WARNING
    paths.multipath.write_text('blacklist { devnode "^scini" }\n')
    (check,) = named(examine(settings, host(), paths), "multipath")
    assert check.level is Level.OK


@pytest.mark.parametrize(
    ("synchronized", "level"), [(True, Level.OK), (None, Level.OK), (False, Level.WARNING)]
)
def test_a_clock_that_no_service_keeps_is_a_warning(
    settings: NodeSettings,
    paths: HostPaths,
    monkeypatch: pytest.MonkeyPatch,
    synchronized: bool | None,
    level: Level,
) -> None:
    monkeypatch.setattr(facts, "clock_is_synchronized", lambda: synchronized)
    (check,) = named(examine(settings, host(), paths), "clock")
    assert check.level is level


# --- leftovers -------------------------------------------------------------------------------------


def dead_mount(number: int, point: Path) -> bytes:
    """A line of mountinfo: the filesystem of a device that the kernel does not have."""
    return f"{number} 22 240:77 / {point} rw shared:9 - ext4 /dev/scinia rw\n".encode()


def test_mounts_of_this_driver_without_a_device_are_a_warning(
    settings: NodeSettings, paths: HostPaths
) -> None:
    (kubelet,) = settings.mount_roots
    staged = kubelet / "plugins/kubernetes.io/csi" / DRIVER / "0f1e/globalmount"
    pod = kubelet / "pods/7c9e/volumes/kubernetes.io~csi/pvc-1/mount"
    block = kubelet / "plugins/kubernetes.io/csi/volumeDevices/publish/pvc-2/7c9e"
    foreign = kubelet / "pods/7c9e/volumes/kubernetes.io~csi/pvc-3/mount"
    unknown = kubelet / "pods/7c9e/volumes/kubernetes.io~csi/pvc-4/mount"
    for folder, name in (
        (pod.parent, DRIVER),
        (foreign.parent, "csi.example.org"),
        (block.parents[2] / "pvc-2" / "data", DRIVER),
    ):
        folder.mkdir(parents=True)
        (folder / "vol_data.json").write_text(json.dumps({"driverName": name}))
    unknown.parent.mkdir(parents=True)
    (unknown.parent / "vol_data.json").write_text("[")
    outside = Path("/srv") / DRIVER
    points = (staged, pod, block, foreign, unknown, outside)
    table = ROOT + b"".join(dead_mount(30 + number, point) for number, point in enumerate(points))
    (check,) = named(examine(settings, host(table), paths), "leftover mounts")
    assert check.level is Level.WARNING
    assert check.found == f"without a device: {staged}, {pod}, {block}"


def test_a_mount_whose_device_is_there_is_no_leftover(
    settings: NodeSettings, paths: HostPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_paths, "alive", lambda _mount: True)
    point = settings.mount_roots[0] / DRIVER / "globalmount"
    (check,) = named(examine(settings, host(ROOT + dead_mount(30, point)), paths), "leftover mounts")
    assert (check.level, check.found) == (Level.OK, "none")


# --- the SDC ---------------------------------------------------------------------------------------


def sdc(settings: NodeSettings) -> list[Check]:
    return list(sdc_doctor.examine(settings))


def load_module(settings: NodeSettings, version: str | None = "4.5.2.0") -> None:
    assert settings.sdc.on_demand is not None
    settings.sdc.on_demand.module.mkdir()
    if version:
        (settings.sdc.on_demand.module / "version").write_text(f"{version}\n")


def test_an_sdc_that_works_has_no_problem(settings: NodeSettings) -> None:
    load_module(settings)
    checks = sdc(settings)
    assert [(check.name, check.level, check.found) for check in checks] == [
        ("sdc module", Level.OK, "scini 4.5.2.0 is loaded"),
        ("sdc guid", Level.OK, GUID),
        ("sdc systems", Level.OK, f"{SYSTEM}, MDMs 192.0.2.10"),
        ("leftover links", Level.OK, "none; 0 volumes are on this host"),
    ]


def test_a_module_that_tells_no_version_is_loaded(settings: NodeSettings) -> None:
    load_module(settings, version=None)
    assert sdc(settings)[0].found == "scini of an unknown version is loaded"


def test_a_tool_that_answers_without_a_module_is_a_warning(settings: NodeSettings) -> None:
    check = only_problem(sdc(settings))
    assert (check.name, check.level) == ("sdc module", Level.WARNING)


def test_a_host_without_an_sdc_has_a_fault_for_module_and_guid(settings: NodeSettings) -> None:
    settings.sdc.drv_cfg.unlink()
    checks = [check for check in sdc(settings) if check.level is not Level.OK]
    assert [(check.name, check.level) for check in checks] == [
        ("sdc module", Level.FAULT),
        ("sdc guid", Level.FAULT),
    ]
    assert "this host has no SDC" in checks[1].found


def test_a_tool_that_fails_is_a_fault(settings: NodeSettings) -> None:
    load_module(settings)
    settings.sdc.drv_cfg.write_text("#!/bin/sh\necho cannot open the device >&2; exit 1\n")
    checks = [check for check in sdc(settings) if check.level is not Level.OK]
    assert [check.name for check in checks] == ["sdc guid", "sdc systems"]
    assert all("cannot open the device" in check.found for check in checks)


def test_mdms_that_were_never_reached_are_a_fault(settings: NodeSettings) -> None:
    load_module(settings)
    write_systems(settings.sdc.drv_cfg.parent, SYSTEM, "0" * 16)
    check = only_problem(sdc(settings))
    assert (check.name, check.level) == ("sdc systems", Level.FAULT)
    assert check.found == "the SDC has never reached the MDMs 192.0.2.11"


def test_an_sdc_that_is_registered_nowhere_is_a_fault(settings: NodeSettings) -> None:
    load_module(settings)
    write_systems(settings.sdc.drv_cfg.parent)
    check = only_problem(sdc(settings))
    assert (check.name, check.found) == ("sdc systems", "the SDC is registered with no system")


def test_links_without_a_device_are_a_warning(settings: NodeSettings) -> None:
    load_module(settings)
    link = settings.sdc.by_id / f"emc-vol-{SYSTEM}-b1f0c2d400000001"
    link.symlink_to("/dev/absent")
    (settings.sdc.by_id / "wwn-0x5000").symlink_to("/dev/absent")
    check = only_problem(sdc(settings))
    assert (check.name, check.level) == ("leftover links", Level.WARNING)
    assert check.found == f"without a device: {link.name}"


@pytest.fixture
def device(settings: NodeSettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that passes for a block device, without any mark on it."""
    file = settings.sdc.by_id.parent / "device"
    file.touch()
    monkeypatch.setattr(Path, "is_block_device", lambda path: path == file)
    monkeypatch.setattr(probe, "is_marked", lambda *_: False)
    load_module(settings)
    return file


def link(settings: NodeSettings, number: int, device: Path) -> str:
    name = f"emc-vol-{SYSTEM}-b1f0c2d40000000{number}"
    (settings.sdc.by_id / name).symlink_to(device)
    return name


def test_a_volume_that_is_here_is_no_leftover(settings: NodeSettings, device: Path) -> None:
    link(settings, 1, device)
    assert sdc(settings)[-1].found == "none; 1 volumes are on this host"


def test_two_links_for_one_device_are_a_fault(settings: NodeSettings, device: Path) -> None:
    both = [link(settings, number, device) for number in (1, 2)]
    check = only_problem(sdc(settings))
    assert (check.name, check.level) == ("leftover links", Level.FAULT)
    assert check.found == f"for one device, {device}: {', '.join(both)}"


def test_a_filesystem_that_is_not_complete_is_a_warning(
    settings: NodeSettings, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link(settings, 1, device)
    monkeypatch.setattr(probe, "is_marked", lambda *_: True)
    check = only_problem(sdc(settings))
    assert (check.name, check.level) == ("unfinished filesystem", Level.WARNING)
    assert f"{SYSTEM}-b1f0c2d400000001" in check.found


def test_a_device_that_does_not_answer_is_a_fault(
    settings: NodeSettings, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = link(settings, 1, device)

    def refuse(*_: object) -> bool:
        raise Unavailable("the block device does not answer")

    monkeypatch.setattr(probe, "is_marked", refuse)
    check = only_problem(sdc(settings))
    assert (check.level, check.found) == (Level.FAULT, f"{name}: the block device does not answer")


def test_a_host_without_the_folder_of_links_has_no_volumes(settings: NodeSettings) -> None:
    load_module(settings)
    settings.sdc.by_id.rmdir()
    assert sdc(settings)[-1].found == "none; 0 volumes are on this host"


# --- a process without rights ----------------------------------------------------------------------


@pytest.fixture
def without_rights(settings: NodeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may not look into the folders of kubelet and SDC, as one of another user than root."""
    look, folders = os.stat, (settings.mount_roots[0], settings.sdc.by_id.parent)

    def refuse(path: Any, **options: Any) -> os.stat_result:
        if any(Path(os.fspath(path)).is_relative_to(folder) for folder in folders):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return look(path, **options)

    # Path.stat and the functions of os.path call it.
    monkeypatch.setattr(os, "stat", refuse)


def test_a_process_without_rights_gets_faults_and_no_error(
    settings: NodeSettings, paths: HostPaths, without_rights: None
) -> None:
    checks = [*examine(settings, host(user=1000), paths), *sdc(settings)]
    assert not named(checks, "unexpected error")
    assert {"user", "kubelet folder", "sdc module", "sdc guid"} <= {
        check.name for check in checks if check.level is Level.FAULT
    }


def test_an_unexpected_error_in_one_check_does_not_hide_the_others(
    settings: NodeSettings, paths: HostPaths, monkeypatch: pytest.MonkeyPatch, text_log: io.StringIO
) -> None:
    def fail() -> bool:
        raise RuntimeError("a defect")

    monkeypatch.setattr(facts, "clock_is_synchronized", fail)
    checks = examine(settings, host(), paths)
    (check,) = named(checks, "unexpected error")
    assert (check.level, check.found) == (Level.FAULT, "an unexpected RuntimeError ended these checks")
    assert named(checks, "leftover mounts")
    assert "a defect" in text_log.getvalue()


def test_the_node_starts_also_if_it_cannot_look_at_itself(
    settings: NodeSettings, monkeypatch: pytest.MonkeyPatch, text_log: io.StringIO
) -> None:
    def fail() -> HostFacts:
        raise OSError("no /proc")

    monkeypatch.setattr(facts, "read", fail)
    app.say_what_is_wrong(settings)
    assert 'ERROR   host check failed check="unexpected error"' in text_log.getvalue()


# --- the command -----------------------------------------------------------------------------------


def command(settings: NodeSettings, *options: str) -> Result:
    arguments = [
        *("doctor", "node", "--kubelet-dir", str(settings.mount_roots[0])),
        *("--drv-cfg", str(settings.sdc.drv_cfg), "--by-id-dir", str(settings.sdc.by_id)),
        *("--scini-device", str(settings.sdc.control_device), *options),
    ]
    return CliRunner().invoke(main, arguments, prog_name="csi-powerflex")


def test_the_exit_status_says_whether_there_is_a_fault(
    settings: NodeSettings, monkeypatch: pytest.MonkeyPatch, untouched_logging: None
) -> None:
    monkeypatch.setattr(facts, "read", host)
    assert command(settings).exit_code == 0
    assert command(settings, "--strict").exit_code == 1  # the module is not loaded here
    monkeypatch.setattr(facts, "read", lambda: host(user=1000))
    assert command(settings).exit_code == 1
    assert command(settings, "--nothing").exit_code == 2
    assert command(settings, "--sdc-mdm", "192.0.2.1").exit_code == 2


def test_the_table_fits_80_columns(settings: NodeSettings, untouched_logging: None) -> None:
    printed = command(settings).output
    assert max(map(len, printed.splitlines())) <= 80
    assert "docs/doctor.md#sdc-module" in printed


def test_the_json_names_the_role(settings: NodeSettings, untouched_logging: None) -> None:
    answer = json.loads(command(settings, "-o", "json").output)
    assert answer["role"] == "node"
    assert {"user", "kernel", "tools", "sdc guid", "leftover mounts"} <= {
        check["check"] for check in answer["checks"]
    }


def test_it_starts_nothing(settings: NodeSettings, untouched_logging: None) -> None:
    calls = settings.sdc.drv_cfg.parent / "calls"
    script = settings.sdc.drv_cfg.read_text()
    settings.sdc.drv_cfg.write_text(script.replace("here=", f'echo "$@" >> {calls}; here=', 1))
    command(settings, "--sdc-on-demand", "--sdc-mdm", "192.0.2.99")
    assert calls.read_text().splitlines() == ["--query_guid", "--query_mdms"]
