"""Moving volumes to another pool of their system, while they are used.

The array does it, in the background: ids, snapshots and mappings stay. The call that asks for it is repeated
until the array has finished. The state is on the array only, in the volume's tree. So it does not matter
which controller gets the repeated call, or whether it was restarted:

- The tree stays in its pool: it is checked, and its move is begun.
- It moves to the requested pool: the call waits, which means that it fails with Busy and says how far it is.
- It moves away from the requested pool: the move is paused and the tree is sent back.
- It moves to a third pool: the call waits until that has ended.

Two controllers that begin the same move begin it once, because the array refuses the second request.
"""

from __future__ import annotations

from dataclasses import dataclass

from csi_powerflex import units
from csi_powerflex.errors import Busy, InvalidArgument
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Pool, Provisioning, Volume
from csi_powerflex.model.hold import Holds
from csi_powerflex.model.moves import Conversion, InPoolAlready, MoveRunning, MoveState, Tree, TreeUsage
from csi_powerflex.model.notices import Notice, Notices
from csi_powerflex.model.parameters import MutableParameters
from csi_powerflex.model.ports import Array, QosStore
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller import move_checks
from csi_powerflex.operations.controller.lookup import after_change
from csi_powerflex.operations.controller.move_checks import Change, Content
from csi_powerflex.operations.controller.running_moves import RunningMoves

log = Log(__name__)

# What to do, by the array's reason for a pause.
_REMEDIES = {
    "NoSpaceInDestinationStoragePool": "free capacity in that pool, or use the class of the former pool",
    "UnavailableCapacityInSourceStoragePool": "repair the pool that the volume leaves",
    "DegradedCapacityInProtectionDomain": "the array continues after its rebuild",
    "InactiveProtectionDomain": "activate the protection domain at the array",
    "MaintenanceMode": "the array continues after the maintenance",
    "UserInitiated": "a user of the array has paused it, or a call that was to send it back; resume it there",
}
_OTHER_REMEDY = "look at the array's alerts"


@dataclass(frozen=True, slots=True)
class Move:
    """A move that was asked for and is possible.

    Attributes:
        tree: of the volume.
        change: None if the array moves the tree already.
        members: every volume and snapshot of a tree that is not moved yet, without those in the trash.
        certain: whether the volume will be as the class asks when the move ends. If not, the class may still
            be refused then.
    """

    volume: Volume
    target: Pool
    tree: Tree
    change: Change | None = None
    members: tuple[VolumeHandle, ...] = ()
    certain: bool = True

    @property
    def returns(self) -> bool:
        """Whether the tree moves away from the pool that it has to be in.

        On its way back, the pool that it leaves and the one that it moves to are the same.
        """
        leaves = self.tree.pool_id == self.target.id != self.tree.target_id
        return self.change is None and leaves


