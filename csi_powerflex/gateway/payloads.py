"""The gateway's payloads: of each object the fields that the driver reads, and nothing else.

msgspec skips what is not declared, which on long lists is most of the bytes. Numbers may come as JSON
numbers or as strings (protocol notes, 2.2): decoding is lenient in that and strict in the rest, also in what
a value can be: an id or a size that cannot be one must not become a volume's. Numbers in brackets below are
sections of that reference.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from csi_powerflex.errors import Unavailable

UNREADABLE = (msgspec.MsgspecError, RecursionError)
"""What decoding raises; nesting without end is no error of msgspec's own."""

# Beyond these the protocol of CSI, whose sizes are bytes in 63 bits, has no number.
_MOST_KIB = 2**52
_LAST_SECOND = 253402300799  # of the year 9999

Id = Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
Kib = Annotated[int, Meta(ge=0, le=_MOST_KIB)]
SignedKib = Annotated[int, Meta(ge=-_MOST_KIB, le=_MOST_KIB)]
"""Of figures that some versions have been seen to compute as a difference."""
Moment = Annotated[int, Meta(ge=0, le=_LAST_SECOND)]


class Payload(msgspec.Struct, frozen=True, rename="camel"):
    """A gateway object. Fields that some versions lack have a default."""


class SystemPayload(Payload, frozen=True):
    """A System (2.3)."""

    id: Id
    name: str | None = None
    system_version_name: str | None = None
    restricted_sdc_mode: str | None = None


class DomainPayload(Payload, frozen=True):
    """A ProtectionDomain (2.4). ``gen_type`` is missing before 5.x."""

    id: str
    name: str | None = None
    gen_type: str | None = None
    protection_domain_state: str | None = None


class PoolPayload(Payload, frozen=True):
    """A StoragePool (2.5)."""

    id: str
    protection_domain_id: str
    name: str | None = None
    data_layout: str | None = None
    gen_type: str | None = None
    zero_padding_enabled: bool = False
    sp_health_state: str | None = None


class MappingPayload(Payload, frozen=True):
    """One entry of ``mappedSdcInfo`` (2.6): an SDC, or an NVMe host under the same names."""

    sdc_id: str
    sdc_name: str | None = None
    access_mode: str | None = None
    limit_iops: int = 0
    limit_bw_in_mbps: int = 0


class VolumePayload(Payload, frozen=True):
    """A Volume or snapshot (2.6). ``mapped_sdc_info`` is null when it is not mapped."""

    id: Id
    size_in_kb: Kib
    storage_pool_id: str
    volume_type: str
    vtree_id: str = ""
    name: str | None = None
    creation_time: Moment = 0
    ancestor_volume_id: Id | None = None
    consistency_group_id: Id | None = None
    access_mode_limit: str | None = None
    secure_snapshot_exp_time: Moment = 0
    compression_method: str | None = None
    gen_type: str | None = None
    mapped_sdc_info: tuple[MappingPayload, ...] | None = None


class SdcPayload(Payload, frozen=True):
    """An Sdc (2.10). Entries of NVMe hosts have no GUID."""

    id: str
    name: str | None = None
    sdc_guid: str | None = None
    sdc_approved: bool | None = None
    mdm_connection_state: str | None = None


class PoolStatisticsPayload(Payload, frozen=True):
    """The Statistics of a StoragePool before PowerFlex 5 (2.12), in KiB; the first three count each copy."""

    thick_capacity_in_use_in_kb: SignedKib = 0
    thin_capacity_allocated_in_kb: SignedKib = 0
    snapshot_capacity_in_kb: SignedKib = 0
    net_capacity_in_use_in_kb: SignedKib = 0
    net_unused_capacity_in_kb: SignedKib = 0
    capacity_available_for_volume_allocation_in_kb: SignedKib = 0
    volume_allocation_limit_in_kb: SignedKib = 0
    degraded_healthy_capacity_in_kb: SignedKib = 0
    degraded_failed_capacity_in_kb: SignedKib = 0
    failed_capacity_in_kb: SignedKib = 0


class SystemStatisticsPayload(Payload, frozen=True):
    """The Statistics of a System before PowerFlex 5 (2.12)."""

    num_of_volumes: int = 0


class MetricPayload(msgspec.Struct, frozen=True):
    """One metric of one object: a name and at most one value."""

    name: str
    values: tuple[Annotated[float, Meta(ge=0, lt=2**63)], ...]


class ResourcePayload(msgspec.Struct, frozen=True):
    """The metrics of one object."""

    id: str
    metrics: tuple[MetricPayload, ...]


class MetricsPayload(msgspec.Struct, frozen=True):
    """The answer of ``/dtapi/rest/v1/metrics/query`` of PowerFlex 5 (2.12)."""

    resources: tuple[ResourcePayload, ...]


class SystemLimitPayload(Payload, frozen=True):
    """One limit (4); its values come as text."""

    type: str
    max_val: int | None = None


class SystemLimitsPayload(Payload, frozen=True):
    """The answer of ``querySystemLimits`` (2.3)."""

    system_limit_entry_list: tuple[SystemLimitPayload, ...]


class CreatedPayload(Payload, frozen=True):
    """The answer to creating an object."""

    id: Id


class CopiesPayload(Payload, frozen=True):
    """The answer to making snapshots or clones (2.7)."""

    volume_id_list: tuple[Id, ...]
    snapshot_group_id: str | None = None


class TokenPayload(msgspec.Struct, frozen=True):
    """The answer of ``/rest/auth/login`` (1.3); its names are in snake case. Secret: never printed."""

    # It becomes a header, so it must not hold what would end one.
    access_token: Annotated[str, Meta(pattern="^[!-~]+$")]
    expires_in: Annotated[float, Meta(ge=0, le=10 * 365 * 86400)] = 300.0
    refresh_token: str | None = None
    id_token: str | None = None

    def __repr__(self) -> str:
        return "TokenPayload(***)"


class ErrorDetailPayload(Payload, frozen=True):
    """One entry of an error's ``details`` (3.1)."""

    error: str | None = None
    rc: int | None = None
    error_message: str | None = None


class ErrorPayload(Payload, frozen=True):
    """An error's body (3.1)."""

    message: str
    error_code: int = 0
    details: tuple[ErrorDetailPayload, ...] | None = None


def id_in(answer: msgspec.Raw) -> str:
    """The id that ``queryIdByKey`` answers: a JSON string, or an object (8).

    Raises:
        Unavailable: it is neither.
    """
    try:
        found: str | CreatedPayload = msgspec.json.decode(answer, type=Id | CreatedPayload)
    except UNREADABLE as error:
        raise Unavailable(
            f"the gateway answered queryIdByKey with something else than an id: {error}"
        ) from error
    return found if isinstance(found, str) else found.id


# msgspec builds what it needs of a type when that is first decoded, and crashes where two threads do so at
# once (seen with 0.19 and 0.22). So that is done here, while the module is imported.
for _type in list(vars().values()):
    if isinstance(_type, type) and issubclass(_type, msgspec.Struct):
        msgspec.json.Decoder(_type)
