"""The names of statistics that are always zero here. They are spelled, and misspelled, as on the wire."""

from __future__ import annotations

POOL_COUNTERS = (
    "primaryReadBwc", "primaryWriteBwc", "secondaryReadBwc", "secondaryWriteBwc", "totalReadBwc",
    "totalWriteBwc", "userDataReadBwc", "userDataWriteBwc", "userDataTrimBwc", "userDataSdcReadLatency",
    "userDataSdcWriteLatency", "userDataSdcTrimLatency", "rebalanceReadBwc", "rebalanceWriteBwc",
    "fwdRebuildReadBwc", "fwdRebuildWriteBwc", "bckRebuildReadBwc", "bckRebuildWriteBwc",
    "normRebuildReadBwc", "normRebuildWriteBwc", "volMigrationReadBwc", "volMigrationWriteBwc",
    "enterProtectedMaintenanceModeReadBwc", "enterProtectedMaintenanceModeWriteBwc",
    "exitProtectedMaintenanceModeReadBwc", "exitProtectedMaintenanceModeWriteBwc",
    "primaryReadFromDevBwc", "primaryReadFromRmcacheBwc", "secondaryReadFromDevBwc",
    "secondaryReadFromRmcacheBwc", "targetOtherLatency", "targetReadLatency", "targetWriteLatency",
)  # fmt: skip
"""Counters of bandwidth and latency of pools, domains and the system."""

