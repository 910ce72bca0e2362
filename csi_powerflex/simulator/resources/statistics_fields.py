"""The names of statistics, by resource type. They are spelled, and misspelled, as on the wire.

The sources are the published API descriptions, and the requests of public clients and monitoring.
"""

from __future__ import annotations

from collections.abc import Iterable

from csi_powerflex.simulator.names import words

_AGGREGATE_COUNTERS = words("""
    bckRebuildReadBwc bckRebuildWriteBwc enterProtectedMaintenanceModeReadBwc
    enterProtectedMaintenanceModeWriteBwc exitProtectedMaintenanceModeReadBwc
    exitProtectedMaintenanceModeWriteBwc fwdRebuildReadBwc fwdRebuildWriteBwc journalerReadBwc
    journalerReadLatency journalerWriteBwc journalerWriteLatency normRebuildReadBwc normRebuildWriteBwc
    primaryReadBwc primaryReadFromDevBwc primaryReadFromRmcacheBwc primaryWriteBwc rcgLocalReadBwc
    rcgLocalWriteBwc rcgRemotelWriteBwc rcgRemoteReadBwc rebalanceReadBwc rebalanceWriteBwc
    rplApplyLatency rplLocalApplyBwc rplLocalUserBwc rplReceiveBwc rplReceiveLatency rplRemoteApplyBwc
    rplRemoteUserBwc rplTransmitBwc rplTransmitLatency secondaryReadBwc secondaryReadFromDevBwc
    secondaryReadFromRmcacheBwc secondaryWriteBwc targetOtherLatency targetReadLatency
    targetWriteLatency totalReadBwc totalWriteBwc userDataReadBwc userDataSdcReadLatency
    userDataSdcTrimLatency userDataSdcWriteLatency userDataTrimBwc userDataWriteBwc volMigrationReadBwc
    volMigrationWriteBwc
""")
"""Counters of bandwidth and latency of the system, domains, pools, fault sets, SDSs and devices."""

