"""What clients need to know of a running simulator: the ready file for programs, a summary for people."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.atomic import write_atomically
from csi_powerflex.simulator.nvme.listener import Address
from csi_powerflex.simulator.nvme.ports import system_nqn
from csi_powerflex.simulator.server import Server


class CannotWrite(Exception):
    """The ready file cannot be written. The message names the file and the reason."""


@contextlib.contextmanager
def ready_file(path: Path, server: Server) -> Iterator[None]:
    """Write the ready file at the start of the block and remove it at the end.

    Raises:
        CannotWrite: see its message.
    """
    text = json.dumps(describe(server), indent=2) + "\n"
    try:
        write_atomically(path, text)
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {os.strerror(error.errno or 0)}") from error
    try:
        yield
    finally:
        _remove_unchanged(path, text)


def _remove_unchanged(path: Path, text: str) -> None:
    """Remove the file, unless another simulator has replaced it or someone has removed it."""
    with contextlib.suppress(FileNotFoundError):
        if path.read_text(encoding="utf-8") == text:
            path.unlink()


def describe(server: Server) -> dict[str, object]:
    """The content of the ready file: the fields of the first system, and all systems below ``systems``."""
    arrays = [gateway.array for gateway in server.simulator.gateways]
    systems = [_system(server, url, array) for url, array in zip(server.urls, arrays, strict=True)]
    return {**systems[0], "systems": systems}


def _system(server: Server, url: str, array: Array) -> dict[str, object]:
    domain, pool = _domain_and_pool(array)
    return {
        "url": url,
        "username": array.settings.username,
        "password": array.settings.password,
        "caFile": str(server.certificates.authority),
        "adminUrl": server.admin_url,
        "version": array.dialect.version,
        "systemId": array.system.id,
        "protectionDomain": domain,
        "storagePool": pool,
        "hosts": {
            host.name: {"guid": host.guid, "drvCfg": str(host.drv_cfg), "byIdDir": str(host.by_id)}
            for host in server.simulator.hosts.values()
        },
        "systemNqn": system_nqn(array.system.id) if array.dialect.nvme else None,
        "nvmePortals": [asdict(portal) for portal in _portals(server, array)],
    }


def _portals(server: Server, array: Array) -> list[Address]:
    """Where the SDTs of a system listen for I/O."""
    target = server.simulator.nvme_targets.get(array.system.name)
    return target.io_portals if target is not None else []


def _domain_and_pool(array: Array) -> tuple[str | None, str | None]:
    """The names of the first storage pool and of its protection domain; None if there is no pool."""
    for pool in array.pools.values():
        return array.domains[pool.domain_id].name, pool.name
    return None, None


def summary(server: Server) -> str:
    """The facts about the systems, as lines for people."""
    arrays = [gateway.array for gateway in server.simulator.gateways]
    lines: list[str] = []
    for url, array in zip(server.urls, arrays, strict=True):
        lines += [
            f"PowerFlex {array.dialect.version}, system {array.system.id}, is ready at {url}",
            *(
                f"  pool           {array.domains[pool.domain_id].name}/{pool.name}"
                for pool in array.pools.values()
            ),
            *(f"  NVMe portal    {portal}" for portal in _portals(server, array)),
        ]
    lines += [
        f"  user           {arrays[0].settings.username}",
        f"  password       {arrays[0].settings.password}",
        f"  CA certificate {server.certificates.authority}",
        f"  admin port     {server.admin_url}",
    ]
    for host in server.simulator.hosts.values():
        has_devices = host.name in server.simulator.hosts_with_devices
        lines.append(
            f"  host {host.name:<9} {host.by_id}" if has_devices else f"  SDC {host.name:<10} {host.guid}"
        )
    return "\n".join(lines)
