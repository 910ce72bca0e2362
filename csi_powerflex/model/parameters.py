"""The parameters of StorageClasses, VolumeSnapshotClasses and VolumeAttributesClasses: one field for each.

The names are those of Dell's driver, if it has the parameter, so its classes can be used here. The parser,
the hints for unknown keys and docs/parameters.md are made from the fields below. A field with
``travels=True`` is also written into the volume context. ``VolumeContext`` has a field with its name, and a
test checks that the code for later calls uses it.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from csi_powerflex import units
from csi_powerflex.errors import InvalidArgument
from csi_powerflex.hints import did_you_mean
from csi_powerflex.model import qos
from csi_powerflex.model.access import Access, Provisioning
from csi_powerflex.model.snapshot_policy import DELETE_POLICY_SNAPSHOTS, SNAPSHOT_POLICY, is_none
from csi_powerflex.model.transport import AUTO, TRANSPORTS
from csi_powerflex.model.trash import DELETE_AFTER

# Kubernetes' own tests of group snapshots write this field of the class also into its parameters. It has an
# effect only as a field, and only the sidecar uses it. So the key is ignored. Every other one is refused.
_FIELD_OF_GROUP_CLASSES = "deletionPolicy"

# The sidecars use the keys with this prefix themselves, and pass some of them on.
SIDECAR_PREFIX = "csi.storage.k8s.io/"

# With --extra-create-metadata the sidecars name the objects of Kubernetes that a call is for.
_METADATA = {
    "claim": ("pvc/namespace", "pvc/name"),
    "persistent_volume": ("pv/name",),
    "volume_snapshot": ("volumesnapshot/namespace", "volumesnapshot/name"),
    "group_snapshot": ("volumegroupsnapshot/namespace", "volumegroupsnapshot/name"),
}

# The same with their prefix, by the fields of the log.
_METADATA_KEYS = {field: tuple(f"{SIDECAR_PREFIX}{key}" for key in keys) for field, keys in _METADATA.items()}

_RETENTION_MINUTES = 31 * 24 * 60


class SizePolicy(enum.StrEnum):
    """What to do with a size that is not a multiple of the pool's granularity."""

    ROUND_UP = "roundUp"
    STRICT = "strict"


@dataclasses.dataclass(frozen=True, slots=True)
class Text:
    """Any text that is not empty."""

    def __call__(self, value: str) -> str:
        """The text. Raises ValueError: it is empty."""
        if not value.strip():
            raise ValueError("must not be empty")
        return value


@dataclasses.dataclass(frozen=True, slots=True)
class Flag:
    """True or false, in any case of letters."""

    def __call__(self, value: str) -> bool:
        """The flag. Raises ValueError: it is another word."""
        if value.lower() not in ("true", "false"):
            raise ValueError("must be true or false")
        return value.lower() == "true"


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """One of some words, in any case of letters."""

    options: tuple[str, ...]

    def __call__(self, value: str) -> str:
        """The option, as it is in ``options``. Raises ValueError: it is none."""
        for option in self.options:
            if option.lower() == value.lower():
                return option
        raise ValueError(f"must be one of {', '.join(self.options)}")


