"""What to do next for one claim that waits for a clone of a cached copy. There are no effects here.

The operator's claim, called prime, has the volume mode of the user's claim, and its source is the cached
copy. No pod ever uses it. So its PersistentVolume can be given to the user's claim as it is, by one change of
its ``claimRef``. At each time the volume has one PersistentVolume, and that belongs to one claim.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from csi_powerflex.operator.images.definition import WaitingClaim


class Step(enum.Enum):
    """One step for one claim. The value is what the status says while it is done."""

    WAIT = "waits"
    CREATE_PRIME = "the clone is made"
    RECORD = "the clone is made, and its PersistentVolume is noted"
    HAND_OVER = "the claim gets the PersistentVolume of the clone"
    DELETE_PRIME = "the claim of the operator, which had the clone, is removed"
    TAKE_BACK = "the clone is removed"
    BEGIN_AGAIN = "another clone is made"
    FORGET = "nothing is left to do for the claim"


class Owner(enum.Enum):
    """To which claim a PersistentVolume belongs."""

    PRIME = "prime"
    CLAIM = "claim"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What exists for a claim.

    Attributes:
        wanted: the claim exists with its UID, is not being deleted, and is not bound to another volume.
        delivered: the claim is bound to the PersistentVolume of the clone.
        prime: the operator's claim exists.
        prime_copy: the cached copy that it is a clone of.
        volume: the PersistentVolume of the clone; empty if it does not exist.
        owner: to which claim that belongs.
    """

    wanted: bool
    delivered: bool = False
    prime: bool = False
    prime_copy: str = ""
    volume: str = ""
    owner: Owner = Owner.PRIME


def next_step(claim: WaitingClaim, seen: Seen, *, ending: bool) -> Step:
    """The next step.

    Args:
        claim: what the status has about the claim.
        seen: what exists.
        ending: the VolumeImage is being deleted.
    """
    if seen.volume and seen.owner is not Owner.PRIME:
        return _given(seen, ending=ending)
    exists = seen.prime or bool(seen.volume)
    if not seen.wanted or ending:
        return Step.TAKE_BACK if exists else Step.FORGET
    if exists:
        return _handed_over(claim, seen)
    if claim.volume:
        return Step.BEGIN_AGAIN
    return Step.CREATE_PRIME if claim.copy else Step.WAIT


def _given(seen: Seen, *, ending: bool) -> Step:
    """The PersistentVolume does not belong to the prime any more. It stays in any case."""
    waits = seen.wanted and not seen.delivered and not ending
    if waits and seen.owner is Owner.CLAIM:
        return Step.WAIT
    if seen.prime:
        return Step.DELETE_PRIME
    return Step.BEGIN_AGAIN if waits else Step.FORGET


def _handed_over(claim: WaitingClaim, seen: Seen) -> Step:
    if not seen.prime or seen.prime_copy != claim.copy:
        return Step.TAKE_BACK
    if not seen.volume:
        # One that was recorded was deleted by someone.
        return Step.TAKE_BACK if claim.volume else Step.WAIT
    return Step.HAND_OVER if seen.volume == claim.volume else Step.RECORD