_AGGREGATE_NUMBERS = words("""
    activeBckRebuildCapacityInKb activeEnterProtectedMaintenanceModeCapacityInKb
    activeExitProtectedMaintenanceModeCapacityInKb activeFwdRebuildCapacityInKb activeMovingCapacityInKb
    activeMovingInBckRebuildJobs activeMovingInEnterProtectedMaintenanceModeJobs
    activeMovingInExitProtectedMaintenanceModeJobs activeMovingInFwdRebuildJobs
    activeMovingInNormRebuildJobs activeMovingInRebalanceJobs activeMovingOutBckRebuildJobs
    activeMovingOutEnterProtectedMaintenanceModeJobs activeMovingOutExitProtectedMaintenanceModeJobs
    activeMovingOutFwdRebuildJobs activeMovingOutNormRebuildJobs activeMovingRebalanceJobs
    activeNormRebuildCapacityInKb activeRebalanceCapacityInKb actualNetCapacityInUseInKb
    atRestCapacityInKb BackgroundScanCompareCount backgroundScanCompareErrorCount
    backgroundScanFixedCompareErrorCount backgroundScanFixedReadErrorCount BackgroundScannedInMB
    backgroundScanReadErrorCount bckRebuildCapacityInKb capacityAvailableForVolumeAllocationInKb
    capacityInUseInKb capacityInUseNoOverheadInKb capacityLimitInKb changelogDestageCompletionPercent
    checksumCalculationCompletionPercent checksumCapacityInKb checksumMigrationCompletionPercent
    compressedDataCompressionRatio compressionRatio currentChecksumMigrationSizeInKB
    currentChecksumProtectedCombsNum currentFglMigrationSizeInKb currentTickerValue
    degradedFailedCapacityInKb degradedFailedVacInKb degradedHealthyCapacityInKb degradedHealthyVacInKb
    enterProtectedMaintenanceModeCapacityInKb exitProtectedMaintenanceModeCapacityInKb
    exposedCapacityInKb failedCapacityInKb failedVacInKb fglCompressedDataSizeInKb
    fglMetadataCacheHitrate fglMigrationCompletionPercent fglSparesInKb fglUncompressedDataSizeInKb
    fglUserDataCapacityInKb fixedReadErrorCount fwdRebuildCapacityInKb inaccessibleCapacityInKb
    initialCopyProgress inMaintenanceCapacityInKb inMaintenanceVacInKb inUseVacInKb logWrittenBlocksInKb
    maxCapacityInKb maxUserDataCapacityInKb metadataOverheadInKb mgUserDdataCcapacityInKb
    movingCapacityInKb netCapacityInUseInKb netCapacityInUseNoOverheadInKb netFglCompressedDataSizeInKb
    netFglSparesInKb netFglUncompressedDataSizeInKb netFglUserDataCapacityInKb
    netMaxUserDataCapacityInKb netMetadataOverheadInKb netMgUserDataCapacityInKb
    netProvisionedAddressesInKb netSnapshotCapacityInKb netThickUserDataCapacityInKb
    netThinUserDataCapacityInKb netTrimmedUserDataCapacityInKb netUnusedCapacityInKb
    netUserDataCapacityInKb netUserDataCapacityNoTrimInKb normRebuildCapacityInKb
    numChangelogRecordsLeftToDestage numOfAccelerationPools numOfDeviceAtFaultRebuilds numOfDevices
    numOfFaultSets numOfFixableFaults numOfIncomingVtreeMigrations numOfMappedToAllVolumes
    numOfMarkedVolumesForReplication numOfMigratingVolumes numOfMigratingVtrees numOfOutgoingMigrations
    numOfReplicationJournalVolumes numOfRplCgs numOfRplPairs numOfScsiInitiators numOfSdr numOfSds
    numOfSnapshots numOfStoragePools numOfThickBaseVolumes numOfThinBaseVolumes numOfUnmappedVolumes
    numOfVolumes numOfVolumesInDeletion numOfVtreeMigrationsInPd numOfVtrees numRpoViolatingRplCgsDest
    numRpoViolatingRplCgsSrc overallUsageRatio pendingBckRebuildCapacityInKb
    pendingEnterProtectedMaintenanceModeCapacityInKb pendingExitProtectedMaintenanceModeCapacityInKb
    pendingFwdRebuildCapacityInKb pendingMovingCapacityInKb pendingMovingInBckRebuildJobs
    pendingMovingInEnterProtectedMaintenanceModeJobs pendingMovingInExitProtectedMaintenanceModeJobs
    pendingMovingInFwdRebuildJobs pendingMovingInNormRebuildJobs pendingMovingInRebalanceJobs
    pendingMovingOutBckRebuildJobs pendingMovingOutEnterProtectedMaintenanceModeJobs
    pendingMovingOutExitProtectedMaintenanceModeJobs pendingMovingOutFwdRebuildJobs
    pendingMovingOutNormrebuildJobs pendingMovingRebalanceJobs pendingNormRebuildCapacityInKb
    pendingRebalanceCapacityInKb persistentChecksumBuilderProgress persistentChecksumCapacityInKb
    primaryVacInKb protectedCapacityInKb protectedMaintenanceModePerReceiveJobNetThrottlingInKbps
    protectedMaintenanceModeWaitSendQLength protectedVacInKb provisionedAddressesInKb
    rebalanceCapacityInKb rebalancePerReceiveJobNetThrottlingInKbps rebalanceWaitSendQLength
    rebuildPerReceiveJobNetThrottlingInKbps rebuildWaitSendQLength rfacheReadHit rfacheWriteHit
    rfcacheAvgReadTime rfcacheAvgWriteTime rfcacheFdAvgReadTime rfcacheFdAvgWriteTime
    rfcacheFdCacheOverloaded rfcacheFdInlightReads rfcacheFdInlightWrites rfcacheFdIoErrors
    rfcacheFdMonitorErrorStuckIo rfcacheFdReadsReceived rfcacheFdReadTimeGreater1Min
    rfcacheFdReadTimeGreater1Sec rfcacheFdReadTimeGreater500Millis rfcacheFdReadTimeGreater5Sec
    rfcacheFdWritesReceived rfcacheFdWriteTimeGreater1Min rfcacheFdWriteTimeGreater1Sec
    rfcacheFdWriteTimeGreater500Millis rfcacheFdWriteTimeGreater5Sec rfcacheIoErrors
    rfcacheIosOutstanding rfcacheIosSkipped rfcachePooIosOutstanding rfcachePoolCachePages
    rfcachePoolEvictions rfcachePoolInLowMemoryCondition rfcachePoolIoTimeGreater1Min
    rfcachePoolLockTimeGreater1Sec rfcachePoolLowResourcesInitiatedPassthroughMode
    rfcachePoolNumCacheDevs rfcachePoolNumSrcDevs rfcachePoolPagesInuse rfcachePoolReadHit
    rfcachePoolReadMiss rfcachePoolReadPendingG10Millis rfcachePoolReadPendingG1Millis
    rfcachePoolReadPendingG1Sec rfcachePoolReadPendingG500Micro rfcachePoolReadsPending rfcachePoolSize
    rfcachePoolSourceIdMismatch rfcachePoolSuspendedIos rfcachePoolSuspendedPequestsRedundantSearchs
    rfcachePoolWriteHit rfcachePoolWriteMiss rfcachePoolWritePending rfcachePoolWritePendingG10Millis
    rfcachePoolWritePendingG1Millis rfcachePoolWritePendingG1Sec rfcachePoolWritePendingG500Micro
    rfcacheReadMiss rfcacheReadsFromCache rfcacheReadsPending rfcacheReadsReceived rfcacheReadsSkipped
    rfcacheReadsSkippedAlignedSizeTooLarge rfcacheReadsSkippedHeavyLoad rfcacheReadsSkippedInternalError
    rfcacheReadsSkippedLockIos rfcacheReadsSkippedLowResources rfcacheReadsSkippedMaxIoSize
    rfcacheReadsSkippedStuckIo rfcacheSkippedUnlinedWrite rfcacheSourceDeviceReads
    rfcacheSourceDeviceWrites rfcacheWriteMiss rfcacheWritePending rfcacheWritesReceived
    rfcacheWritesSkippedCacheMiss rfcacheWritesSkippedHeavyLoad rfcacheWritesSkippedInternalError
    rfcacheWritesSkippedLowResources rfcacheWritesSkippedMaxIoSize rfcacheWritesSkippedStuckIo
    rmcache128kbEntryCount rmcache16kbEntryCount rmcache32kbEntryCount rmcache4kbEntryCount
    rmcache64kbEntryCount rmcache8kbEntryCount rmcacheBigBlockEvictionCount
    rmcacheBigBlockEvictionSizeCountInKb rmcacheCurrNumOf128kbEntries rmcacheCurrNumOf16kbEntries
    rmcacheCurrNumOf32kbEntries rmcacheCurrNumOf4kbEntries rmcacheCurrNumOf64kbEntries
    rmcacheCurrNumOf8kbEntries rmcacheEntryEvictionCount rmcacheEntryEvictionSizeCountInKb
    rmcacheNoEvictionCount rmcacheSizeInKb rmcacheSizeInUseInKb rmcacheSkipCountCacheAllBusy
    rmcacheSkipCountLargeIo rmcacheSkipCountUnaligned4kbIo rmPendingAllocatedInKb rmPendingThickInKb
    rplCgRpoCompliance rplJournalCapAllowed rplTotalJournalCap rplUsedJournalCap
    rplUsedJournalCapacityDst secondaryVacInKb semiProtectedCapacityInKb semiProtectedVacInKb
    snapCapacityInUseInKb snapCapacityInUseOccupiedInKb snapshotCapacityInKb spareCapacityInKb
    tempCapacityInKb tempCapacityVacInKb thickCapacityInUseInKb thinAndSnapshotRatio
    thinCapacityAllocatedInKb thinCapacityAllocatedInKm thinCapacityInUseInKb thinUserDataCapacityInKb
    totalChangelogRecordsToDestage totalChecksumMigrationSizeInKB totalChecksumProtectedCombsNum
    totalFglMigrationSizeInKb totalMetaDataFullness trimmedUserDataCapacityInKb
    unreachableUnusedCapacityInKb unusedCapacityInKb userDataCapacityInKb userDataCapacityNoTrimInKb
    volumeAddressSpaceInKb volumeAllocationLimitInKb vtreeAddresSpaceInKb
    vtreeMigrationPerReceiveJobNetThrottlingInKbps vtreeMigrationWaitSendQLength
""")
"""Numbers of the same types: capacities, rebuilds, caches, errors and counts."""