@dataclasses.dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from 0 to ``most``."""

    most: int

    def __call__(self, value: str) -> int:
        """The number. Raises ValueError: it is none, or too large."""
        number = units.whole_number(value, digits=9)
        if number is None or number > self.most:
            raise ValueError(f"must be a whole number from 0 to {self.most}")
        return number


@dataclasses.dataclass(frozen=True, slots=True)
class Limit:
    """A limit of quality of service. ``qos.RULES`` has the numbers that are possible for the key."""

    key: str

    def __call__(self, value: str) -> str:
        """The text. Raises InvalidArgument: the array does not accept the number."""
        qos.QosRequest.parse({self.key: value})
        return value


@dataclasses.dataclass(frozen=True, slots=True)
class Duration:
    """A duration such as 24h, 30m or 7d; 0 for none."""

    def __call__(self, value: str) -> int:
        """The seconds. Raises ValueError: it has another form."""
        return units.duration(value)


Reader = Text | Flag | Choice | Whole | Limit | Duration
"""What turns the text of a parameter into its value. Its fields say which values are possible."""


def _parameter(key: str, description: str, read: Reader, default: Any, *, travels: bool = False) -> Any:
    """A field for the parameter ``key``. ``read`` converts its text to a value, or raises ValueError."""
    metadata = {"key": key, "description": description, "read": read, "travels": travels}
    return dataclasses.field(default=default, metadata=metadata)


def _like(kind: type[Any], name: str) -> Any:
    """A field that is read and described as the field ``name`` of another class of parameters."""
    (found,) = (field for field in dataclasses.fields(kind) if field.name == name)
    return dataclasses.field(default=found.default, metadata=found.metadata)


@dataclasses.dataclass(frozen=True, slots=True)
class VolumeParameters:
    """The parameters of a StorageClass."""

    system: str | None = _parameter("systemID", "Id or name of the PowerFlex system", Text(), None)
    domain: str | None = _parameter("protectiondomain", "Name or id of the protection domain", Text(), None)
    pool: str | None = _parameter("storagepool", "Name or id of the storage pool", Text(), None)
    provisioning: Provisioning = _parameter(
        "provisioning",
        "How the volume takes space: thin, thick or compressed",
        Choice(tuple(Provisioning)),
        Provisioning.THIN,
    )
    size_policy: SizePolicy = _parameter(
        "sizePolicy",
        "What to do with a size that is not a multiple of the pool's granularity: roundUp or strict",
        Choice(tuple(SizePolicy)),
        SizePolicy.ROUND_UP,
    )
    allow_unpadded_pool: bool = _parameter(
        "allowUnpaddedPool", "Allow a pool whose new volumes may show data of deleted volumes", Flag(), False
    )
    max_tree_members: int = _parameter(
        "maxVtreeMembers",
        "Refuse copies of a volume whose tree has this many members; 0 for no limit but the array's",
        Whole(1023),
        0,
    )
    transport: str = _parameter(
        "transport",
        f"How nodes reach the volume: {' or '.join((AUTO, *TRANSPORTS))}. auto prefers the node's SDC where "
        "the array is connected to it, and uses NVMe/TCP otherwise",
        Choice((AUTO, *TRANSPORTS)),
        AUTO,
        travels=True,
    )
    iops: str | None = _parameter(
        qos.IOPS, "Maximum operations per second for each node; 0 for unlimited", Limit(qos.IOPS), None
    )
    bandwidth: str | None = _parameter(
        qos.BANDWIDTH,
        "Maximum KB per second for each node, a multiple of 1024; 0 for unlimited",
        Limit(qos.BANDWIDTH),
        None,
    )
    iops_per_gib: str | None = _parameter(
        qos.IOPS_PER_GIB,
        "As iopsLimit, but for each GiB of the volume",
        Limit(qos.IOPS_PER_GIB),
        None,
    )
    bandwidth_per_gib: str | None = _parameter(
        qos.BANDWIDTH_PER_GIB,
        "As bandwidthLimitInKbps, but for each GiB of the volume, and a multiple of 128",
        Limit(qos.BANDWIDTH_PER_GIB),
        None,
    )
    qos_on_nvme: str = _parameter(
        qos.ON_NVME,
        "What to do about limits on a node that uses NVMe/TCP, which the array cannot limit: refuse the "
        "volume there, or ignore the limits",
        Choice((qos.REFUSE, qos.IGNORE)),
        qos.REFUSE,
    )
    filesystem: str | None = _parameter(
        "fstype", "Filesystem of volumes whose claim names none", Text(), None, travels=True
    )
    mkfs_options: str | None = _parameter(
        "mkfsFormatOption", "Options for mkfs, separated by spaces", Text(), None, travels=True
    )

    delete_after: int | None = _parameter(
        DELETE_AFTER,
        "How long a deleted volume is kept in the trash of its system, such as 24h or 7d; 0 to remove it at "
        "once. It needs the key trash of the system in the systems file, whose keep is the default",
        Duration(),
        None,
        travels=True,
    )
    snapshot_policy: str | None = _parameter(
        SNAPSHOT_POLICY,
        "Name or id of the array's snapshot policy that takes snapshots of the volume; none for no policy",
        Text(),
        None,
        travels=True,
    )
    delete_policy_snapshots: bool = _parameter(
        DELETE_POLICY_SNAPSHOTS,
        "Delete the snapshots that a policy has taken of the volume together with it. Locked, secure and "
        "mapped ones, and those that Kubernetes has, stay. With false the volume is not deleted",
        Flag(),
        False,
        travels=True,
    )

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> VolumeParameters:
        """Read a StorageClass's parameters.

        Raises:
            InvalidArgument: an unknown key, with the closest known one, or a value that cannot be read.
        """
        return _parse(cls, parameters)

    @property
    def qos_request(self) -> qos.QosRequest:
        """The limits that the class asks for."""
        limits = (self.iops, self.bandwidth, self.iops_per_gib, self.bandwidth_per_gib)
        return _qos_request(limits, {qos.ON_NVME: self.qos_on_nvme})

    @property
    def policy(self) -> str | None:
        """The name or id of the snapshot policy that the volume is put into; None for no policy."""
        named = self.snapshot_policy
        return None if named is None or is_none(named) else named


@dataclasses.dataclass(frozen=True, slots=True)
class SnapshotParameters:
    """The parameters of a VolumeSnapshotClass or VolumeGroupSnapshotClass."""

    access: Access = _parameter(
        "snapshotAccessMode",
        "The maximum access that a mapping of the snapshot may have: ReadOnly or ReadWrite",
        Choice(tuple(Access)),
        Access.READ_ONLY,
    )
    retention_minutes: int = _parameter(
        "retentionMinutes",
        "Minutes for which the array refuses to remove the snapshot, for all users",
        Whole(_RETENTION_MINUTES),
        0,
    )

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> SnapshotParameters:
        """Read a snapshot class's parameters. Raises as ``VolumeParameters.parse``."""
        return _parse(cls, parameters)

    @classmethod
    def parse_group(cls, parameters: Mapping[str, str]) -> SnapshotParameters:
        """Read a group snapshot class's parameters. ``deletionPolicy`` is ignored. Raises as ``parse``."""
        return cls.parse({key: text for key, text in parameters.items() if key != _FIELD_OF_GROUP_CLASSES})


