"""The checks of NVMe/TCP on this host: modules, identity, multipath, connections. They change nothing."""

from __future__ import annotations

from collections.abc import Iterator

from csi_powerflex.config.node import NodeSettings, NvmeSettings
from csi_powerflex.errors import DriverError
from csi_powerflex.hints import first_of
from csi_powerflex.model.checks import Check, fault, ok, warning
from csi_powerflex.transport.nvme.fabrics import MISSING_MODULES, Fabrics
from csi_powerflex.transport.nvme.identity import HostFiles, HostPair
from csi_powerflex.transport.nvme.portals import belongs
from csi_powerflex.transport.nvme.sysfs import Snapshot, Sysfs

HOST = "this host"
"""The subject of the checks."""


def examine(settings: NodeSettings) -> Iterator[Check]:
    """Check NVMe/TCP on this host. It is for information only where the settings name no system."""
    nvme = settings.nvme
    sysfs = Sysfs(nvme.sysfs)
    if not nvme.systems:
        loaded = ", ".join(sysfs.modules()) or "none"
        yield ok("nvme", HOST, f"not used: no --nvme-system is given; modules: {loaded}")
        return
    yield _modules(nvme, sysfs)
    yield _multipath(nvme, sysfs)
    try:
        host = HostFiles(nvme.folder, create=False, sysfs=nvme.sysfs).existing()
    except DriverError as error:
        if nvme.create_host_nqn:
            yield warning("nvme host nqn", HOST, str(error), "start the node plugin, which creates it")
        else:
            yield fault(
                "nvme host nqn", HOST, str(error), "create the files, then start the node plugin again"
            )
        return
    yield ok("nvme host nqn", HOST, f"{host.nqn}, host id {host.host_id}")
    yield from _connections(nvme, sysfs.read(), host)


def _modules(settings: NvmeSettings, sysfs: Sysfs) -> Check:
    loaded = ", ".join(sysfs.modules()) or "none"
    if Fabrics(settings.fabrics).present:
        return ok("nvme modules", HOST, f"loaded: {loaded}")
    text = f"{settings.fabrics} is missing; modules: {loaded}"
    if settings.load_modules:
        return warning("nvme modules", HOST, text, "start the node plugin, which loads them")
    return fault("nvme modules", HOST, text, MISSING_MODULES)


def _multipath(settings: NvmeSettings, sysfs: Sysfs) -> Check:
    if sysfs.native_multipath:
        return ok("nvme multipath", HOST, "the kernel joins the paths to a volume")
    text = "the kernel does not join the paths to a volume (nvme_core.multipath is not Y)"
    remedy = "start the host with nvme_core.multipath=Y"
    if settings.single_path:
        return warning("nvme multipath", HOST, f"{text}: each system has one connection", remedy)
    return fault("nvme multipath", HOST, text, f"{remedy}, or use --nvme-single-path")


def _connections(settings: NvmeSettings, snapshot: Snapshot, host: HostPair) -> Iterator[Check]:
    for system in settings.systems:
        here = [one for one in snapshot.controllers if belongs(one.nqn, system)]
        own = [one for one in here if one.host_nqn == host.key]
        foreign = sorted({one.host_nqn for one in here} - {host.key})
        if foreign:
            text = f"system {system} is also connected as {first_of(foreign)}"
            yield warning("nvme connections", HOST, text, "find out what has connected with another NQN")
        lost = [str(one) for one in own if not one.live]
        if not own:
            text = f"system {system} is not connected; the first volume of this host connects it"
            yield ok("nvme connections", HOST, text)
        elif len(lost) == len(own):
            remedy = "check the network between this host and the portals"
            yield fault("nvme connections", HOST, f"system {system}: {first_of(lost)}", remedy)
        elif lost:
            remedy = "check the network between this host and these portals"
            text = f"system {system} has {len(own) - len(lost)} of {len(own)} connections: {first_of(lost)}"
            yield warning("nvme connections", HOST, text, remedy)
        else:
            yield ok("nvme connections", HOST, f"system {system}: {first_of([str(one) for one in own])}")
        ending = [f"{one.name} after {one.loss_timeout} s" for one in own if one.loss_timeout is not None]
        if ending:
            text = f"the kernel gives these up if they are lost: {first_of(ending)} (ctrl_loss_tmo)"
            remedy = "start the node plugin, which sets ctrl_loss_tmo to -1 within a minute"
            yield warning("nvme connections", HOST, text, remedy)
