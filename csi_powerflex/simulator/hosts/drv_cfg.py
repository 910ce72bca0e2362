"""The replacement for ``drv_cfg``, the SDC's tool: a small shell script that reads the files of its host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.simulator.atomic import write_atomically

_SCRIPT = """#!/bin/sh
# The drv_cfg of the simulated host {name}. It starts no process, so it answers at once. It reads the files
# next to it, so it also works where the folder is mounted at another path, such as in a container.
here=${{0%/*}}

show() {{
    while IFS= read -r line || [ -n "$line" ]; do printf '%s\\n' "$line"; done < "$1"
}}

volumes() {{
    count=0
    lines=
    for link in "$here"/by-id/emc-vol-*; do
        [ -L "$link" ] || continue
        ids=${{link##*/emc-vol-}}
        count=$((count + 1))
        lines="${{lines}}VOL-ID ${{ids#*-}} MDM-ID ${{ids%%-*}}
"
    done
    printf 'Retrieved %d volume(s)\\n%s' "$count" "$lines"
}}

block_device_id() {{
    [ -e "$here/devices/${{1##*/}}" ] || exit 1
    show "$here/devices/${{1##*/}}"
}}

usage() {{
    printf '%s\\n' 'Usage: drv_cfg [OPTIONS]' \\
        '  --query_guid              Print the GUID of this SDC' \\
        '  --query_mdms, --query_mdm Print the MDMs that this SDC is connected to' \\
        '  --query_vols              Print the volumes that are mapped to this SDC' \\
        '  --query_block_device_id --block_device DEVICE   Print the ids of its system and volume' \\
        '  --rescan                  Look for mapped volumes now' \\
        '  --add_mdm, --mod_mdm_ip, --remove_mdm   Change the MDMs (not simulated)' >&2
    exit 1
}}

case "$1" in
    --query_guid) show "$here/guid" ;;
    --query_mdms | --query_mdm) show "$here/mdms" ;;
    --query_vols) volumes ;;
    --query_block_device_id) block_device_id "$3" ;;
    --rescan) : ;;
    --add_mdm | --mod_mdm_ip | --remove_mdm) printf '%s\\n' "$1 is not simulated" >&2; exit 1 ;;
    *) usage ;;
esac
"""


@dataclass(frozen=True, slots=True)
class Mdm:
    """A system that the host is connected to."""

    system_id: str
    sdc_id: str
    install_id: str
    addresses: Sequence[str]


def add_device(folder: Path, device: Path, *, system_id: str, volume_id: str) -> None:
    """Let the script in the host's folder know whose volume ``device`` is, as the kernel module knows it."""
    (folder / "devices").mkdir(exist_ok=True)
    write_atomically(folder / "devices" / device.name, f"{system_id}-{volume_id}\n")


def remove_device(folder: Path, device: Path) -> None:
    """Let the script forget ``device``."""
    (folder / "devices" / device.name).unlink(missing_ok=True)


def remove_devices(folder: Path) -> None:
    """Let the script forget all devices."""
    for known in (folder / "devices").glob("*"):
        known.unlink()


def install(folder: Path, *, name: str, guid: str, mdms: Sequence[Mdm]) -> Path:
    """Write the script and its files into the host's folder. Returns the script's path."""
    write_atomically(folder / "guid", f"{guid}\n")
    lines = [f"Retrieved {len(mdms)} mdm(s)"]
    for mdm in mdms:
        addresses = " ".join(f"[{number}]-{address}" for number, address in enumerate(mdm.addresses))
        lines.append(
            f"MDM-ID {mdm.system_id} SDC ID {mdm.sdc_id} INSTALLATION ID {mdm.install_id} IPs {addresses}"
        )
    write_atomically(folder / "mdms", "\n".join(lines) + "\n")
    script = folder / "drv_cfg"
    write_atomically(script, _SCRIPT.format(name=name), mode=0o755)
    return script