def requested_for(parameters: Mapping[str, str]) -> dict[str, str]:
    """The objects of Kubernetes that a call is for, as fields of the log: ``{"claim": "shop/data"}``.

    Empty where the sidecars do not name them (their option ``--extra-create-metadata``).
    """
    if not parameters:
        return {}
    named = {
        field: [parameters[key] for key in keys if key in parameters]
        for field, keys in _METADATA_KEYS.items()
    }
    return {field: "/".join(parts) for field, parts in named.items() if parts}


@dataclasses.dataclass(frozen=True, slots=True)
class MutableParameters:
    """The parameters of a VolumeAttributesClass. None: the class has no such key, so nothing changes."""

    domain: str | None = _parameter(
        "protectiondomain",
        "Name or id of the protection domain of that pool, if several have one of that name; by default that "
        "of the volume",
        Text(),
        None,
    )
    pool: str | None = _parameter(
        "storagepool", "Name or id of the storage pool that the volume is moved to", Text(), None
    )
    provisioning: Provisioning | None = _parameter(
        "provisioning",
        "How the volume takes space in that pool: thin, thick or compressed; by default as before",
        Choice(tuple(Provisioning)),
        None,
    )
    migrate_tree: bool = _parameter(
        "migrateTree",
        "Also move the volumes of other claims that are in the same volume tree, such as clones",
        Flag(),
        False,
    )
    iops: str | None = _like(VolumeParameters, "iops")
    bandwidth: str | None = _like(VolumeParameters, "bandwidth")
    iops_per_gib: str | None = _like(VolumeParameters, "iops_per_gib")
    bandwidth_per_gib: str | None = _like(VolumeParameters, "bandwidth_per_gib")
    snapshot_policy: str | None = _like(VolumeParameters, "snapshot_policy")

    @property
    def qos_request(self) -> qos.QosRequest:
        """The limits that the class asks for."""
        return _qos_request((self.iops, self.bandwidth, self.iops_per_gib, self.bandwidth_per_gib), {})

    @property
    def qos_only(self) -> bool:
        """Whether the class asks for no pool, provisioning or snapshot policy."""
        return self.pool is None and self.provisioning is None and self.snapshot_policy is None

    def over(self, parameters: VolumeParameters) -> VolumeParameters:
        """A StorageClass's parameters, with what this class says of pool and policy in place of theirs.

        The specification gives the mutable parameters precedence (CreateVolume).
        """
        if not (self.domain or self.pool or self.provisioning or self.snapshot_policy):
            return parameters
        return dataclasses.replace(
            parameters,
            domain=self.domain or parameters.domain,
            pool=self.pool or parameters.pool,
            provisioning=self.provisioning or parameters.provisioning,
            snapshot_policy=self.snapshot_policy or parameters.snapshot_policy,
        )