POOL_ZEROS = (
    "protectedVacInKb", "degradedHealthyVacInKb", "degradedFailedVacInKb", "failedVacInKb",
    "inUseVacInKb", "degradedHealthyCapacityInKb", "degradedFailedCapacityInKb", "failedCapacityInKb",
    "unreachableUnusedCapacityInKb", "semiProtectedCapacityInKb", "inMaintenanceCapacityInKb",
    "atRestCapacityInKb", "pendingFwdRebuildCapacityInKb", "pendingBckRebuildCapacityInKb",
    "pendingRebalanceCapacityInKb", "pendingNormRebuildCapacityInKb", "pendingMovingCapacityInKb",
    "activeFwdRebuildCapacityInKb", "activeBckRebuildCapacityInKb", "activeRebalanceCapacityInKb",
    "activeMovingCapacityInKb", "movingCapacityInKb", "normRebuildCapacityInKb",
    "snapCapacityInUseOccupiedInKb", "netMetadataOverheadInKb", "netTrimmedUserDataCapacityInKb",
    "trimmedUserDataCapacityInKb", "netFglCompressedDataSizeInKb", "netFglSparesInKb",
    "netFglUncompressedDataSizeInKb", "netFglUserDataCapacityInKb", "fglSparesInKb",
    "fglUncompressedDataSizeInKb", "fglUserDataCapacityInKb", "fglCompressedDataSizeInKb",
    "metadataOverheadInKb", "tempCapacityInKb", "numOfVolumesInDeletion", "numOfMappedToAllVolumes",
    "rmPendingAllocatedInKb", "exposedCapacityInKb", "rebuildWaitSendQLength",
    "rebalanceWaitSendQLength", "BackgroundScannedInMB",
    "activeEnterProtectedMaintenanceModeCapacityInKb", "activeExitProtectedMaintenanceModeCapacityInKb",
    "activeMovingInBckRebuildJobs", "activeMovingInEnterProtectedMaintenanceModeJobs",
    "activeMovingInExitProtectedMaintenanceModeJobs", "activeMovingInFwdRebuildJobs",
    "activeMovingInNormRebuildJobs", "activeMovingInRebalanceJobs", "activeMovingOutBckRebuildJobs",
    "activeMovingOutEnterProtectedMaintenanceModeJobs",
    "activeMovingOutExitProtectedMaintenanceModeJobs", "activeMovingOutFwdRebuildJobs",
    "activeMovingOutNormRebuildJobs", "activeMovingRebalanceJobs", "activeNormRebuildCapacityInKb",
    "aggregateCompressionLevel", "backgroundScanCompareErrorCount",
    "backgroundScanFixedCompareErrorCount", "backgroundScanFixedReadErrorCount",
    "backgroundScanReadErrorCount", "bckRebuildCapacityInKb", "capacityInUseNoOverheadInKb",
    "currentFglMigrationSizeInKb", "enterProtectedMaintenanceModeCapacityInKb",
    "fwdRebuildCapacityInKb", "inMaintenanceVacInKb", "inaccessibleCapacityInKb",
    "logWrittenBlocksInKb", "maxUserDataCapacityInKb", "numOfDeviceAtFaultRebuilds",
    "numOfIncomingVtreeMigrations", "numOfMarkedVolumesForReplication", "numOfMigratingVolumes",
    "numOfMigratingVtrees", "numOfOutgoingMigrations", "numOfReplicationJournalVolumes",
    "pendingEnterProtectedMaintenanceModeCapacityInKb",
    "pendingExitProtectedMaintenanceModeCapacityInKb", "pendingMovingInBckRebuildJobs",
    "pendingMovingInEnterProtectedMaintenanceModeJobs",
    "pendingMovingInExitProtectedMaintenanceModeJobs", "pendingMovingInFwdRebuildJobs",
    "pendingMovingInNormRebuildJobs", "pendingMovingInRebalanceJobs", "pendingMovingOutBckRebuildJobs",
    "pendingMovingOutEnterProtectedMaintenanceModeJobs",
    "pendingMovingOutExitProtectedMaintenanceModeJobs", "pendingMovingOutFwdRebuildJobs",
    "pendingMovingOutNormrebuildJobs", "pendingMovingRebalanceJobs",
    "persistentChecksumBuilderProgress", "persistentChecksumCapacityInKb", "primaryVacInKb",
    "rebalanceCapacityInKb", "rfacheReadHit", "rfacheWriteHit", "rfcacheAvgReadTime",
    "rfcacheAvgWriteTime", "rfcacheIoErrors", "rfcacheIosOutstanding", "rfcacheIosSkipped",
    "rfcacheReadMiss", "rfcacheReadsFromCache", "rfcacheReadsPending", "rfcacheReadsReceived",
    "rfcacheReadsSkipped", "rfcacheReadsSkippedAlignedSizeTooLarge", "rfcacheReadsSkippedHeavyLoad",
    "rfcacheReadsSkippedInternalError", "rfcacheReadsSkippedLockIos", "rfcacheReadsSkippedLowResources",
    "rfcacheReadsSkippedMaxIoSize", "rfcacheReadsSkippedStuckIo", "rfcacheSkippedUnlinedWrite",
    "rfcacheSourceDeviceReads", "rfcacheSourceDeviceWrites", "rfcacheWriteMiss", "rfcacheWritePending",
    "rfcacheWritesReceived", "rfcacheWritesSkippedCacheMiss", "rfcacheWritesSkippedHeavyLoad",
    "rfcacheWritesSkippedInternalError", "rfcacheWritesSkippedLowResources",
    "rfcacheWritesSkippedMaxIoSize", "rfcacheWritesSkippedStuckIo", "rmPendingThickInKb",
    "rplJournalCapAllowed", "rplTotalJournalCap", "rplUsedJournalCap", "secondaryVacInKb",
    "semiProtectedVacInKb", "tempCapacityVacInKb", "thinUserDataCapacityInKb",
    "totalFglMigrationSizeInKb",
)  # fmt: skip
"""Numbers of pools, domains and the system about rebuilds, caches and errors."""

POOL_EMPTY_LISTS = (
    "migratingVolumeIds", "migratingVtreeIds",
)  # fmt: skip
"""Lists of ids. They are empty because these operations are not simulated."""

VOLUME_COUNTERS = (
    "userDataReadBwc", "userDataWriteBwc", "userDataTrimBwc", "userDataSdcReadLatency",
    "userDataSdcWriteLatency", "userDataSdcTrimLatency",
)  # fmt: skip
"""Counters of bandwidth and latency of volumes and SDCs."""
