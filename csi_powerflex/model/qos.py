"""Quality of service: the limits that a class requests, and the limits of a mapping that follow from them.

PowerFlex limits mappings, not volumes (protocol notes, 2.6). IOPS are 0 for unlimited, or more than 10.
Bandwidth is 0 for unlimited, or a multiple of 1024 KB/s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from csi_powerflex import units
from csi_powerflex.errors import InvalidArgument
from csi_powerflex.model.access import Limits

MIN_IOPS = 11
BANDWIDTH_STEP = 1024
_BANDWIDTH_PER_GIB_STEP = 128

IOPS, BANDWIDTH = "iopsLimit", "bandwidthLimitInKbps"
IOPS_PER_GIB, BANDWIDTH_PER_GIB = "iopsPerGiB", "bandwidthPerGiBInKbps"


@dataclass(frozen=True, slots=True)
class Rule:
    """The numbers that are possible for a key: 0, and multiples of ``step`` that are at least ``least``."""

    least: int = 1
    step: int = 1


RULES = {
    IOPS: Rule(least=MIN_IOPS),
    BANDWIDTH: Rule(step=BANDWIDTH_STEP),
    IOPS_PER_GIB: Rule(),
    BANDWIDTH_PER_GIB: Rule(step=_BANDWIDTH_PER_GIB_STEP),
}
KEYS = tuple(RULES)
"""The keys of limits. They are mutable."""

ON_NVME = "qosOnNvme"
"""The key that says what to do about limits on a node that the array cannot limit."""
REFUSE, IGNORE = "refuse", "ignore"
"""Its values: publish no volume with limits there, or publish it without limits."""


@dataclass(frozen=True, slots=True)
class QosRequest:
    """The limits that a class requests. None: the class has no such key. 0: it requests no limit.

    Attributes:
        ignored_on_nvme: whether a node that the array cannot limit may have the volume without limits.
    """

    iops: int | None = None
    bandwidth_kbps: int | None = None
    iops_per_gib: int | None = None
    bandwidth_kbps_per_gib: int | None = None
    ignored_on_nvme: bool = False

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        """Read the keys of limits and ``ON_NVME``. Other keys are ignored.

        Raises:
            InvalidArgument: the array does not accept a value.
        """
        iops, bandwidth, iops_per_gib, per_gib = (
            _number(parameters, key, rule) for key, rule in RULES.items()
        )
        ignored = _is_ignored(parameters.get(ON_NVME, REFUSE))
        return cls(iops, bandwidth, iops_per_gib, per_gib, ignored)

    def to_parameters(self) -> dict[str, str]:
        """The keys and values that ``parse`` reads."""
        values = (self.iops, self.bandwidth_kbps, self.iops_per_gib, self.bandwidth_kbps_per_gib)
        limits = {key: str(value) for key, value in zip(KEYS, values, strict=True) if value is not None}
        return limits | ({ON_NVME: IGNORE} if self.ignored_on_nvme else {})

    def merged_with(self, other: QosRequest) -> QosRequest:
        """This request, with the limits that ``other`` has in place of its own."""
        if not other:
            return self
        return QosRequest.parse(self.to_parameters() | other.to_parameters())

    def limits_for(self, size: int) -> Limits:
        """The limits for a volume of ``size`` bytes: the smaller of the fixed and the per-GiB one."""
        gibibytes = -(-size // units.GIB)
        iops = _smaller(self.iops, self.iops_per_gib, gibibytes)
        bandwidth = _smaller(self.bandwidth_kbps, self.bandwidth_kbps_per_gib, gibibytes)
        return Limits(
            iops=max(iops, MIN_IOPS) if iops else 0,
            bandwidth_kbps=units.round_up(bandwidth, BANDWIDTH_STEP),
        )

    @property
    def depends_on_size(self) -> bool:
        """Whether the limits depend on the size of the volume."""
        return bool(self.iops_per_gib or self.bandwidth_kbps_per_gib)

    def __bool__(self) -> bool:
        return self != NOTHING_REQUESTED


def _is_ignored(text: str) -> bool:
    if text.lower() not in (REFUSE, IGNORE):
        raise InvalidArgument(f"{ON_NVME}={text!r}: must be one of {REFUSE}, {IGNORE}")
    return text.lower() == IGNORE


NOTHING_REQUESTED = QosRequest()
"""The request of a class without limits."""


def _smaller(fixed: int | None, per_gib: int | None, gibibytes: int) -> int:
    """The smaller limit, if there are two; 0 if there is none."""
    limiting = [limit for limit in (fixed or 0, (per_gib or 0) * gibibytes) if limit]
    return min(limiting, default=0)


def _number(parameters: Mapping[str, str], key: str, rule: Rule) -> int | None:
    text = parameters.get(key)
    if text is None:
        return None
    number = units.whole_number(text, digits=18)
    if number is None:
        raise InvalidArgument(f"{key}={text!r}: must be a whole number, 0 for unlimited")
    if number and number < rule.least:
        raise InvalidArgument(f"{key}={number}: the array accepts 0 (unlimited) or at least {rule.least}")
    if number % rule.step:
        below = number // rule.step * rule.step
        raise InvalidArgument(
            f"{key}={number}: must be a multiple of {rule.step}; the nearest are {below} and "
            f"{units.round_up(number, rule.step)}"
        )
    return number
