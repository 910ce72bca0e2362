"""Objects of this cluster that nothing in Kubernetes needs. They are only reported: a person decides."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.operations.controller.inventory.reading import Reader, Selection
from csi_powerflex.operations.controller.inventory.records import Inventory, Owner, Record


def orphans(
    reader: Reader, selection: Selection, *, now: datetime.datetime, least_age: datetime.timedelta
) -> Inventory:
    """The objects of the selection that have a name of this cluster, and that no object in Kubernetes needs.

    A volume is needed by a PersistentVolume of any driver, or by a claim that waits for it. A snapshot is
    needed by a VolumeSnapshotContent. An object younger than ``least_age`` is left out: the call that creates
    it may not have ended.

    Raises:
        FailedPrecondition: the PersistentVolumes or VolumeSnapshotContents are not known.
        InvalidArgument: no such system.
    """
    # Both are needed for both: a restored or imported object may be in use as the other kind.
    if reader.cluster.volumes is None or reader.cluster.contents is None:
        reasons = "; ".join(reader.cluster.unknown)
        raise FailedPrecondition(
            f"orphans cannot be told, because Kubernetes could not be asked: {reasons}. Without its answer, "
            "each volume and snapshot would be called an orphan"
        )
    found = reader.read(selection)
    return Inventory(_unneeded(found.records, now, least_age), found.problems, found.cluster)


def _unneeded(
    records: Sequence[Record], now: datetime.datetime, least_age: datetime.timedelta
) -> tuple[Record, ...]:
    return tuple(
        record
        for record in records
        if record.owner is Owner.THIS_CLUSTER and not record.wanted and record.age(now) >= least_age
    )
