"""Removing volumes, in every mode."""

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
    """A volume whose removal is under way answers 212 for a while, then it is gone.

    Raises:
        Refusal: 212 while it is being removed, 79 afterwards.
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
        refuse_kept(array, item)
    for item in affected:
        remove(array, item)
    return {}


def refuse_other_class(volume: Volume, body: Body) -> None:
    """A volume of a class of its own is only changed by those who name the class.

    Raises:
        Refusal: the body names no class or another one.
    """
    if volume.volume_class not in ("defaultclass", body.text("volumeClass") or volume.volume_class):
        raise malformed(f"The volume is of class {volume.volume_class}")
    if volume.volume_class != "defaultclass" and body.text("volumeClass") is None:
        raise malformed(f"The volume is of class {volume.volume_class}: volumeClass must be part of the body")


def _affected(array: Array, volume: Volume, mode: str) -> list[Volume]:
    tree = [array.volumes[volume_id] for volume_id in array.vtrees[volume.vtree_id].volume_ids]
    match mode:
        case "ONLY_ME":
            return [volume]
        case "WHOLE_VTREE":
            return tree
    below = descendants(volume, tree)
    return [volume, *below] if mode == INCLUDING_DESCENDANTS else below


def descendants(volume: Volume, tree: list[Volume]) -> list[Volume]:
    """What was made from ``volume``, directly or not, among the volumes of its tree."""
    found: list[Volume] = []
    wave = {volume.id}
    while wave:
        children = [item for item in tree if item.ancestor_id in wave]
        found += children
        wave = {item.id for item in children}
    return found


def refuse_kept(array: Array, volume: Volume) -> None:
    """Refuse to remove a volume that is mapped or protected.

    Raises:
        Refusal: 104 when it is mapped; code 0 when it is a secure or locked snapshot.
    """
    if volume.mappings:
        raise mdm_error(104)
    if volume.secure_until > array.clock.now():
        raise uncoded_error("The snapshot is secure and its retention time has not passed")
    if volume.locked:
        raise uncoded_error("The snapshot is a locked auto snapshot")


def remove(array: Array, volume: Volume) -> None:
    """Remove one volume: its children hang on its ancestor from now on."""
    for volume_id in array.vtrees[volume.vtree_id].volume_ids:
        child = array.volumes[volume_id]
        if child.ancestor_id == volume.id:
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
    array.afterwards(partial(array.plane.remove, volume.id))


def advance(array: Array) -> None:
    """Finish the removals whose time is over."""
    deadline = array.clock.now() - array.settings.removal_seconds
    for volume in [array.volumes[volume_id] for volume_id in array.removing]:
        if volume.removed_at is not None and volume.removed_at <= deadline:
            _forget(array, volume)


ACTIONS: dict[str, Action[Volume]] = {"removeVolume": Action(_remove, Effect.SLOW)}
