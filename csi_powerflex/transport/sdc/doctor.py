"""The checks of this host's SDC: its module, its identity, its systems, and what is left of its devices.

They start nothing and change nothing, also with ``--sdc-on-demand``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from csi_powerflex.config.node import NodeSettings, SdcOnDemand, SdcSettings
from csi_powerflex.errors import DriverError
from csi_powerflex.hints import first_of
from csi_powerflex.host import probe
from csi_powerflex.host.facts import is_folder
from csi_powerflex.host.time_limit import TimeLimit
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.checks import Check, fault, ok, warning
from csi_powerflex.transport.sdc.drv_cfg import DrvCfg
from csi_powerflex.transport.sdc.transport import Sdc

HOST = "this host"
"""The subject of the checks."""

_LINK = re.compile(r"emc-vol-([0-9a-f]{16})-([0-9a-f]{16})")
_READ_SECONDS = 5.0
_INSTALL = "install the PowerFlex SDC for this kernel and start it: systemctl start scini"


def examine(settings: NodeSettings) -> Iterator[Check]:
    """Check the SDC of this host."""
    sdc = settings.sdc
    try:
        guid: str | DriverError = Sdc(sdc).initiator().value
    except DriverError as error:
        guid = error
    yield _module(sdc, answers=not isinstance(guid, DriverError))
    if isinstance(guid, DriverError):
        yield fault("sdc guid", HOST, str(guid), _INSTALL)
    else:
        yield ok("sdc guid", HOST, guid)
    if not isinstance(guid, DriverError) or DrvCfg(sdc).present:
        yield from _systems(sdc)
    yield from _links(sdc)


def _module(settings: SdcSettings, *, answers: bool) -> Check:
    module = (settings.on_demand or SdcOnDemand()).module
    if is_folder(module):
        try:
            version = (module / "version").read_text().strip()
        except OSError:
            version = "of an unknown version"
        return ok("sdc module", HOST, f"scini {version} is loaded")
    if answers:
        text = "the kernel module scini is not loaded, but the tool answers, as with the simulator"
        return warning("sdc module", HOST, text, f"on a host with a real SDC: {_INSTALL}")
    return fault("sdc module", HOST, "the kernel module scini is not loaded", _INSTALL)


def _systems(settings: SdcSettings) -> Iterator[Check]:
    register = "add the MDMs: drv_cfg --add_mdm, or let the driver do it (--sdc-on-demand)"
    try:
        known = DrvCfg(settings).systems()
    except DriverError as error:
        yield fault("sdc systems", HOST, str(error), f"correct --drv-cfg, or {_INSTALL}")
        return
    if not known:
        yield fault("sdc systems", HOST, "the SDC is registered with no system", register)
    for system in known:
        mdms = ", ".join(sorted(system.addresses))
        if system.id is None:
            remedy = "check these addresses, the network and the firewall (TCP port 6611)"
            yield fault("sdc systems", HOST, f"the SDC has never reached the MDMs {mdms}", remedy)
        else:
            yield ok("sdc systems", HOST, f"{system.id}, MDMs {mdms}")


def _links(settings: SdcSettings) -> Iterator[Check]:
    """Links without a device, several links to one device, and formatting that did not end."""
    try:
        links = sorted(link for link in settings.by_id.iterdir() if _LINK.fullmatch(link.name))
    except OSError:
        links = []
    devices: dict[Path, list[str]] = {}
    broken = []
    for link in links:
        device = link.resolve()
        if _is_block_device(device):
            devices.setdefault(device, []).append(link.name)
        else:
            broken.append(link.name)
    trigger = "run udevadm trigger --subsystem-match=block on the host, or remove the stale link"
    if broken:
        yield warning("leftover links", HOST, f"without a device: {first_of(broken)}", trigger)
    for device, found in devices.items():
        if len(found) > 1:
            yield fault("leftover links", HOST, f"for one device, {device}: {first_of(found)}", trigger)
    if not broken and len(devices) == len(links):
        yield ok("leftover links", HOST, f"none; {len(links)} volumes are on this host")
    yield from _unfinished(devices)


def _is_block_device(device: Path) -> bool:
    try:
        return device.is_block_device()
    except OSError:
        return False


def _unfinished(devices: dict[Path, list[str]]) -> Iterator[Check]:
    limit = TimeLimit(_READ_SECONDS)
    for device, found in devices.items():
        match = _LINK.fullmatch(found[0])
        if match is None:
            raise AssertionError("only such links are listed")
        handle = VolumeHandle(match[1], match[2])
        try:
            marked = limit.call("mark", str(device), lambda d=device, h=handle: probe.is_marked(d, h))  # type: ignore[misc]  # called at once
        except (DriverError, OSError) as error:
            remedy = "look at the kernel's log on the host, and at the SDC's connection"
            yield fault("leftover links", HOST, f"{found[0]}: {error}", remedy)
            continue
        if marked:
            text = f"a filesystem was begun on volume {handle} and is not complete"
            remedy = "nothing, if a pod that uses it starts now; its next start makes the filesystem"
            yield warning("unfinished filesystem", HOST, text, remedy)