_AGGREGATE_TEXTS = {
    "aggregateCompressionLevel": "Uncompressed",
    "replicationJournalCapacityLevel": "Normal",
    "rplCapacityAlertLevel": "Normal",
}
"""Words of the same types."""

_SYSTEM_NUMBERS = words("""
    numCmatrixPolicyChanges numDevErrors numOfLibsdc numOfPeerMdm numOfProtectionDomains
    numOfRfcacheDevices numOfSdc numOfSnapPolicies numOfVtreeMigrationsInSystem
    numOscillationCountersPassedThreshold numSdrSdcDisconnections numSdsReconnections
    numSdsSdrDisconnections numSmartAttributesPassedThreshold numSnapshotsTaken
    numVolumeMigrationsPerformed rplMdmSdrSessionCapacityHighWatermarkMb
    rplMdmSdrSessionCapacityLowWatermarkMb rplProtectedCapacityDest rplProtectedCapacitySrc
""")

_DEVICE_NUMBERS = words("""
    avgReadLatencyInMicrosec avgReadSizeInBytes avgWriteLatencyInMicrosec avgWriteSizeInBytes
""")

_USER_COUNTERS = words("""
    userDataReadBwc userDataWriteBwc userDataTrimBwc userDataSdcReadLatency userDataSdcWriteLatency
    userDataSdcTrimLatency
""")
"""Counters of bandwidth and latency of volumes and SDCs."""