def parse_mutable(parameters: Mapping[str, str]) -> MutableParameters:
    """Read a VolumeAttributesClass's parameters.

    Raises:
        InvalidArgument: an unknown key, with the closest known one, a value that cannot be read or that the
            array refuses, or a protection domain without a pool.
    """
    parsed = _parse(MutableParameters, parameters)
    if parsed.domain is not None and parsed.pool is None:
        raise InvalidArgument(
            f"the mutable parameter protectiondomain={parsed.domain!r} needs storagepool, the pool in that "
            "domain; add it to the VolumeAttributesClass"
        )
    return parsed


def _qos_request(limits: Sequence[str | None], more: Mapping[str, str]) -> qos.QosRequest:
    """A request of limits, in the order of ``qos.KEYS``."""
    requested = {key: value for key, value in zip(qos.KEYS, limits, strict=True) if value is not None}
    return qos.QosRequest.parse({**requested, **more})


_P = TypeVar("_P", VolumeParameters, SnapshotParameters, MutableParameters)


@functools.cache
def travelling() -> tuple[dataclasses.Field[Any], ...]:
    """The fields of VolumeParameters that are written into the volume context."""
    return tuple(field for field in dataclasses.fields(VolumeParameters) if field.metadata["travels"])


def read(field: dataclasses.Field[Any], text: str) -> Any:
    """The value of a field, read from ``text``.

    Raises:
        InvalidArgument: it cannot be read.
    """
    try:
        return field.metadata["read"](text)
    except ValueError as error:
        raise InvalidArgument(f"parameter {field.metadata['key']}={text!r}: {error}") from error


# The fields of each class of parameters, by key.
_FIELDS: Mapping[type[Any], Mapping[str, dataclasses.Field[Any]]] = {
    kind: {field.metadata["key"]: field for field in dataclasses.fields(kind)}
    for kind in (VolumeParameters, SnapshotParameters, MutableParameters)
}


def _parse(kind: type[_P], parameters: Mapping[str, str]) -> _P:
    fields = _FIELDS[kind]
    values: dict[str, Any] = {}
    for key, value in parameters.items():
        if key.startswith(SIDECAR_PREFIX):
            continue
        if key not in fields:
            raise _unknown(kind, key, did_you_mean(key, fields))
        values[fields[key].name] = read(fields[key], value)
    return kind(**values)


def _unknown(kind: type[object], key: str, hint: str) -> InvalidArgument:
    if kind is MutableParameters:
        return InvalidArgument(f"unknown mutable parameter {key!r}; {hint}")
    return InvalidArgument(f"unknown parameter {key!r}; {hint}")
