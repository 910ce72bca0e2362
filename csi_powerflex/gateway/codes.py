"""The array's error codes, and the error of the driver that each one means.

If the array (the MDM) refuses a request, the answer is HTTP 500 with a code of the MDM (protocol notes, 3.1
and 3.3), so the HTTP status says little. A code without a row is unexpected. It becomes Unavailable, which
callers repeat: a final error could make a caller forget a volume that exists.
"""

from __future__ import annotations

from dataclasses import dataclass

from csi_powerflex import errors
from csi_powerflex.model import array, moves


@dataclass(frozen=True, slots=True)
class MdmCode:
    """One row: a code of the MDM, the MDM's symbol for it, the error of the driver, and what to do."""

    code: int
    symbol: str
    error: type[errors.DriverError]
    remedy: str = ""


MORE_RIGHTS = "give this user of the array the rights that docs/security.md lists"

_REMOVED = (
    "the array does not have it any more: someone removed it there, or its id is wrong; delete the object of "
    "Kubernetes that has this id, or correct the id"
)
_HOST_REMOVED = (
    "the host was removed at the array or got another id; check there that the node's SDC is connected"
)
_POOL_REMOVED = (
    "the pool or its protection domain was removed or renamed; correct the StorageClass or the systems file"
)
_FULL = "free capacity in the pool, add devices to it, or use another pool"
_FEWER_VOLUMES = "delete volumes or snapshots that are not needed any more, or use another pool or system"
_FEWER_MAPPINGS = (
    "move pods with volumes to other nodes, and let the chart's value node.maxVolumes keep the node below it"
)
_OWN_SNAPSHOT = "name a snapshot of this volume"
_REPEATED = "the call is repeated"


