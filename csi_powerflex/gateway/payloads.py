"""The gateway's payloads: of each object only the fields that the driver reads.

msgspec skips fields that are not declared, which are most of the bytes of a long list. A number may come as a
JSON number or as a string (protocol notes, 2.2). All other rules are strict: an invalid id or size must not
become a volume's. Numbers in brackets are sections of the protocol notes.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from csi_powerflex.errors import Unavailable

UNREADABLE = (msgspec.MsgspecError, RecursionError)
"""What decoding raises. RecursionError is for JSON that is nested too deeply."""

# The largest sizes and times that fit into CSI's messages. A size there is a number of bytes with 63 bits.
_MAX_KIB = 2**52
_MAX_SECOND = 253402300799  # of the year 9999

Id = Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
Kib = Annotated[int, Meta(ge=0, le=_MAX_KIB)]
SignedKib = Annotated[int, Meta(ge=-_MAX_KIB, le=_MAX_KIB)]
"""For figures that some versions compute as a difference."""
Timestamp = Annotated[int, Meta(ge=0, le=_MAX_SECOND)]


class Payload(msgspec.Struct, frozen=True, rename="camel"):
    """A gateway object. Fields that some versions lack have a default."""


class SystemPayload(Payload, frozen=True):
    """A System (2.3). Some versions lack the NQN."""

    id: Id
    system_nqn: str | None = None


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
    capacity_alert_high_threshold: int | None = None
    capacity_alert_critical_threshold: int | None = None


class MappingPayload(Payload, frozen=True):
    """One entry of ``mappedSdcInfo`` (2.6): an SDC, or an NVMe host under the same names."""

    sdc_id: str
    sdc_name: str | None = None
    host_type: str | None = None
    access_mode: str | None = None
    limit_iops: int = 0
    limit_bw_in_mbps: int = 0


class VolumePayload(Payload, frozen=True):
    """A Volume or snapshot (2.6). ``mapped_sdc_info`` is null when it is not mapped.

    The fields that ``packed.Outline`` reads come first, in its order.
    """

    id: Id
    size_in_kb: Kib
    storage_pool_id: str
    volume_type: str
    name: str | None = None
    creation_time: Timestamp = 0
    ancestor_volume_id: Id | None = None
    consistency_group_id: Id | None = None
    mapped_sdc_info: tuple[MappingPayload, ...] | None = None
    vtree_id: str = ""
    not_genuine_snapshot: bool | None = None
    access_mode_limit: str | None = None
    secure_snapshot_exp_time: Timestamp = 0
    compression_method: str | None = None
    gen_type: str | None = None
    snpl_id_of_source_volume: Id | None = None
    snpl_id_of_auto_snapshot: Id | None = None
    locked_auto_snapshot: bool | None = None


class SingleVolumePayload(VolumePayload, frozen=True):
    """A Volume that was asked for by its id, with what no list of volumes has to keep (2.6)."""

    volume_replication_state: str | None = None


class MappingRecord(MappingPayload, array_like=True, frozen=True):
    """A mapping as ``packed`` keeps it: without the names of its fields."""


class VolumeRecord(VolumePayload, array_like=True, frozen=True):
    """A volume as ``packed`` keeps it. Its id is the first field and has a fixed length."""

    mapped_sdc_info: tuple[MappingRecord, ...] | None = None


class SdcPayload(Payload, frozen=True):
    """An Sdc (2.10). An NVMe host is listed here too, with an NQN and without a GUID."""

    id: str
    name: str | None = None
    sdc_guid: str | None = None
    nqn: str | None = None
    mdm_connection_state: str | None = None


class SdtAddressPayload(Payload, frozen=True):
    """An entry of an Sdt's ``ipList``."""

    ip: str | None = None
    role: str | None = None


class SdtPayload(Payload, frozen=True):
    """An Sdt, the array's NVMe/TCP target. It listens at each of its addresses (2.11)."""

    id: str
    protection_domain_id: str
    name: str | None = None
    ip_list: tuple[SdtAddressPayload, ...] | None = None
    nvme_port: int | None = None
    discovery_port: int | None = None
    sdt_state: str | None = None
    membership_state: str | None = None
    maintenance_state: str | None = None
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
    """One limit (4). Its values come as strings."""

    type: str
    max_val: int | None = None


