"""What follows for a claim that waits for a clone, from what exists."""

from __future__ import annotations

import pytest

from csi_powerflex.operator.images.cloning import Owner, Seen, Step, next_step
from csi_powerflex.operator.images.definition import WaitingClaim

NEW = WaitingClaim(claim="disk", uid="u")
ASSIGNED = WaitingClaim(claim="disk", uid="u", copy="image-1")
RECORDED = WaitingClaim(claim="disk", uid="u", copy="image-1", volume="pv")
NOTHING = Seen(wanted=False)


def primed(**more: object) -> Seen:
    """What exists while the operator's claim does."""
    given = {"wanted": True, "prime": True, "prime_copy": "image-1", **more}
    return Seen(**given)  # type: ignore[arg-type]  # the fields have several types


@pytest.mark.parametrize(
    ("claim", "seen", "step"),
    [
        (NEW, Seen(wanted=True), Step.WAIT),
        (ASSIGNED, Seen(wanted=True), Step.CREATE_PRIME),
        (ASSIGNED, primed(), Step.WAIT),
        (ASSIGNED, primed(volume="pv"), Step.RECORD),
        (RECORDED, primed(volume="pv"), Step.HAND_OVER),
        (RECORDED, primed(volume="pv", owner=Owner.CLAIM), Step.WAIT),
        (RECORDED, primed(volume="pv", owner=Owner.CLAIM, delivered=True), Step.DELETE_PRIME),
        (RECORDED, Seen(wanted=True, volume="pv", owner=Owner.CLAIM, delivered=True), Step.FORGET),
    ],
)
def test_a_claim_gets_its_clone_step_by_step(claim: WaitingClaim, seen: Seen, step: Step) -> None:
    assert next_step(claim, seen, ending=False) is step


@pytest.mark.parametrize(
    ("seen", "step"),
    [
        (NOTHING, Step.FORGET),
        (primed(wanted=False), Step.TAKE_BACK),
        (Seen(wanted=False, volume="pv"), Step.TAKE_BACK),
        (primed(wanted=False, volume="pv", owner=Owner.CLAIM), Step.DELETE_PRIME),
        (Seen(wanted=False, volume="pv", owner=Owner.CLAIM), Step.FORGET),
    ],
)
def test_a_claim_that_is_not_wanted_any_more_gets_none(seen: Seen, step: Step) -> None:
    assert next_step(RECORDED, seen, ending=False) is step


@pytest.mark.parametrize(
    ("seen", "step"),
    [
        (Seen(wanted=True), Step.FORGET),
        (primed(volume="pv"), Step.TAKE_BACK),
        (primed(volume="pv", owner=Owner.CLAIM), Step.DELETE_PRIME),
        (Seen(wanted=True, volume="pv", owner=Owner.CLAIM), Step.FORGET),
    ],
)
def test_the_end_of_the_image_takes_back_what_was_not_handed_over(seen: Seen, step: Step) -> None:
    assert next_step(RECORDED, seen, ending=True) is step


@pytest.mark.parametrize(
    ("claim", "seen", "step"),
    [
        # The prime is a clone of a copy that is not used any more.
        (NEW, primed(), Step.TAKE_BACK),
        (ASSIGNED, primed(prime_copy="image-0"), Step.TAKE_BACK),
        # The PersistentVolume that was recorded does not exist.
        (RECORDED, primed(), Step.TAKE_BACK),
        (RECORDED, Seen(wanted=True), Step.BEGIN_AGAIN),
        # The prime does not exist, and its PersistentVolume is released.
        (RECORDED, Seen(wanted=True, volume="pv"), Step.TAKE_BACK),
        # Someone has given the PersistentVolume to another claim.
        (RECORDED, primed(volume="pv", owner=Owner.OTHER), Step.DELETE_PRIME),
        (RECORDED, Seen(wanted=True, volume="pv", owner=Owner.OTHER), Step.BEGIN_AGAIN),
    ],
)
def test_what_others_have_changed_leads_to_another_clone(claim: WaitingClaim, seen: Seen, step: Step) -> None:
    assert next_step(claim, seen, ending=False) is step
