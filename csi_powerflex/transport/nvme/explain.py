"""The words for a volume that cannot be reached over NVMe/TCP: what was found, and what to do."""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping
from pathlib import Path

from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.nvme import nguid_of
from csi_powerflex.transport.nvme.connect import Address, Failure
from csi_powerflex.transport.nvme.identity import HostPair
from csi_powerflex.transport.nvme.portals import Plan, belongs
from csi_powerflex.transport.nvme.sysfs import NvmeController, Snapshot, Sysfs, unnamed


def absence(
    handle: VolumeHandle, host: HostPair, own: Collection[NvmeController], snapshot: Snapshot, folder: Path
) -> tuple[str, str]:
    """Why the volume has no device, and what to do, as far as sysfs shows it; "" if it does not show it.

    Args:
        handle: the volume.
        host: the identity of this host.
        own: its connections to the system of the volume.
        snapshot: what sysfs has.
        folder: the folder of the identity's files.
    """
    nguid = nguid_of(handle)
    reason = f"no NVMe namespace of this host has the NGUID {nguid}"
    for other in sorted({one.host_nqn for one in snapshot.controllers} - {host.key}):
        if snapshot.namespaces(other, nguid):
            return (
                f"{reason}, and one that is connected as {other} has it",
                f"find out what has connected with that NQN; this host has {host.nqn} ({folder / 'hostnqn'})",
            )
    here = {one.nqn for one in snapshot.namespaces(host.key, nguid)}
    systems = sorted(nqn for nqn in here if not belongs(nqn, handle.system_id))
    if systems:
        return (
            f"the NGUID {nguid} is here, and it belongs to another system: {', '.join(systems)}",
            "the kernel cannot use two volumes with one NGUID: use them on different hosts",
        )
    without = unnamed(own)
    if without:
        return (
            f"{reason}, and {without} paths lead to NVMe namespaces without an NGUID",
            "the driver cannot tell which volumes those are: check the version of the array",
        )
    return reason, ""


def several(handle: VolumeHandle, names: Collection[str]) -> str:
    """The error for several devices that are one volume."""
    return (
        f"volume {handle} has several devices on this host ({', '.join(names)}), and the kernel does not "
        "join them (nvme_core.multipath is not Y): writing to both would damage its data; set the parameter "
        "to Y and restart the host, or end all connections to the system but one while no volume is used"
    )


def portals(plan: Plan, failures: Mapping[Address, Failure]) -> str:
    """What became of the connections to the portals."""
    tried = (*plan.addresses, *(one for one in plan.others if one in failures))
    told = [f"{address}: {failures.get(address, 'no answer yet')}" for address in tried]
    return "; ".join([*told, f"discovery: {plan.problem}"] if plan.problem else told)


def is_refused(plan: Plan, failures: Mapping[Address, Failure]) -> bool:
    """Whether the array has refused every connection."""
    return all(address in failures and failures[address].errno == errno.EIO for address in plan.addresses)


def advice(plan: Plan, failures: Mapping[Address, Failure], host: HostPair, *, connected: bool) -> str:
    """What to do if no portal serves this host.

    Args:
        plan: the portals.
        failures: what became of the connections to them.
        host: the identity of this host.
        connected: whether the kernel has a connection, which does not serve now.
    """
    if not plan.nqn:
        return (
            "the array does not tell its NQN, so a discovery service has to: check that this host reaches "
            f"one of them, and that the volume is mapped to the host with the NQN {host.nqn}"
        )
    if is_refused(plan, failures):
        return (
            "the array does not allow this host, or it does not know the subsystem; the kernel's log (dmesg) "
            "says which (0x184: host not allowed, 0x182: subsystem not known): check on the array that the "
            f"volume is mapped to the host with the NQN {host.nqn}"
        )
    if connected:
        return "the kernel keeps trying to connect: check the network between this host and the portals"
    return "check the network and the firewall between this host and the portals"


def invalid(plan: Plan, failures: Mapping[Address, Failure], host: HostPair, sysfs: Sysfs) -> str:
    """The error for connections that the kernel does not accept."""
    return (
        f"the kernel of this host accepts no connection to {plan.nqn}: {portals(plan, failures)}. "
        f"{_cause_of_invalid(host, sysfs)}"
    )


def _cause_of_invalid(host: HostPair, sysfs: Sysfs) -> str:
    if "nvme_tcp" not in sysfs.modules():
        return "The module nvme_tcp is not loaded: run modprobe nvme-tcp on the host"
    for one in sysfs.read().controllers:
        if one.host_id and (one.host_nqn == host.key) != (one.host_id == host.host_id):
            return (
                f"{one.name} is connected as {one.host_nqn} with the host id {one.host_id}, and this host "
                f"has {host.nqn} with {host.host_id}: the kernel keeps the first pair; restart the host, or "
                "put that pair into its files hostnqn and hostid"
            )
    return (
        "The kernel's log (dmesg) says why; one cause is another program that has used the NQN "
        f"{host.nqn} with another host id than {host.host_id} before"
    )