_GROUP_COUNTERS = words("""
    rcgLocalReadBwc rcgLocalWriteBwc rcgRemoteReadBwc rcgRemoteWriteBwc rplApplyLatency rplLocalApplyBwc
    rplLocalUserBwc rplReceiveBwc rplReceiveLatency rplRemoteApplyBwc rplRemoteUserBwc rplTransmitBwc
    rplTransmitLatency
""")
"""Counters of replication consistency groups."""

_GROUP_NUMBERS = words("""
    freezeTransmit initialCopyApply initialCopyNumPairs initialCopyProgress initialCopyTransmit
    isInSlimMode lagAppliedInMillis lagAppliedSkew lagPersistentInMillis lagPersistentSkew
    lagReceivedInMillis lagReceivedSkew lastAppliedBarrierId lastCompletedPeriodicBarrier
    lastCradBarrierId lastCsadBarrierId lastRadBarrierId lastSadBarrierId nextPlannedCycle
    notReadyForApply notReadyForTransmit numOfRplPairs readyForApply readyForTransmit rplCgRpoCompliance
    rplSasBarriersBacklogSize rplUsedJournalCapacityDst
""")

_VTREE_NUMBERS = words("""
    actualNetCapacityInUseInKb baseNetCapacityInUseInKb netCapacityInUseInKb snapNetCapacityInUseInKb
    trimmedCapacityInKb netProvisionedAddressesInKb provisionedAddressesInKb vtreeAddresSpaceInKb
    volumeAddressSpaceInKb numOfVolumes vtreeMigrationProgress vtreeDeletionProgress
    volumesTotalDeletionProgress compressionRatio compressedDataCompressionRatio netFglSparesInKb
    netUserDataCapacityInKb netUserDataCapacityNoTrimInKb netSnapshotCapacityInKb
    netTrimmedUserDataCapacityInKb netUnusedCapacityInKb netMgUserDataCapacityInKb
    netMaxUserDataCapacityInKb
""")


