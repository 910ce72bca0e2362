"""The errors of the gateway, with the codes and texts of the real one.

A code is a position in the MDM's list of return codes. An error of the MDM is HTTP 500 with its code, even
"not found". A request that the gateway itself finds malformed is HTTP 400 with code 0. Clients match some of
the texts, so these are part of the protocol. The simulator has its own text where no public source shows one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from csi_powerflex.simulator.message import Response, json_response


@dataclass(frozen=True, slots=True)
class MdmError:
    """One row of the MDM's table: the symbol, which appears in ``details``, and the message."""

    symbol: str
    text: str


MDM_ERRORS = {
    3: MdmError("NOT_FOUND", "Not found"),
    28: MdmError("BUSY", "The MDM is busy. Please try again later."),
    32: MdmError("RETRY", "The operation could not be completed now. Please try again."),
    33: MdmError("DELAYED_RETRY", "The operation could not be completed now. Please try again later."),
    36: MdmError("OBJECT_DELETING", "The object is being deleted"),
    64: MdmError("PARAMETER_OUT_OF_RANGE", "A parameter is out of range"),
    67: MdmError("NO_RESOURCES", "Insufficient resources"),
    78: MdmError("TGT_NOT_FOUND", "Could not find the SDS"),
    79: MdmError("VOL_NOT_FOUND", "Could not find the volume"),
    80: MdmError("INI_NOT_FOUND", "Could not find the SDC"),
    81: MdmError("VOL_ALREADY_MAPPED_TO_THIS_INI", "The volume is already mapped to this SDC"),
    82: MdmError("VOL_ALREADY_MAPPED_TO_ALL_INIS", "The volume is already mapped to all SDCs"),
    84: MdmError("VOL_NOT_MAPPED_TO_INI", "The volume is not mapped to SDC"),
    87: MdmError("TOO_MANY_MAPPINGS", "There are too many mappings"),
    88: MdmError("INVALID_VOL_ID", "Invalid volume ID. Please try again with a valid ID."),
    91: MdmError("HOST_NOT_FOUND", "Could not find the host"),
    92: MdmError("DUP_HOST_NAME", "Host name already in use. Please use a different name."),
    93: MdmError("FD_NOT_EMPTY", "The Protection Domain is not empty"),
    96: MdmError("TOO_MANY_VOLS_IN_SP", "There are too many volumes in this Storage Pool"),
    97: MdmError("TOO_MANY_VOLS", "There are too many volumes"),
    99: MdmError("VOL_NAME_IN_USE", "Volume name already in use. Please use a different name."),
    104: MdmError("VOL_MAPPED", "Volume is mapped"),
    133: MdmError("VOL_DECREASE_NOT_SUPPORTED", "Volume capacity can only be increased"),
    141: MdmError("FD_NAME_IN_USE", "Protection Domain name already in use. Please use a different name."),
    142: MdmError("FD_NOT_FOUND", "Could not find the Protection Domain"),
    145: MdmError("REMOVE_IN_PROGRESS", "A removal is in progress"),
    164: MdmError("VOL_ALLOC_ERROR_BUSY", "The system is busy. Please try again later."),
    166: MdmError("VOL_CREATE_FAIL", "The volume could not be created"),
    168: MdmError("NO_PERMISSIONS", "The user does not have the permissions for this operation"),
    170: MdmError(
        "STORAGE_POOL_ALREADY_EXISTS", "Storage Pool name already in use. Please use a different name."
    ),
    171: MdmError("STORAGE_POOL_NOT_FOUND", "Could not find the Storage Pool"),
    180: MdmError("INI_HAS_MAPPINGS", "The SDC still has mapped volumes"),
    181: MdmError("TOO_MANY_VOLS_IN_VTREE", "There are too many volumes in the VTree"),
    182: MdmError("TOO_MANY_SNAPS_IN_VTREE", "There are too many snapshots in the VTree"),
    183: MdmError("NOTHING_TO_DO", "There is nothing to do"),
    185: MdmError("VOL_NOT_FOUND_FOR_SNAP_GROUP", "Could not find volumes of the consistency group"),
    190: MdmError("VOL_SIZE_TOO_LARGE", "The volume size is too large"),
    191: MdmError("CAPACITY_TOO_LOW_FOR_SNAP", "The capacity is too low for snapshots"),
    197: MdmError("FD_AND_SP_MISMATCH", "The Storage Pool is not in the Protection Domain"),
    198: MdmError("VTREE_ID_MISMATCH", "The volumes are not in the same VTree"),
    212: MdmError("VOL_REMOVE_IN_PROGRESS", "A volume removal operation is currently in progress. "),
    213: MdmError("FD_NOT_ACTIVE", "The Protection Domain is not active"),
    225: MdmError(
        "VOL_SIZE_ILLEGAL",
        "The specified volume size is illegal. Volume size must be in {granularity} GB blocks",
    ),
    226: MdmError("LONG_NAME", "The given name exceeds the allowed length of 31 characters."),
    227: MdmError(
        "INVALID_NAME",
        "The given name contains invalid characters. Use alphanumeric and punctuation characters only. "
        "Spaces are not allowed.",
    ),
    230: MdmError("INVALID_VTREE_ID", "Could not find the VTree"),
    252: MdmError("TOO_MANY_SESSIONS", "There are too many sessions"),
    303: MdmError("INI_MAPPED_TO_TOO_MANY_VOLS", "The SDC is mapped to too many volumes"),
    306: MdmError(
        "NOT_ALLOWED_MORE_THAN_ONE_MAPPING",
        "This volume is already mapped and may not be mapped to additional SDCs.",
    ),
    307: MdmError("INI_MUST_BE_DISCONNECTED", "The SDC is still connected. It must be disconnected first."),
    309: MdmError("TOO_MUCH_THIN_CAPACITY", "Requested volume size exceeds the volume allocation limit"),
    331: MdmError("INITIATOR_NOT_APPROVED", "The SDC is not approved"),
    339: MdmError("VOLUME_AND_SNAPSHOT_MATCH", "The volume and the snapshot are the same"),
    346: MdmError(
        "CAPACITY_TOO_LOW_FOR_THIN_VOL", "The Storage Pool's capacity is too low for a thin volume"
    ),
    361: MdmError("INVALID_GUID", "The GUID is not valid"),
    717: MdmError("VTREE_MIGRATION_ALREADY_EXISTS", "The VTree is already migrating to this Storage Pool"),
    718: MdmError("VTREE_MIGRATE_SAME_SP", "The VTree is already in this Storage Pool"),
    719: MdmError("VTREE_MIGRATE_MULTIPLE_SP", "The VTree is already migrating to another Storage Pool"),
    4000: MdmError("SDT_NOT_FOUND", "Could not find the SDT"),
    4037: MdmError("VOL_ALREADY_MAPPED_TO_HOST", "The volume is already mapped to this host"),
    4039: MdmError("VOL_NOT_MAPPED_TO_HOST", "The volume is not mapped to this host"),
}


