"""Putting volumes into snapshot policies of the array, and taking them out.

The volume on the array says which policy it is in, and nothing else keeps it. The array has no code for "is
in it already". So after each request that failed, the volume is read: it may be as wanted by then, because an
earlier request had its effect or another controller did the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from csi_powerflex.errors import (
    DriverError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
    is_final,
)
from csi_powerflex.hints import first_of
from csi_powerflex.model.array import Volume
from csi_powerflex.model.ports import Array, QosStore
from csi_powerflex.model.snapshot_policy import SnapshotPolicy, is_none
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.lookup import after_change, find_volume_by_name
from csi_powerflex.operations.controller.matching import CreatedVolume
from csi_powerflex.operations.controller.ownership import Ownership

log = Log(__name__)

_MOST_NAMED = 20
# Each attempt after the first follows a change by another call.
_ATTEMPTS = 4


class RequestedPolicy:
    """The policy that one CreateVolume call asks for. It is looked up once on each system.

    Args:
        named: its name or id; None if no policy is asked for.
    """

    def __init__(self, named: str | None) -> None:
        self.named = named
        self._found: dict[str, SnapshotPolicy] = {}

    def on(self, array: Array) -> SnapshotPolicy:
        """The policy on this system. Call it only if one is asked for.

        Raises:
            InvalidArgument: there is none.
            FailedPrecondition: it is paused.
        """
        if array.label not in self._found:
            self._found[array.label] = _find(array, str(self.named))
        return _active(array, self._found[array.label])

    def require(self, array: Array, name: str) -> None:
        """Check the policy before a volume is created there. If none is asked for, nothing is checked.

        Args:
            array: the system.
            name: of the volume on the array. If an earlier call has created it, no error is final.

        Raises:
            InvalidArgument, FailedPrecondition: as ``on``. The volume does not exist.
        """
        if self.named is None:
            return
        try:
            self.on(array)
        except DriverError as error:
            if not is_final(error):
                raise
            existing = find_volume_by_name(array, name)
            if existing is None:
                raise
            if existing.policy_id is None:
                raise Unavailable(
                    f"volume {existing} was created by an earlier call and is in no snapshot policy: {error}"
                ) from error


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A change that was asked for and is possible: the volume is put into the policy, or into none."""

    volume: Volume
    policy: SnapshotPolicy | None


class SnapshotPolicies:
    """The snapshot policies of a fleet's volumes."""

    def __init__(self, store: QosStore, ownership: Ownership) -> None:
        self._store = store
        self._ownership = ownership

    def settle_new(
        self, array: Array, created: CreatedVolume, wanted: RequestedPolicy, *, deletes: bool
    ) -> None:
        """Put a volume that CreateVolume answers for into its policy.

        One that is in a policy already stays in it: an earlier call has put it there, or it was modified.

        Args:
            array: its system.
            created: the volume.
            wanted: the policy.
            deletes: whether its class wants the snapshots of policies to be deleted with it.

        Raises:
            Unavailable: it could not be put into the policy. The volume exists.
        """
        if wanted.named is None and not deletes:
            return
        # It is read before its deletion, which then sees its policy.
        self._ownership.forget(created.handle)
        self._store.record_policy(created.handle, deletes_snapshots=deletes)
        if wanted.named is None or created.policy_id is not None:
            return
        with after_change(f"volume {created.handle} was created"):
            policy = wanted.on(array)
            settle(array, created.handle.volume_id, policy.id, None)
        log.info("volume put into a snapshot policy", volume=created.handle, policy=policy)

    @staticmethod
    def plan(array: Array, volume: Volume, named: str | None) -> PolicyChange | None:
        """What is to be done for the policy that a class names; None for nothing. Nothing is changed.

        Args:
            array: the system of the volume.
            volume: as it is now.
            named: the name or id of the policy, or ``none``; None if the class has no such key.

        Raises:
            InvalidArgument: there is no such policy.
            FailedPrecondition: it is paused.
        """
        if named is None or named == volume.policy_id:
            return None
        if is_none(named):
            return PolicyChange(volume, None) if volume.policy_id is not None else None
        policy = _find(array, named)
        if policy.id == volume.policy_id:
            return None
        return PolicyChange(volume, _active(array, policy))

    def run(self, array: Array, change: PolicyChange) -> None:
        """Carry out the change.

        Raises:
            DriverError: the array refuses it, or there was no answer. It is not final after a change.
        """
        handle = change.volume.handle
        self._ownership.forget(handle)
        self._store.record_policy(handle, deletes_snapshots=False)
        wanted = change.policy.id if change.policy is not None else None
        settle(array, handle.volume_id, wanted, change.volume.policy_id)
        log.info(
            "snapshot policy of a volume changed",
            volume=handle,
            before=change.volume.policy_id,
            policy=change.policy,
        )


def settle(array: Array, volume_id: str, wanted: str | None, current: str | None) -> None:
    """Let the volume be in the policy ``wanted``, or in none. The snapshots of a policy that it leaves stay.

    Args:
        array: the system.
        volume_id: the volume.
        wanted: the id of a policy; None for none.
        current: the policy that it was in when it was read last.

    Raises:
        NotFound: the volume does not exist.
        DriverError: the array refuses it, or there was no answer. It is not final after a change.
    """
    with contextlib.ExitStack() as rest:
        for _ in range(_ATTEMPTS):
            if current == wanted:
                return
            try:
                if current is not None:
                    array.leave_policy(volume_id, current)
                    rest.enter_context(after_change(f"volume {volume_id} has left snapshot policy {current}"))
                    current = None
                if wanted is not None:
                    array.join_policy(volume_id, wanted)
            except DriverError as error:
                found = array.volume(volume_id).policy_id
                if found == current != wanted:
                    raise _of_policy(error) from error
                current = found
            else:
                return
    raise Unavailable(f"other calls change the snapshot policy of volume {volume_id} too; try again")


def _of_policy(error: DriverError) -> DriverError:
    """The error of a request for a policy. If something was not found, it was not the volume."""
    return Unavailable(f"{error}; try again") if isinstance(error, NotFound) else error


def _find(array: Array, named: str) -> SnapshotPolicy:
    """The policy with that id or name.

    Raises:
        InvalidArgument: there is none.
    """
    policies = array.snapshot_policies()
    found = next((policy for policy in policies if policy.id == named), None)
    found = found or next((policy for policy in policies if policy.name == named), None)
    if found is None:
        raise InvalidArgument(
            f"system {array.label} has no snapshot policy {named!r}; it has: {_names(policies)}. Correct "
            "snapshotPolicy in the class (none for no policy), or create the policy at the array"
        )
    return found


def _names(policies: Sequence[SnapshotPolicy]) -> str:
    return first_of(sorted(policy.name for policy in policies), most=_MOST_NAMED) or "none"


def _active(array: Array, policy: SnapshotPolicy) -> SnapshotPolicy:
    """The policy, if it takes snapshots.

    Raises:
        FailedPrecondition: it is paused.
    """
    if policy.paused:
        raise FailedPrecondition(
            f"snapshot policy {policy} of system {array.label} is paused, so it takes no snapshots; resume "
            "it at the array, or name another one in snapshotPolicy"
        )
    return policy
