"""The steps of a VolumeCopy: which claims wait for a copy, and one step for each of them."""

from __future__ import annotations

from collections.abc import Mapping

from csi_powerflex.config.operator import MoverSettings
from csi_powerflex.kube.client import Client
from csi_powerflex.operator.api import Definition
from csi_powerflex.operator.classes import StorageClasses
from csi_powerflex.operator.copies import reconciler
from csi_powerflex.operator.copies.definition import DEFINITION, CopyStatus, Population, Stage, VolumeCopy
from csi_powerflex.operator.copies.populating import Led, Populating
from csi_powerflex.operator.movers.job import jobs, policies
from csi_powerflex.operator.objects import claims, snapshots
from csi_powerflex.operator.owned import OWNER_LABEL, Owned, Whole, wants
from csi_powerflex.operator.work import NOW, UNTIL_CHANGED, Change, Clock, Save

_LOOK_SECONDS = 60.0
"""A claim that appears begins a round. This is for one whose event was lost."""


class Copies:
    """See ``operator.work.Work``. It needs no array.

    Args:
        client: how to reach the cluster.
        movers: what all data movers have.
        driver_name: the driver's CSI name.
        now: the present time.
    """

    definition: Definition = DEFINITION
    kind = VolumeCopy

    def __init__(self, client: Client, movers: MoverSettings, *, driver_name: str, now: Clock) -> None:
        self._client = client
        self._movers = movers
        self._driver = driver_name
        self._now = now

    def advance(self, found: VolumeCopy, _save: Save[CopyStatus]) -> Change[CopyStatus]:
        """See ``Work.advance``."""
        owned = Owned(self._client, DEFINITION, found)
        present = {
            item.metadata.uid: item
            for item in self._client.list(claims(found.metadata.namespace), Whole).items
        }
        entries = _with_new(found, present)
        if not entries and not found.deleting:
            entries = self._late(owned)
        if entries != found.status.claims:
            # A claim is in the status before anything is made for it.
            return self._change(found, [Led(entry) for entry in entries], NOW)
        steps = [self._populating(found, owned, entry, present.get(entry.uid)).lead() for entry in entries]
        pause = min((step.pause for step in steps), default=_LOOK_SECONDS)
        return self._change(found, steps, pause)

    def _late(self, owned: Owned) -> tuple[Population, ...]:
        """Entries for what is left although no claim waits. They are undone.

        A process that was separated from the cluster may have made it late. Users can give the label to
        anything: what has another name is not removed, so it would be found without end.
        """
        labels = f"{OWNER_LABEL}={owned.uid}"
        found = {
            reconciler.uid_of(item.metadata.name, is_claim=path is claims)
            for path in (claims, snapshots, jobs, policies)
            for item in self._client.list(path(owned.namespace), Whole, labels=labels).items
        }
        return tuple(
            Population(claim="", uid=uid, stage=Stage.UNDOING)
            for uid in sorted(found - {""})[: reconciler.MOST_CLAIMS]
        )

    def _populating(
        self, found: VolumeCopy, owned: Owned, entry: Population, claim: Whole | None
    ) -> Populating:
        return Populating(
            owned, self._movers, StorageClasses(self._client), self._driver, found, entry, claim
        )

    def _change(self, found: VolumeCopy, steps: list[Led], pause: float) -> Change[CopyStatus]:
        left = [step.entry for step in steps if step.entry is not None]
        populated = sum(step.populated for step in steps)
        status = reconciler.status_of(found, left, populated=populated, now=self._now())
        happenings = tuple(told for step in steps for told in step.happenings)
        if any(not reconciler.is_idle(entry) for entry in left):
            return Change(status, pause, None if found.deleting else True, happenings)
        # Nothing has to be taken back, so nothing keeps a VolumeCopy that is deleted.
        return Change(status, UNTIL_CHANGED if found.deleting else pause, False, happenings)


def _with_new(found: VolumeCopy, present: Mapping[str, Whole]) -> tuple[Population, ...]:
    """The claims of the status, and those that have come since."""
    entries = found.status.claims
    if found.deleting:
        return entries
    known = {entry.uid for entry in entries}
    made = [
        Population(claim=claim.metadata.name, uid=claim.metadata.uid)
        for claim in present.values()
        if claim.metadata.uid not in known and wants(claim, DEFINITION, found)
    ]
    return reconciler.with_new(entries, made)