CODES = (
    # The requested object does not exist. 78 means a volume on old versions.
    MdmCode(3, "NOT_FOUND", errors.NotFound, _REMOVED),
    MdmCode(78, "TGT_NOT_FOUND", errors.NotFound, _REMOVED),
    MdmCode(79, "VOL_NOT_FOUND", errors.NotFound, _REMOVED),
    MdmCode(88, "INVALID_VOL_ID", errors.NotFound, _REMOVED),
    # The answers to the removal of a consistency group that has no snapshots any more.
    MdmCode(183, "NOTHING_TO_DO", errors.NotFound),
    MdmCode(185, "VOL_NOT_FOUND_FOR_SNAP_GROUP", errors.NotFound),
    # A cached id of a host is not valid any more.
    MdmCode(80, "INI_NOT_FOUND", array.HostNotFound, _HOST_REMOVED),
    MdmCode(90, "INVALID_INI_ID", array.HostNotFound, _HOST_REMOVED),
    MdmCode(91, "HOST_NOT_FOUND", array.HostNotFound, _HOST_REMOVED),
    # A cached id of a pool or domain is not valid any more. FD is a protection domain.
    MdmCode(142, "FD_NOT_FOUND", array.PoolNotFound, _POOL_REMOVED),
    MdmCode(171, "STORAGE_POOL_NOT_FOUND", array.PoolNotFound, _POOL_REMOVED),
    MdmCode(174, "INVALID_STORAGE_POOL_ID", array.PoolNotFound, _POOL_REMOVED),
    MdmCode(197, "FD_AND_SP_MISMATCH", array.PoolNotFound, _POOL_REMOVED),
    # The name is in use.
    MdmCode(99, "VOL_NAME_IN_USE", array.NameInUse),
    MdmCode(92, "DUP_HOST_NAME", array.HostNameInUse, "rename that host at the array"),
    # Mappings. INI is an SDC. The codes from 4000 on are those of 4.x and later.
    MdmCode(81, "VOL_ALREADY_MAPPED_TO_THIS_INI", array.AlreadyMapped),
    MdmCode(82, "VOL_ALREADY_MAPPED_TO_ALL_INIS", array.AlreadyMapped),
    MdmCode(4037, "VOL_ALREADY_MAPPED_TO_HOST", array.AlreadyMapped),
    MdmCode(84, "VOL_NOT_MAPPED_TO_INI", array.NotMapped),
    MdmCode(4039, "VOL_NOT_MAPPED_TO_HOST", array.NotMapped),
    MdmCode(86, "VOL_MAPPED_TO_ALL_INIS", errors.FailedPrecondition, "unmap it from all hosts at the array"),
    # The volume cannot be overwritten with this snapshot.
    MdmCode(198, "VTREE_ID_MISMATCH", errors.FailedPrecondition, _OWN_SNAPSHOT),
    MdmCode(339, "VOLUME_AND_SNAPSHOT_MATCH", errors.FailedPrecondition, _OWN_SNAPSHOT),
    MdmCode(104, "VOL_MAPPED", array.VolumeMapped),
    MdmCode(306, "NOT_ALLOWED_MORE_THAN_ONE_MAPPING", array.MappedElsewhere),
    MdmCode(331, "INITIATOR_NOT_APPROVED", array.HostNotApproved),
    # The size is not possible.
    MdmCode(
        133, "VOL_DECREASE_NOT_SUPPORTED", errors.OutOfRange, "a volume cannot shrink; ask for a larger size"
    ),
    MdmCode(225, "VOL_SIZE_ILLEGAL", errors.OutOfRange, "ask for a size that the array has"),
    MdmCode(190, "VOL_SIZE_TOO_LARGE", array.SizeTooLarge, "ask for a smaller size"),
    # There is no free capacity, or a limit of the array is reached.
    MdmCode(
        67,
        "NO_RESOURCES",
        errors.ResourceExhausted,
        "look at the array's alerts; a limit or its memory is used up",
    ),
    MdmCode(87, "TOO_MANY_MAPPINGS", errors.ResourceExhausted, _FEWER_MAPPINGS),
    MdmCode(96, "TOO_MANY_VOLS_IN_SP", errors.ResourceExhausted, _FEWER_VOLUMES),
    MdmCode(97, "TOO_MANY_VOLS", errors.ResourceExhausted, _FEWER_VOLUMES),
    MdmCode(303, "INI_MAPPED_TO_TOO_MANY_VOLS", errors.ResourceExhausted, _FEWER_MAPPINGS),
    MdmCode(191, "CAPACITY_TOO_LOW_FOR_SNAP", array.PoolFull, _FULL),
    MdmCode(309, "TOO_MUCH_THIN_CAPACITY", array.PoolFull, _FULL),
    MdmCode(346, "CAPACITY_TOO_LOW_FOR_THIN_VOL", array.PoolFull, _FULL),
    MdmCode(181, "TOO_MANY_VOLS_IN_VTREE", array.TreeFull),
    MdmCode(182, "TOO_MANY_SNAPS_IN_VTREE", array.TreeFull),
    # The array does not accept a value, such as a QoS limit.
    MdmCode(
        64,
        "PARAMETER_OUT_OF_RANGE",
        errors.InvalidArgument,
        "correct the value in the StorageClass or VolumeAttributesClass",
    ),
    # The user lacks a right.
    MdmCode(58, "NEED_WRITE_ACCESS", errors.PermissionDenied, MORE_RIGHTS),
    MdmCode(168, "NO_PERMISSIONS", errors.PermissionDenied, MORE_RIGHTS),
    # Another operation is running. While a removal runs, the volume's name and capacity are not free yet.
    MdmCode(28, "BUSY", errors.Busy, _REPEATED),
    MdmCode(32, "RETRY", errors.Busy, _REPEATED),
    MdmCode(33, "DELAYED_RETRY", errors.Busy, _REPEATED),
    MdmCode(36, "OBJECT_DELETING", errors.Busy, _REPEATED),
    MdmCode(145, "REMOVE_IN_PROGRESS", errors.Busy, _REPEATED),
    MdmCode(164, "VOL_ALLOC_ERROR_BUSY", errors.Busy, _REPEATED),
    MdmCode(212, "VOL_REMOVE_IN_PROGRESS", errors.Busy, _REPEATED),
    # Moves of a volume tree to another pool. 719 is that to a third pool.
    MdmCode(717, "VTREE_MIGRATION_ALREADY_EXISTS", moves.MoveRunning, _REPEATED),
    MdmCode(719, "VTREE_MIGRATE_MULTIPLE_SP", moves.MoveRunning, _REPEATED),
    MdmCode(718, "VTREE_MIGRATE_SAME_SP", moves.InPoolAlready),
    # A part of the array does not answer, so the outcome is not known; or the domain is not active.
    MdmCode(68, "TIMEOUT", errors.Unavailable, _REPEATED),
    MdmCode(69, "COMMUNICATION_ERROR", errors.Unavailable, _REPEATED),
    MdmCode(213, "FD_NOT_ACTIVE", errors.Unavailable, "activate the protection domain at the array"),
)

_ERRORS = {row.code: row.error for row in CODES}
_REMEDIES = {row.code: row.remedy for row in CODES}

_NOT_AN_ID = "must be a hexadecimal number"


def error_for(status: int, code: int, message: str) -> type[errors.DriverError]:
    """The class of error for a refused request.

    Args:
        status: the HTTP status.
        code: the code of the MDM; 0 if the gateway itself refused the request.
        message: the text of the answer.
    """
    if code in _ERRORS:
        return _ERRORS[code]
    if _NOT_AN_ID in message:
        return errors.NotFound
    # The gateway checks requests before the MDM gets them (protocol notes, 3.1). This one can never work.
    return errors.InvalidArgument if status == 400 else errors.Unavailable


def remedy_for(code: int) -> str:
    """What to do about this code of the MDM; empty for a code that the driver handles, or does not know."""
    return _REMEDIES.get(code, "")
