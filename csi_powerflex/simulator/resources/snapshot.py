"""Snapshots, thin clones and consistency groups. Clients ask the system for them, for one or more volumes."""

from __future__ import annotations

from dataclasses import dataclass

from csi_powerflex.simulator.api_error import (
    ApiError,
    malformed,
    mdm_error,
    missing_parameters,
    unknown_id,
    with_details,
)
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.capacity import refuse_crowded_tree, refuse_snapshot_of_full
from csi_powerflex.simulator.model import (
    READ_ONLY,
    READ_ONLY_SNAPSHOT,
    READ_WRITE,
    SNAPSHOT,
    System,
    Volume,
)
from csi_powerflex.simulator.resources import copies, removal
from csi_powerflex.simulator.resources.protection import expiry
from csi_powerflex.simulator.resources.resource_type import Action, Effect, View
from csi_powerflex.simulator.resources.volume import free_volume_name


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One requested snapshot."""

    source: Volume
    name: str | None
    volume_class: str


@dataclass(frozen=True, slots=True)
class _Form:
    """The properties that all snapshots of one call have."""

    type: str
    access_limit: str
    secure_until: int


def _snapshot_volumes(array: Array, _: System, body: Body) -> View:
    """The first generation's snapshots. ``accessModeLimit`` says whether they are writable."""
    limit = body.choice("accessModeLimit", (READ_WRITE, READ_ONLY)) or READ_WRITE
    return _make(array, body, _Form(SNAPSHOT, limit, _retention(array, body)), erasure_coded=False)


def _create_snapshot(array: Array, _: System, body: Body) -> View:
    """The second generation's snapshots. They are read-only."""
    if body.has("accessModeLimit"):
        raise malformed("Request message is not valid: accessModeLimit is not a parameter of createSnapshot.")
    form = _Form(READ_ONLY_SNAPSHOT, READ_ONLY, _retention(array, body))
    return _make(array, body, form, erasure_coded=True)


def _create_thin_clone(array: Array, _: System, body: Body) -> View:
    """The second generation's writable clones of volumes, snapshots and clones."""
    return _make(array, body, _Form(SNAPSHOT, READ_WRITE, 0), erasure_coded=True)


def _retention(array: Array, body: Body) -> int:
    return expiry(array, body.number("retentionPeriodInMin"))


def _make(array: Array, body: Body, form: _Form, *, erasure_coded: bool) -> View:
    wanted = _wanted(array, body, erasure_coded=erasure_coded)
    group_id = array.new_id(array.volumes)
    made = [_snapshot(array, item, form, group_id) for item in wanted]
    copies.take(array, [(item.source, snapshot) for item, snapshot in zip(wanted, made, strict=True)])
    return {"volumeIdList": [snapshot.id for snapshot in made], "snapshotGroupId": group_id}


def _wanted(array: Array, body: Body, *, erasure_coded: bool) -> list[_Wanted]:
    parts = body.parts("snapshotDefs")
    if not parts:
        raise missing_parameters("snapshotDefs")
    wanted: list[_Wanted] = []
    errors: list[ApiError] = []
    for part in parts:
        try:
            item = _one_wanted(array, part, erasure_coded=erasure_coded)
            _refuse_twice(item, wanted)
            same_tree = sum(other.source.vtree_id == item.source.vtree_id for other in wanted)
            refuse_crowded_tree(array, item.source, same_tree)
            wanted.append(item)
        except ApiError as error:
            if error.status == 400:
                raise
            errors.append(error)
    if errors:
        raise with_details(errors)
    return wanted


def _one_wanted(array: Array, part: Body, *, erasure_coded: bool) -> _Wanted:
    volume_id = part.required("volumeId")
    source = array.volumes.get(volume_id.lower())
    if source is None:
        raise unknown_id(volume_id, mdm_error(79))
    removal.refuse_removed(array, source)
    if array.is_erasure_coded(source.pool_id) != erasure_coded:
        calls = "snapshotVolumes" if erasure_coded else "createSnapshot or createThinClone"
        raise malformed(f"The operation is not supported for this volume: use {calls}")
    refuse_snapshot_of_full(array.pools[source.pool_id])
    name = free_volume_name(array, part.text("snapshotName"))
    return _Wanted(source, name, part.text("volumeClass") or "defaultclass")


def _refuse_twice(item: _Wanted, before: list[_Wanted]) -> None:
    if item.name is not None and any(other.name == item.name for other in before):
        raise mdm_error(99)


def _snapshot(array: Array, item: _Wanted, form: _Form, group_id: str) -> Volume:
    source = item.source
    return Volume(
        id=array.new_id(array.volumes),
        name=item.name,
        size_kb=source.size_kb,
        created=int(array.clock.now()),
        type=form.type,
        pool_id=source.pool_id,
        vtree_id=source.vtree_id,
        ancestor_id=source.id,
        group_id=group_id,
        access_limit=form.access_limit,
        secure_until=form.secure_until,
        compression=source.compression,
        nsid=array.next_namespace(),
        volume_class=item.volume_class,
    )


def _remove_group(array: Array, _: System, body: Body) -> View:
    group_id = body.required("snapGroupId").lower()
    members = [volume for volume in array.volumes.values() if volume.group_id == group_id]
    if not members:
        raise mdm_error(185)
    for member in members:
        removal.refuse_removed(array, member)
        removal.refuse_protected(array, member)
    for member in members:
        removal.remove(array, member)
    return {"numberOfVolumes": len(members)}


ACTIONS: dict[str, Action[System]] = {
    "snapshotVolumes": Action(_snapshot_volumes, Effect.SLOW),
    "createSnapshot": Action(_create_snapshot, Effect.SLOW),
    "createThinClone": Action(_create_thin_clone, Effect.SLOW),
    "removeConsistencyGroupSnapshots": Action(_remove_group, Effect.SLOW),
}