class Moves:
    """The moves of a fleet's volumes.

    Args:
        store: keeps which volumes were moved.
        holds: the volumes that are not moved, because someone works on them.
        cluster_id: whose deleted volumes move along.
    """

    def __init__(self, store: QosStore, notices: Notices, holds: Holds, cluster_id: str) -> None:
        self._store = store
        self._holds = holds
        self._cluster_id = cluster_id
        self._notices = notices
        self._running = RunningMoves()

    def plan(self, array: Array, volume: Volume, wanted: MutableParameters) -> Move | None:
        """What is to be done for the pool and provisioning that a class asks for; None for nothing.

        Nothing is changed.

        Raises:
            InvalidArgument: there is no such pool, or the array cannot do this.
            FailedPrecondition, PoolFull: the array's state does not allow it, or someone holds the volume.
            Busy: the pool is not found, and the array moves the volume.
        """
        if wanted.pool is None and wanted.provisioning is None:
            return None
        source = array.pool_by_id(volume.pool_id)
        target = source if wanted.pool is None else _pool(array, volume, source, wanted)
        move_checks.require_mirrored(array, volume, source, target)
        if source.erasure_coded:
            move_checks.require_here(volume, target, wanted.provisioning)
            return None
        tree = array.tree(volume.tree_id)
        if tree.state is not MoveState.NONE:
            # Without a pool in the class, the move that runs decides where it ends.
            goal = target if wanted.pool else array.pool_by_id(tree.target_id or tree.pool_id)
            return Move(volume, goal, tree, certain=_is_certain(volume, goal, tree, wanted))
        source = array.pool_by_id(tree.pool_id)
        if not wanted.pool or source.id == target.id:
            if wanted.provisioning not in (None, volume.provisioning):
                # It may have been moved and converted since it was read.
                volume = array.volume(volume.handle.volume_id)
            move_checks.require_here(volume, source, wanted.provisioning)
            self._finished(array, volume, source)
            return None
        move_checks.require_pools_fit(array, volume, source, target)
        members = array.tree_volumes(tree.id)
        move_checks.require_paths(volume, members, source, target)
        content = move_checks.content_of(members, self._cluster_id)
        change = self._checked(array, volume, target, content, wanted)
        # The file that keeps this forgets a volume when it is deleted.
        kept = [item.volume.handle for item in members if item.volume not in content.deleted]
        return Move(volume, target, tree, change, tuple(kept))

    def _checked(
        self, array: Array, volume: Volume, target: Pool, content: Content, wanted: MutableParameters
    ) -> Change:
        """What the move changes, after every check of the tree and of the other pool."""
        change = move_checks.change_for(volume, content.members, target, wanted.provisioning)
        move_checks.require_movable(volume, content, whole_tree=wanted.migrate_tree)
        move_checks.require_not_held(volume, content.members, self._holds)
        usage = array.tree_usage(volume.tree_id)
        capacity = array.pool_capacity(target)
        move_checks.require_capacity(volume, content, usage, target, capacity, conversion=change.conversion)
        return change

    def run(self, array: Array, move: Move) -> None:
        """Begin the move, or go on with it. Returns when the tree is in the pool.

        Raises:
            Busy: the array works on it. The message says how far it is; the same call goes on with it.
            PoolFull: the array has no free capacity for it, and has begun nothing.
        """
        if move.change is not None:
            self._store.record_move(move.members)
            self._begin(array, move.volume, move.target, move.change)
        with after_change(f"the array moves volume {move.volume}"):
            self._go_on(array, move)

    def _go_on(self, array: Array, move: Move) -> None:
        """Send the tree back if it has to be. Raises Busy as ``run``."""
        volume, target, tree = move.volume, move.target, move.tree
        if move.change is not None:
            tree = array.tree(tree.id)
        elif move.returns:
            tree = self._return(array, volume, target, tree)
        if tree.state is MoveState.NONE and tree.pool_id == target.id:
            self._finished(array, volume, target)
            return
        raise self._busy(array, volume, target, tree)

    def _begin(self, array: Array, volume: Volume, target: Pool, change: Change) -> None:
        try:
            array.move_tree(
                volume.handle.volume_id,
                target,
                conversion=change.conversion,
                compressed=change.compressed,
            )
        except (MoveRunning, InPoolAlready) as error:
            # Another controller, or an earlier request whose answer was lost, has begun it.
            log.info("volume is being moved already", volume=volume.handle, reason=error)
        else:
            log.info("move of a volume begun", volume=volume.handle, pool=target)
            metrics.MOVES.labels(array.label, "begun").inc()

    def _return(self, array: Array, volume: Volume, target: Pool, tree: Tree) -> Tree:
        """Send the tree back to the pool that it leaves. Returns it as it is then."""
        volume_id = volume.handle.volume_id
        if tree.state in (MoveState.MOVING, MoveState.QUEUED):
            array.pause_move(volume_id)
            tree = array.tree(tree.id)
        if tree.state is not MoveState.PAUSED or tree.pool_id != target.id:
            return tree
        try:
            array.move_tree(volume_id, target, conversion=move_checks.UNCHANGED.conversion, compressed=None)
        except (MoveRunning, InPoolAlready) as error:
            # Another call has sent it back, or let it go on.
            log.info("volume is being moved already", volume=volume.handle, reason=error)
        else:
            log.info("volume sent back to its pool", volume=volume.handle, pool=target)
            metrics.MOVES.labels(array.label, "returned").inc()
        return array.tree(tree.id)

    def _finished(self, array: Array, volume: Volume, target: Pool) -> None:
        """Tell that a move has ended that this process has seen running."""
        if self._running.ended(volume.handle):
            log.info("volume moved", volume=volume.handle, pool=target)
            metrics.MOVES.labels(array.label, "finished").inc()
            self._notices.tell(
                volume.handle, Notice.VOLUME_MOVED, f"The volume is in pool {target} of system {array.label}."
            )

    def _busy(self, array: Array, volume: Volume, target: Pool, tree: Tree) -> Busy:
        """The error of a call that has to be repeated: how far the move is."""
        usage = array.tree_usage(tree.id)
        self._running.seen(array.label, volume.handle, tree.state, usage)
        text = _progress(array, volume, target, tree, usage)
        paused = tree.state is MoveState.PAUSED
        self._notices.tell(
            volume.handle,
            Notice.VOLUME_MOVE_PAUSED if paused else Notice.VOLUME_MOVING,
            f"The volume{text.removeprefix(f'volume {volume}')}.",
        )
        return Busy(text)