class SystemLimitsPayload(Payload, frozen=True):
    """The answer of ``querySystemLimits`` (2.3)."""

    system_limit_entry_list: tuple[SystemLimitPayload, ...]


class UserPayload(Payload, frozen=True):
    """A User of the MDM, before 4.0. The doctor reads its role."""

    name: str
    user_role: str | None = None


class PermissionPayload(msgspec.Struct, frozen=True):
    """The ``permission`` of a user of PowerFlex Manager."""

    role: str | None = None


class PlatformUserPayload(msgspec.Struct, frozen=True):
    """A user of PowerFlex Manager."""

    username: str
    permission: PermissionPayload = PermissionPayload()


class PlatformUsersPayload(msgspec.Struct, frozen=True):
    """The answer of ``/rest/v1/users`` of 4.0 and newer."""

    results: tuple[PlatformUserPayload, ...]


class TreeMemberPayload(Payload, frozen=True):
    """The part of a Volume that counting the members of trees needs (2.6, 2.8)."""

    vtree_id: str = ""
    name: str | None = None
    ancestor_volume_id: str | None = None


class TreeVolumePayload(VolumePayload, frozen=True):
    """A Volume as a member of a tree that is to be moved (2.6)."""

    volume_replication_state: str | None = None


class MigrationPayload(Payload, frozen=True):
    """``vtreeMigrationInfo`` of a VTree (2.9)."""

    source_storage_pool_id: str | None = None
    destination_storage_pool_id: str | None = None
    migration_status: str | None = None
    migration_pause_reason: str | None = None
    migration_queue_position: int | None = None
    thickness_conversion_type: str | None = None


class TreePayload(Payload, frozen=True):
    """A VTree (2.8)."""

    id: Id
    storage_pool_id: Id
    vtree_migration_info: MigrationPayload | None = None


class TreeStatisticsPayload(Payload, frozen=True):
    """The Statistics of a VTree (2.8). ``vtree_migration_progress`` is taken as percent."""

    net_capacity_in_use_in_kb: Kib = 0
    vtree_migration_progress: int | None = None


class SnapshotPolicyPayload(Payload, frozen=True):
    """A SnapshotPolicy (2.13)."""

    id: Id
    name: str | None = None
    snapshot_policy_state: str | None = None
    auto_snapshot_creation_cadence_in_min: int = 0
    num_of_retained_snapshots_per_level: tuple[int, ...] | None = None


class CreatedPayload(Payload, frozen=True):
    """The answer to creating an object."""

    id: Id


class CopiesPayload(Payload, frozen=True):
    """The answer to taking snapshots or creating clones (2.7)."""

    volume_id_list: tuple[Id, ...]


class TokenPayload(msgspec.Struct, frozen=True):
    """The answer of ``/rest/auth/login`` (1.3), with names in snake case. It is secret and never printed."""

    # It is sent in a header, so it must not contain a character that ends a header.
    access_token: Annotated[str, Meta(pattern=r"^[!-~]+\Z")]
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


class LoginMessagePayload(msgspec.Struct, frozen=True):
    """One entry of ``messages`` in an error of the platform (1.3)."""

    message: str = ""


class LoginErrorPayload(msgspec.Struct, frozen=True):
    """The body of a refused login: ``messages`` from the platform (1.3), ``message`` from a gateway (3.1)."""

    message: str = ""
    messages: tuple[LoginMessagePayload, ...] | None = None


def id_in(answer: msgspec.Raw) -> str:
    """The id that ``queryIdByKey`` answers: a JSON string, or an object (8).

    Raises:
        Unavailable: the answer is neither.
    """
    try:
        found: str | CreatedPayload = msgspec.json.decode(answer, type=Id | CreatedPayload)
    except UNREADABLE as error:
        raise Unavailable(
            f"the gateway answered queryIdByKey with something else than an id: {error}"
        ) from error
    return found if isinstance(found, str) else found.id


# msgspec reads the annotations of a type when it first decodes it, and crashes if two threads do that at once
# (seen with 0.19 and 0.22). So it is done here, while the module is imported.
for _type in list(vars().values()):
    if isinstance(_type, type) and issubclass(_type, msgspec.Struct):
        msgspec.json.Decoder(_type)
