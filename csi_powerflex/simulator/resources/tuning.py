"""Settings that clients change and read back, and that have no other effect here.

An action is declared by its parameters. A setting is kept with its object and shown in a field of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from csi_powerflex.simulator.api_error import malformed, missing_one_of, missing_parameters
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.resources.resource_type import Action, View

Read = Callable[[Body, str], object]


def flag(body: Body, name: str) -> object:
    """A boolean; None when it is missing."""
    return body.flag(name)


def one_of(*words: str) -> Read:
    """One of ``words``; None when it is missing."""
    return lambda body, name: body.choice(name, words)


def number(low: int, high: int | None = None) -> Read:
    """A whole number from ``low`` to ``high``; None when it is missing."""

    def read(body: Body, name: str) -> object:
        value = body.number(name)
        if value is not None and (value < low or (high is not None and value > high)):
            limit = f"from {low} to {high}" if high is not None else f"of at least {low}"
            raise malformed(f"{name} ({value}) must be a number {limit}")
        return value

    return read


@dataclass(frozen=True, slots=True)
class Setting:
    """A parameter of an action, and the field of the object that shows it.

    With ``attribute`` the value is an attribute of the stored object, which has an effect.
    """

    parameter: str
    shown: str
    read: Read
    attribute: str = ""


def setter(*settings: Setting) -> Action[Any]:
    """An action that sets what the body has: its only parameter, or at least one of several."""

    def run(array: Array, item: Any, body: Body) -> View:
        values = {setting: setting.read(body, setting.parameter) for setting in settings}
        given = {setting: value for setting, value in values.items() if value is not None}
        names = [setting.parameter for setting in settings]
        if not given:
            raise missing_one_of(*names) if len(names) > 1 else missing_parameters(*names)
        keep(array, item, {setting.shown: value for setting, value in given.items() if not setting.attribute})
        attributes = {setting.attribute: value for setting, value in given.items() if setting.attribute}
        array.change(item, **attributes)
        return {}

    return Action(run)


def switch(attribute: str = "", **shown: object) -> Action[Any]:
    """An action without parameters that always sets the same values."""

    def run(array: Array, item: Any, _: Body) -> View:
        if attribute:
            array.change(item, **{attribute: next(iter(shown.values()))})
        else:
            keep(array, item, shown)
        return {}

    return Action(run)


def nothing() -> Action[Any]:
    """An action that has no effect here."""
    return Action(lambda _array, _item, _body: {})


def keep(array: Array, item: Any, values: View) -> None:
    """Keep values for the fields of an object."""
    array.change(item, settings={**item.settings, **values})


MEDIA = ("HDD", "SSD", "Transitional")
PROFILES = ("Compact", "HighPerformance")
ACCELERATIONS = ("None", "Read", "Write", "ReadAndWrite")
_POLICIES = ("unlimited", "limitNumOfConcurrentIos", "favorAppIos", "dynamicBwThrottling")


def _priority(prefix: str) -> Action[Any]:
    """The priority of a kind of background I/O. Its fields begin with ``prefix``."""
    return setter(
        Setting("policy", f"{prefix}Policy", one_of(*_POLICIES)),
        Setting("numOfConcurrentIosPerDevice", f"{prefix}NumOfConcurrentIosPerDevice", number(1, 20)),
        Setting("bwLimitPerDeviceInKbps", f"{prefix}BwLimitPerDeviceInKbps", number(0)),
        Setting("appIopsPerDeviceThreshold", f"{prefix}AppIopsPerDeviceThreshold", number(0)),
        Setting("appBwPerDeviceThresholdInKbps", f"{prefix}AppBwPerDeviceThresholdInKbps", number(0)),
        Setting("quietPeriodInMsec", f"{prefix}QuietPeriodInMsec", number(0)),
    )


_CHECKSUM = (
    Setting("validateOnRead", "persistentChecksumValidateOnRead", flag),
    Setting("builderLimitInKb", "persistentChecksumBuilderLimitKb", number(1)),
)


def _enable_checksum(array: Array, item: Any, body: Body) -> View:
    given = {setting.shown: setting.read(body, setting.parameter) for setting in _CHECKSUM}
    values = {name: value for name, value in given.items() if value is not None}
    keep(array, item, {"persistentChecksumEnabled": True, **values})
    return {}


POOL_ACTIONS: dict[str, Action[Any]] = {
    "setCapacityAlertThresholds": setter(
        Setting("capacityAlertHighThresholdPercent", "capacityAlertHighThreshold", number(1, 100)),
        Setting("capacityAlertCriticalThresholdPercent", "capacityAlertCriticalThreshold", number(1, 100)),
    ),
    "setSparePercentage": setter(
        Setting("sparePercentage", "sparePercentage", number(0, 90), attribute="spare_percent")
    ),
    "setRebuildEnabled": setter(Setting("rebuildEnabled", "rebuildEnabled", flag)),
    "setRebalanceEnabled": setter(Setting("rebalanceEnabled", "rebalanceEnabled", flag)),
    "enableFragmentation": switch(fragmentationEnabled=True),
    "disableFragmentation": switch(fragmentationEnabled=False),
    "setReplicationJournalCapacity": setter(
        Setting("replicationJournalCapacityMaxRatio", "replicationCapacityMaxRatio", number(0, 100))
    ),
    "setUseRmcache": setter(Setting("useRmcache", "useRmcache", flag, attribute="use_rmcache")),
    "enableRfcache": switch("use_rfcache", useRfcache=True),
    "disableRfcache": switch("use_rfcache", useRfcache=False),
    "setRmcacheWriteHandlingMode": setter(
        Setting("rmcacheWriteHandlingMode", "rmcacheWriteHandlingMode", one_of("Cached", "Passthrough"))
    ),
    "setRebuildRebalanceParallelism": setter(
        Setting("limit", "numOfParallelRebuildRebalanceJobsPerDevice", number(1, 10))
    ),
    "setRebuildIoPriorityPolicy": _priority("rebuildIoPriority"),
    "setRebalanceIoPriorityPolicy": _priority("rebalanceIoPriority"),
    "setVTreeMigrationIoPriorityPolicy": _priority("vtreeMigrationIoPriority"),
    "setProtectedMaintenanceModeIoPriorityPolicy": _priority("protectedMaintenanceModeIoPriority"),
    "setMediaType": setter(Setting("mediaType", "mediaType", one_of(*MEDIA), attribute="media")),
    "setChecksumEnabled": setter(Setting("checksumEnabled", "checksumEnabled", flag)),
    "setExternalAccelerationType": setter(
        Setting("externalAccelerationType", "externalAccelerationType", one_of(*ACCELERATIONS))
    ),
    "enablePersistentChecksum": Action(_enable_checksum),
    "disablePersistentChecksum": switch(persistentChecksumEnabled=False),
    "modifyPersistentChecksum": setter(*_CHECKSUM),
    "enableBackgroundDeviceScanner": setter(
        Setting("mode", "backgroundScannerMode", one_of("DeviceOnly", "DataComparison")),
        Setting("bandwidthLimitPerDeviceInKbps", "backgroundScannerBWLimitKBps", number(10)),
    ),
    "disableBackgroundDeviceScanner": switch(backgroundScannerMode="Disabled"),
    "setOverProvisioningFactor": setter(
        Setting("overProvisioningFactor", "overProvisioningFactor", number(0))
    ),
}
"""The settings of storage pools."""


def _throttling(kind: str) -> tuple[str, str]:
    return f"{kind}NetworkThrottlingInKbps", f"{kind}NetworkThrottlingEnabled"


_NETWORK_LIMITS = {
    "rebuildLimitInKbps": _throttling("rebuild"),
    "rebalanceLimitInKbps": _throttling("rebalance"),
    "vtreeMigrationLimitInKbps": _throttling("vtreeMigration"),
    "overallLimitInKbps": _throttling("overallIo"),
    "protectedMaintenanceModeLimitInKbps": _throttling("protectedMaintenanceMode"),
}


def _set_network_limits(array: Array, item: Any, body: Body) -> View:
    """Set the limits that the body has. 0 is no limit."""
    values: View = {}
    for parameter, (limit, enabled) in _NETWORK_LIMITS.items():
        value = number(0)(body, parameter)
        if value is not None:
            values |= {limit: value or None, enabled: bool(value)}
    if not values:
        raise missing_one_of(*_NETWORK_LIMITS)
    keep(array, item, values)
    return {}


_IO_LIMITS = (
    "overallConcurrentIoLimit", "bandwidthLimitOverallIos", "bandwidthLimitBgDevScanner",
    "bandwidthLimitSinglyImpactedRebuild", "bandwidthLimitDoublyImpactedRebuild",
    "bandwidthLimitRebalance", "bandwidthLimitOther", "bandwidthLimitNodeNetwork",
)  # fmt: skip

DOMAIN_ACTIONS: dict[str, Action[Any]] = {
    "setSdsNetworkLimits": Action(_set_network_limits),
    "enableSdsRfcache": switch(rfcacheEnabled=True),
    "disableSdsRfcache": switch(rfcacheEnabled=False),
    "setRfcacheParameters": setter(
        Setting("pageSizeKb", "rfcachePageSizeKb", number(4, 64)),
        Setting("maxIOSizeKb", "rfcacheMaxIoSizeKb", number(16, 128)),
        Setting(
            "rfcacheOperationMode",
            "rfcacheOpertionalMode",
            one_of("None", "Read", "Write", "ReadAndWrite", "WriteMiss"),
        ),
    ),
    "enableFglMetadataCache": switch(fglMetadataCacheEnabled=True),
    "disableFglMetadataCache": switch(fglMetadataCacheEnabled=False),
    "setDefaultFglMetadataCacheSize": setter(
        Setting("cacheSizeInMB", "fglDefaultMetadataCacheSize", number(0))
    ),
    "setRebuildEnabled": setter(Setting("rebuildEnabled", "rebuildEnabled", flag)),
    "setRebalanceEnabled": setter(Setting("rebalanceEnabled", "rebalanceEnabled", flag)),
    "setSecondaryIoPolicy": setter(
        Setting("policy", "policy", one_of("unlimited", "favorApplication")),
        *(Setting(name, name, number(0)) for name in _IO_LIMITS),
    ),
}
"""The settings of protection domains."""

SDS_ACTIONS: dict[str, Action[Any]] = {
    "setSdsPort": setter(Setting("sdsPort", "port", number(1, 65535))),
    "setSdsRmcacheEnabled": setter(Setting("rmcacheEnabled", "rmcacheEnabled", flag)),
    "setDrlMode": setter(Setting("drlMode", "drlMode", one_of("Volatile", "NonVolatile"))),
    "setSdsPerformanceParameters": setter(Setting("perfProfile", "perfProfile", one_of(*PROFILES))),
    "enableRfcache": switch(rfcacheEnabled=True),
    "disableRfcache": switch(rfcacheEnabled=False),
}
"""The settings of SDSs."""

DEVICE_ACTIONS: dict[str, Action[Any]] = {
    "setMediaType": setter(Setting("mediaType", "mediaType", one_of(*MEDIA))),
    "setExternalAccelerationType": setter(
        Setting("externalAccelerationType", "externalAccelerationType", one_of(*ACCELERATIONS))
    ),
    "setDeviceLedOn": switch(ledSetting="On"),
    "setDeviceLedOff": switch(ledSetting="Off"),
    "updateDeviceOriginalPathname": nothing(),
    "clearDeviceError": nothing(),
    "activateDevice": nothing(),
}
"""The settings of devices."""
