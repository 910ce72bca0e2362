"""The SDC on demand: the driver starts it and configures its MDMs, and never interrupts its volumes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from csi_powerflex import call_context
from csi_powerflex.cli.main import main
from csi_powerflex.config.node import MdmGroup, SdcOnDemand, mdm_group
from csi_powerflex.errors import FailedPrecondition, InvalidArgument, Unavailable
from csi_powerflex.transport.sdc.transport import Sdc
from tests.node.conftest import ReplaceTool
from tests.node.loophost import GUID, SYSTEM, LoopHost
from tests.node.process import NodeProcess, log_of

with_devices = pytest.mark.needs("devices")

OTHER = "0f1e2d3c4b5a6978"
MDMS: MdmGroup = ("192.0.2.11", "192.0.2.12")
OTHER_MDMS: MdmGroup = ("198.51.100.11", "198.51.100.12")
# Each test has its own mount namespace, as a container has. This is the one outside.
HOST_NAMESPACE = Path(f"/proc/{os.getppid()}/ns/mnt")


def on_demand(
    host: LoopHost,
    *mdms: MdmGroup,
    systemctl: Path | None = None,
    namespace: Path | None = None,
    module: Path = Path("/sys/module/scini"),
    first_rescan_seconds: float = 2.0,
) -> Sdc:
    """The SDC of ``host`` if the driver is to start it."""
    wanted = SdcOnDemand(
        mdms=mdms,
        systemctl=str(systemctl or host.systemctl),
        mount_namespace=namespace,
        module=module,
        reach_seconds=1.0,
        poll_seconds=0.02,
    )
    return Sdc(
        host.settings(
            configuration=host.sdc / "drv_cfg.txt",
            on_demand=wanted,
            first_rescan_seconds=first_rescan_seconds,
        )
    )


def changes(host: LoopHost) -> list[str]:
    """The calls so far that changed something."""
    return [call for call in host.calls() if "is-active" not in call and "--query" not in call]


@with_devices
def test_by_default_the_driver_does_not_start_the_sdc(host: LoopHost, sdc: Sdc) -> None:
    host.stop_sdc()
    sdc.prepare()
    assert host.calls() == []


@with_devices
def test_an_sdc_that_does_not_run_is_started_and_gets_its_mdms(host: LoopHost) -> None:
    host.know_systems()
    host.stop_sdc()
    host.serve_system(SYSTEM, *MDMS)
    host.serve_system(OTHER, *OTHER_MDMS)
    sdc = on_demand(host, MDMS, OTHER_MDMS)
    sdc.prepare()
    file = host.sdc / "drv_cfg.txt"
    assert changes(host) == [
        "systemctl start scini",
        f"--add_mdm --ip 192.0.2.11,192.0.2.12 --file {file}",
        f"--add_mdm --ip 198.51.100.11,198.51.100.12 --file {file}",
    ]
    assert sdc.systems() == (OTHER, SYSTEM)


@with_devices
def test_an_sdc_that_is_already_configured_is_not_changed(host: LoopHost) -> None:
    host.know_systems()
    host.serve_system(SYSTEM, *MDMS)
    sdc = on_demand(host, MDMS)
    sdc.prepare()
    before = changes(host)
    sdc.prepare()
    on_demand(host, tuple(reversed(MDMS))).prepare()
    assert changes(host) == before


@with_devices
def test_every_mdm_is_checked_and_not_only_the_first(host: LoopHost) -> None:
    host.know_systems()
    host.serve_system(SYSTEM, *MDMS, "192.0.2.13")
    on_demand(host, ("192.0.2.11", "192.0.2.13")).prepare()
    sdc = on_demand(host, MDMS)
    sdc.prepare()
    # The driver never removes an address, so the one that only the SDC has is kept.
    assert changes(host)[-1].startswith(
        "--mod_mdm_ip --ip 192.0.2.11 --new_mdm_ip 192.0.2.11,192.0.2.12,192.0.2.13 --file"
    )
    assert sdc.systems() == (SYSTEM,)


@with_devices
def test_an_sdc_with_volumes_is_not_started_even_if_systemd_calls_it_inactive(host: LoopHost) -> None:
    """For example someone loaded the module by hand. Its service would load it again while pods use it."""
    host.volume()
    host.know_systems()
    host.serve_system(SYSTEM, *MDMS)
    (host.sdc / "inactive").touch()
    sdc = on_demand(host, MDMS)
    sdc.prepare()
    assert [call.split()[0] for call in changes(host)] == ["--add_mdm"]
    assert sdc.systems() == (SYSTEM,)


@with_devices
def test_without_a_service_the_module_is_loaded(
    host: LoopHost, replace_tool: ReplaceTool, tmp_path: Path
) -> None:
    module = tmp_path / "scini"
    replace_tool("modprobe", f'echo modprobe "$@" >> {host.sdc}/calls; mkdir {module}; rm {host.sdc}/stopped')
    (host.sdc / "no-unit").touch()
    host.stop_sdc()
    on_demand(host, module=module).prepare()
    on_demand(host, module=module, systemctl=tmp_path / "no-systemctl").prepare()
    assert changes(host) == ["modprobe scini"]


@with_devices
def test_a_module_that_is_loaded_needs_no_service(host: LoopHost, tmp_path: Path) -> None:
    """Systemd 252 calls an unknown service inactive."""
    (host.sdc / "inactive").touch()
    (host.sdc / "broken").write_text("5")
    on_demand(host, module=tmp_path).prepare()
    assert changes(host) == ["systemctl start scini"]


@with_devices
def test_the_error_on_a_host_without_the_module_says_what_to_install(
    host: LoopHost, replace_tool: ReplaceTool, tmp_path: Path
) -> None:
    replace_tool("modprobe", "echo 'Module scini not found' >&2; exit 1")
    (host.sdc / "no-unit").touch()
    with pytest.raises(FailedPrecondition, match=r"Module scini not found.*install the PowerFlex SDC"):
        on_demand(host, module=tmp_path / "scini").prepare()


@with_devices
def test_in_a_container_the_tools_run_in_the_host_s_mount_namespace(host: LoopHost) -> None:
    host.know_systems()
    host.stop_sdc()
    host.serve_system(SYSTEM, *MDMS)
    script = host.systemctl.read_text()
    where = f"readlink /proc/self/ns/mnt >> {host.sdc}/where"
    host.systemctl.write_text(script.replace("#!/bin/sh\n", f"#!/bin/sh\n{where}\n"))
    on_demand(host, MDMS, namespace=HOST_NAMESPACE).prepare()
    assert [call.split()[0] for call in changes(host)] == ["systemctl", "--add_mdm"]
    seen = set((host.sdc / "where").read_text().split())
    assert seen == {str(HOST_NAMESPACE.readlink())}
    assert seen != {str(Path("/proc/self/ns/mnt").readlink())}


@with_devices
def test_on_a_host_without_systemd_the_module_is_loaded(host: LoopHost, tmp_path: Path) -> None:
    sdc = on_demand(
        host,
        systemctl=tmp_path / "no-systemctl",
        namespace=HOST_NAMESPACE,
        module=tmp_path / "scini",
    )
    with pytest.raises(
        FailedPrecondition, match=rf"`nsenter --mount={HOST_NAMESPACE} -- modprobe scini` failed"
    ):
        sdc.prepare()


@with_devices
@pytest.mark.parametrize(
    ("namespace", "words"),
    [
        ("/proc/self/ns/mnt", "is the mount namespace of this process"),
        ("/nowhere/mnt", "cannot be read: No such file or directory"),
    ],
)
def test_a_namespace_that_is_not_the_host_s_is_refused(host: LoopHost, namespace: str, words: str) -> None:
    with pytest.raises(FailedPrecondition, match=words):
        on_demand(host, namespace=Path(namespace)).prepare()
    assert host.calls() == []


@with_devices
def test_the_error_of_a_service_that_does_not_start_has_its_output(host: LoopHost) -> None:
    host.stop_sdc()
    (host.sdc / "broken").write_text("1")
    with pytest.raises(Unavailable, match=r"Job for scini.service failed.*see `systemctl status scini`"):
        on_demand(host, MDMS).prepare()


@with_devices
def test_the_error_names_mdms_that_cannot_be_reached(host: LoopHost) -> None:
    host.know_systems()
    with pytest.raises(Unavailable, match=r"192.0.2.11,192.0.2.12: check the addresses, the network"):
        on_demand(host, MDMS).prepare()


@with_devices
def test_an_unreachable_system_does_not_affect_another(host: LoopHost) -> None:
    host.know_systems()
    host.serve_system(SYSTEM, *MDMS)
    sdc = on_demand(host, OTHER_MDMS, MDMS)
    sdc.prepare()
    assert sdc.systems() == (SYSTEM,)


@with_devices
def test_mdms_of_two_systems_in_one_group_are_refused(host: LoopHost) -> None:
    host.know_systems()
    host.serve_system(SYSTEM, *MDMS)
    host.serve_system(OTHER, *OTHER_MDMS)
    on_demand(host, MDMS, OTHER_MDMS).prepare()
    before = changes(host)
    with pytest.raises(FailedPrecondition, match=f"those of {SYSTEM} and {OTHER}; give each system"):
        on_demand(host, (MDMS[0], OTHER_MDMS[0])).prepare()
    assert changes(host) == before


@with_devices
def test_a_tool_that_ignores_its_arguments_is_an_error(host: LoopHost) -> None:
    """drv_cfg can succeed without an effect, so the driver checks the list afterwards."""
    host.know_systems()
    host.drv_cfg.write_text(host.drv_cfg.read_text().replace("--add_mdm) registration", "--add_mdm) exit;"))
    with pytest.raises(Unavailable, match=r"does not list the MDMs 192.0.2.11,192.0.2.12 though"):
        on_demand(host, MDMS).prepare()


@with_devices
def test_the_sdc_is_started_when_a_device_does_not_appear(
    host: LoopHost,
) -> None:
    """The SDC was stopped, or lost a system, after this process had started."""
    volume = host.volume(mapped=False)
    host.stop_sdc()
    host.know_systems()
    host.serve_system(SYSTEM, *MDMS)
    host.on_rescan(f"ln -s {volume.connect()} {volume.link}")
    publish_context = volume.publish_context()
    sdc = on_demand(host, MDMS, first_rescan_seconds=0.1)
    assert sdc.attach(publish_context) == volume.path
    assert [call.split()[0] for call in changes(host)] == ["systemctl", "--add_mdm", "--rescan"]


@with_devices
def test_the_error_for_a_missing_device_says_why_the_sdc_does_not_start(
    host: LoopHost,
) -> None:
    volume = host.volume(mapped=False)
    host.stop_sdc()
    (host.sdc / "broken").write_text("1")
    publish_context = volume.publish_context()
    sdc = on_demand(host, MDMS, first_rescan_seconds=0.1)
    with (
        call_context.entered(call_context.CallContext("NodeStageVolume", "x", deadline=time.monotonic() + 1)),
        pytest.raises(Unavailable, match=r"did not appear.*the SDC does not start: .*Job for scini"),
    ):
        sdc.attach(publish_context)


@with_devices
def test_the_node_plugin_starts_the_sdc_for_nodegetinfo(host: LoopHost) -> None:
    host.know_systems()
    host.stop_sdc()
    host.serve_system(SYSTEM, *MDMS)
    options = ("--sdc-on-demand", "--sdc-mdm", ",".join(MDMS), "--systemctl", host.systemctl)
    with NodeProcess(host, options=options) as node:
        info = node.kubelet.info()
    assert info.node_id == f"sdc:{GUID}"
    key = f"csi.powerflex.dev/{SYSTEM}"
    assert dict(info.accessible_topology.segments) == {key: "true", f"{key}-sdc": "true"}
    assert "SDC started" in log_of(host)


def test_addresses_have_the_form_of_drv_cfg() -> None:
    assert mdm_group("192.0.2.1, 2001:DB8:0::1") == ("192.0.2.1", "2001:db8::1")


@pytest.mark.parametrize(
    "text", ["", "mdm1.example.org", "192.0.2.1,", "192.0.2.1;reboot", "192.0.2.1,192.0.2.1"]
)
def test_an_invalid_group_of_mdms_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        mdm_group(text)


def test_mdms_without_the_option_to_use_them_are_an_error() -> None:
    result = CliRunner().invoke(
        main, ["node", "--endpoint", "unix:///nowhere/csi.sock", "--sdc-mdm", "192.0.2.1"]
    )
    assert result.exit_code == 2
    assert "--sdc-on-demand" in result.output
