"""Removal of volumes, in every mode."""

from __future__ import annotations

from functools import partial

from csi_powerflex.simulator.api_error import malformed, mdm_error, missing_parameters, uncoded_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.model import Volume
from csi_powerflex.simulator.resources.resource_type import Action, Effect, View

ONLY_ME = "ONLY_ME"
INCLUDING_DESCENDANTS = "INCLUDING_DESCENDANTS"
DESCENDANTS_ONLY = "DESCENDANTS_ONLY"
WHOLE_VTREE = "WHOLE_VTREE"


def refuse_removed(array: Array, volume: Volume) -> None:
    """Refuse a removed volume. The removal is in progress for some time, then the volume does not exist.

    Raises:
        ApiError: 212 while the removal is in progress, 79 afterwards.
    """
    if volume.removed_at is None:
        return
    if array.clock.now() < volume.removed_at + array.settings.removal_seconds:
        raise mdm_error(212)
    _forget(array, volume)
    raise mdm_error(79)


def _remove(array: Array, volume: Volume, body: Body) -> View:
    mode = body.choice("removeMode", (ONLY_ME, INCLUDING_DESCENDANTS, DESCENDANTS_ONLY, WHOLE_VTREE))
    if mode is None:
        raise missing_parameters("removeMode")
    refuse_other_class(volume, body)
    affected = _affected(array, volume, mode)
    for item in affected:
        refuse_protected(array, item)
    for item in affected:
        remove(array, item)
    return {}


def refuse_other_class(volume: Volume, body: Body) -> None:
    """Refuse a change that does not name the volume's class. The default class need not be named.

    Raises:
        ApiError: the body has no class or another one.
    """
    if volume.volume_class not in ("defaultclass", body.text("volumeClass") or volume.volume_class):
        raise malformed(f"The volume is of class {volume.volume_class}")
    if volume.volume_class != "defaultclass" and body.text("volumeClass") is None:
        raise malformed(f"The volume is of class {volume.volume_class}: volumeClass must be part of the body")


def _affected(array: Array, volume: Volume, mode: str) -> list[Volume]:
    match mode:
        case "ONLY_ME":
            return [volume]
        case "INCLUDING_DESCENDANTS":
            return [volume, *array.descendants(volume)]
        case "DESCENDANTS_ONLY":
            return array.descendants(volume)
    return array.volumes_of_vtree(volume.vtree_id)


def refuse_protected(array: Array, volume: Volume) -> None:
    """Refuse to remove a volume that is mapped, secure or locked.

    Raises:
        ApiError: 104 when it is mapped; code 0 when it is a secure or locked snapshot.
    """
    if volume.mappings:
        raise mdm_error(104)
    if volume.secure_until > array.clock.now():
        raise uncoded_error("The snapshot is secure and its retention time has not passed")
    if volume.locked:
        raise uncoded_error("The snapshot is a locked auto snapshot")


def remove(array: Array, volume: Volume) -> None:
    """Remove one volume. Its ancestor becomes the ancestor of its children."""
    for child in array.children(volume):
        array.change(child, ancestor_id=volume.ancestor_id, reshaped=True)
    if array.settings.removal_seconds > 0:
        array.change(volume, removed_at=array.clock.now())
    else:
        _forget(array, volume)


def _forget(array: Array, volume: Volume) -> None:
    tree = array.vtrees[volume.vtree_id]
    left = [volume_id for volume_id in tree.volume_ids if volume_id != volume.id]
    array.drop(volume)
    if left:
        array.change(tree, volume_ids=left)
    else:
        array.drop(tree)
    array.after_commit(partial(array.plane.remove, volume.id))


def advance(array: Array) -> None:
    """Finish the removals that have lasted ``removal_seconds``."""
    if not array.removing:
        return
    deadline = array.clock.now() - array.settings.removal_seconds
    for volume in [array.volumes[volume_id] for volume_id in array.removing]:
        if volume.removed_at is not None and volume.removed_at <= deadline:
            _forget(array, volume)


ACTIONS: dict[str, Action[Volume]] = {"removeVolume": Action(_remove, Effect.SLOW)}