def _is_certain(volume: Volume, goal: Pool, tree: Tree, wanted: MutableParameters) -> bool:
    """Whether a move that runs ends as the class asks. It may be that of another class."""
    if goal.id not in (tree.pool_id, tree.target_id):
        return False
    if wanted.provisioning is None:
        return True
    converted = {Conversion.TO_THICK: Provisioning.THICK, Conversion.TO_THIN: Provisioning.THIN}
    sent_back = goal.id == tree.pool_id
    after = volume.provisioning if sent_back else converted.get(tree.conversion, volume.provisioning)
    # Whether a pool that compresses will compress this volume is not known before.
    return after is wanted.provisioning and (sent_back or not goal.compressible)


def _pool(array: Array, volume: Volume, source: Pool, wanted: MutableParameters) -> Pool:
    """The requested pool.

    Raises:
        InvalidArgument: there is none.
        Busy: there is none, and the array moves the volume. An earlier call may have begun this, when the
            pool had another name, and a final error would hide it.
    """
    try:
        return _without_domain(array, source, wanted) or array.pool(wanted.domain, wanted.pool)
    except InvalidArgument as error:
        # By now the list of pools is a new one.
        found = _without_domain(array, source, wanted)
        if found is not None:
            return found
        if source.erasure_coded or array.tree(volume.tree_id).state is MoveState.NONE:
            raise
        raise Busy(
            f"the array moves volume {volume} to another pool, and its class asks for one that is not found: "
            f"{error}; the call is repeated until that move has ended"
        ) from error


def _without_domain(array: Array, source: Pool, wanted: MutableParameters) -> Pool | None:
    """The pool of a class without a domain: in the volume's domain, or else the only one; None if unclear.

    A domain in the systems file is for new volumes, and does not count.
    """
    if wanted.domain is not None:
        return None
    found = [pool for pool in array.pools() if wanted.pool in (pool.id, pool.name)]
    near = [pool for pool in found if pool.domain_id == source.domain_id]
    for pools in (near, found):
        if len(pools) == 1:
            return pools[0]
    return None


def _progress(array: Array, volume: Volume, target: Pool, tree: Tree, usage: TreeUsage) -> str:
    """What the array does with the tree, as a sentence that begins with the volume."""
    left, entered = _name(array, tree.pool_id), _name(array, tree.target_id)
    done = _share(usage)
    until = f"the call is repeated until it is in pool {target}"
    if tree.state is MoveState.NONE:
        # It has ended since the last look, or was sent to another pool.
        return f"volume {volume} is in pool {left} and not yet in pool {target}; {until}"
    if tree.state is MoveState.QUEUED:
        place = f"at position {tree.queue_position}" if tree.queue_position else "for its turn"
        return (
            f"volume {volume} waits {place} in the array's queue to be moved from pool {left} to pool "
            f"{entered}; {until}"
        )
    if tree.state is MoveState.PAUSED:
        reason = tree.pause_reason or "no reason given"
        remedy = _REMEDIES.get(reason, _OTHER_REMEDY)
        return (
            f"volume {volume} is not moved any further from pool {left} to pool {entered}: {done} are "
            f"moved, and the array has paused it ({reason}): {remedy}; {until}"
        )
    if tree.state is MoveState.PAUSING:
        return (
            f"volume {volume} is being moved from pool {left} to pool {entered}, and the array pauses this: "
            f"{done} are moved; {until}"
        )
    return f"volume {volume} is being moved from pool {left} to pool {entered}: {done} are moved; {until}"


def _share(usage: TreeUsage) -> str:
    """How much of the data is moved. A text that changes often would become many events (ADR 14)."""
    percent = int(usage.moved * 20) * 5
    return f"{percent} % of {round(usage.used / units.GIB) or 'less than 1'} GiB"


def _name(array: Array, pool_id: str | None) -> str:
    try:
        return str(array.pool_by_id(pool_id or ""))
    except InvalidArgument:
        return str(pool_id)
