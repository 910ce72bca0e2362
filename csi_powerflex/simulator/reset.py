"""Reset: a system becomes what it was at its first start, with the same ids."""

from __future__ import annotations

from collections.abc import Mapping

from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.initial_state import set_user
from csi_powerflex.simulator.model import SDC, Host, Object, System, Volume, VTree


class CannotReset(Exception):
    """The system cannot be reset. The message says why."""


def reset(array: Array, sdc_names: Mapping[str, str]) -> None:
    """Bring an array back to its initial state. The caller holds its lock, and no other change runs.

    The bytes of all volumes are deleted. Simulated SDCs (GUID to name) stay, without mappings. Numbers of new
    ids go on.

    Raises:
        CannotReset: a host is connected over NVMe/TCP, or the initial state is not known.
    """
    initial = {item.id: item for item in array.initial_state()}
    if not initial:
        raise CannotReset(
            "an older version made this state folder and did not keep the initial state; use a new folder"
        )
    _refuse_connected(array)
    array.commit()
    for item in array.every_object():
        if isinstance(item, Volume | VTree):
            array.drop(item)
    array.commit()
    array.plane.keep_only(set())
    for item in array.every_object():
        then = initial.pop(item.id, None)
        _restore(array, item, _initial_sdc(item, sdc_names) or then)
    array.commit()
    for item in initial.values():
        array.put(item)
    array.clock.reset()
    set_user(array)


def _refuse_connected(array: Array) -> None:
    connected = {controller.host_id for controller in array.nvme_controllers.values()}
    names = [host.name or host.id for host in array.hosts.values() if host.id in connected]
    if names:
        raise CannotReset(f"connected over NVMe/TCP: {', '.join(names)}; disconnect these hosts first")


def _initial_sdc(item: Object, sdc_names: Mapping[str, str]) -> Host | None:
    if not isinstance(item, Host) or item.type != SDC or item.guid not in sdc_names:
        return None
    return Host(id=item.id, name=sdc_names[item.guid], type=SDC, guid=item.guid, ip=item.ip)


def _restore(array: Array, item: Object, initial: Object | None) -> None:
    if initial is None:
        array.drop(item)
        return
    fields = {name: getattr(initial, name) for name in item.__struct_fields__}
    if isinstance(item, System):
        fields |= {"ids_issued": item.ids_issued, "namespaces": item.namespaces}
    if initial != item:
        array.change(item, **fields)