def _names(
    *,
    counters: Iterable[str] = (),
    numbers: Iterable[str] = (),
    lists: str = "",
    others: dict[str, object] | None = None,
) -> dict[str, object]:
    counter = {"totalWeightInKb": 0, "numOccured": 0, "numSeconds": 0}
    return {
        **dict.fromkeys(counters, counter),
        **dict.fromkeys(numbers, 0),
        **{name: [] for name in words(lists)},
        **(others or {}),
    }


def _aggregate(lists: str = "", numbers: Iterable[str] = ()) -> dict[str, object]:
    return _names(
        counters=_AGGREGATE_COUNTERS,
        numbers=(*_AGGREGATE_NUMBERS, *numbers),
        lists=lists,
        others=_AGGREGATE_TEXTS,
    )


UNMEASURED: dict[str, dict[str, object]] = {
    "System": _aggregate(
        "protectionDomainIds sdcIds spSdsIds snapPolicyIds peerMdmIds libsdcIds sdrIds rplTopPerformingRcgs",
        _SYSTEM_NUMBERS,
    ),
    "ProtectionDomain": _aggregate(
        "storagePoolIds sdsIds faultSetIds accelerationPoolIds sdrIds rplCgIds",
        ("numOfVtreeMigrationsInPd", "numRpoViolatingRplCgsSrc", "rplUsedJournalCapacityDst"),
    ),
    "StoragePool": _aggregate("volumeIds vtreeIds deviceIds spSdsIds migratingVolumeIds migratingVtreeIds"),
    "FaultSet": _aggregate("sdsIds"),
    "Sds": _aggregate("deviceIds"),
    "AccelerationPool": _aggregate("accelerationDeviceIds deviceIds"),
    "Device": _aggregate(numbers=_DEVICE_NUMBERS),
    "Volume": _names(
        counters=_USER_COUNTERS,
        numbers=(
            "numOfChildVolumes", "numOfDescendantVolumes", "numOfMappedSdcs", "rplTotalJournalCap",
            "rplUsedJournalCap",
        ),
        lists="childVolumeIds descendantVolumeIds mappedSdcIds registrationKeys",
        others={
            "initiatorSdcId": None,
            "registrationKey": None,
            "reservationType": "NotReserved",
            "replicationState": "UnmarkedForReplication",
            "replicationJournalVolume": False,
        },
    ),
    "VTree": _names(
        counters=("currentMigrationReadBwc", "currentMigrationWriteBwc"),
        numbers=_VTREE_NUMBERS,
        lists="volumeIds volumesInDeletion",
        others={"replicationState": "UnmarkedForReplication", "replicationJournalVolume": False},
    ),
    "Sdc": _names(counters=_USER_COUNTERS, numbers=("numOfMappedVolumes",), lists="volumeIds"),
    "Sdt": {},
    "SnapshotPolicy": _names(
        numbers=("numOfSrcVols", "numOfAutoSnapshots", "numOfExpiredButLockedSnapshots"),
        lists="srcVolIds autoSnapshotVolIds expiredButLockedSnapshotsIds",
    ),
    "ReplicationConsistencyGroup": _names(
        counters=_GROUP_COUNTERS, numbers=_GROUP_NUMBERS, lists="rplPairIds"
    ),
    "ReplicationPair": _names(numbers=("initialCopyProgress",)),
    "PeerMdm": {},
    "Alert": {},
    "Sdr": _names(counters=_AGGREGATE_COUNTERS),
}  # fmt: skip
"""Every statistic of each resource type, with the value that it has where nothing is measured."""