class ApiError(Exception):
    """The gateway refuses a request."""

    def __init__(
        self, status: int, code: int, message: str, details: Sequence[dict[str, object]] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details

    def response(self) -> Response:
        """The error as an HTTP response."""
        body: dict[str, object] = {
            "message": self.message,
            "httpStatusCode": self.status,
            "errorCode": self.code,
        }
        if self.details:
            body["details"] = list(self.details)
        return json_response(body, self.status)


def mdm_error(code: int, **values: object) -> ApiError:
    """The MDM's error ``code``, as HTTP 500. ``values`` fill the placeholders of its text."""
    return ApiError(500, code, MDM_ERRORS[code].text.format(**values) if values else MDM_ERRORS[code].text)


def with_details(errors: Sequence[ApiError]) -> ApiError:
    """The error of a call on several objects: one detail for each of ``errors``."""
    return ApiError(500, 0, "Error with details", [_detail(error) for error in errors])


def _detail(error: ApiError) -> dict[str, object]:
    cause = MDM_ERRORS.get(error.code)
    return {
        "error": cause.symbol if cause else "ERROR",
        "rc": error.code,
        "errorMessage": error.message,
    }


def malformed(message: str) -> ApiError:
    """An error of the gateway's own validation: HTTP 400, code 0."""
    return ApiError(400, 0, message)


def uncoded_error(message: str) -> ApiError:
    """An error of the MDM whose code is in no public source: HTTP 500, code 0."""
    return ApiError(500, 0, message)


def missing_parameters(*names: str) -> ApiError:
    """Mandatory fields are missing in the body."""
    return malformed(
        "Request message is not valid: The following parameter(s) must be part of the request body: "
        f"{', '.join(names)}."
    )


def missing_one_of(*names: str) -> ApiError:
    """The body has none of several alternative fields."""
    return malformed(
        "Request message is not valid: One of the parameter(s) must be part of the request body: "
        f"{', '.join(names)}"
    )


def unknown_id(object_id: str, error: ApiError) -> ApiError:
    """The error for an id that no object has: ``error``, or a malformed request if it is not a number."""
    try:
        int(object_id, 16)
    except ValueError:
        return malformed(f"id ({object_id}) must be a hexadecimal number (unsigned long)")
    return error
