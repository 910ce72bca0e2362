"""The paths that public clients call, as far as their published code shows them."""

from __future__ import annotations

CALLS: dict[str, str] = {
    "CloudStack": """
        /api/Configuration
        /api/instances/StoragePool::{id}/relationships: Statistics Volume
        /api/instances/System::{id}/action: removeConsistencyGroupSnapshots snapshotVolumes
        /api/instances/VTree::{id}
        /api/instances/Volume::{id}/action: migrateVTree overwriteVolumeContent
        /api/instances/Volume::{id}/relationships: Statistics
        /api/types/Sdc/instances
        /api/types/Sdc/instances/action/queryIdByKey
        /api/types/StoragePool/instances
    """,
    "LXD": """
        /api/instances/ProtectionDomain::{id}/relationships: Sdt StoragePool
        /api/instances/Sdc::{id}/action: removeSdc
        /api/instances/Sdc::{id}/relationships: Volume
        /api/instances/StoragePool::{id}
        /api/instances/StoragePool::{id}/relationships: Statistics Volume
        /api/instances/System::{id}
        /api/instances/VTree::{id}/relationships: Volume
        /api/instances/Volume::{id}/action: addMappedHost overwriteVolumeContent refresh
            removeMappedHost
        /api/types/Host/instances
        /api/types/ProtectionDomain/instances/action/queryIdByKey
        /api/types/Sdc/instances
        /api/types/Volume/instances
        /api/types/Volume/instances/action/queryIdByKey
        /api/version
        /dtapi/rest/v1/metrics/query
        /rest/auth/login
    """,
    "PyPowerFlex": """
        /api/instances/AccelerationPool::{id}
        /api/instances/AccelerationPool::{id}/action: removeAccelerationPool
        /api/instances/Device::{id}
        /api/instances/Device::{id}/action: activateDevice clearDeviceError removeDevice
            setDeviceCapacityLimit setDeviceName setMediaType
        /api/instances/DeviceGroup::{id}
        /api/instances/DeviceGroup::{id}/action: modifyDeviceGroup queryUsableCapacity removeDeviceGroup
        /api/instances/FaultSet::{id}
        /api/instances/FaultSet::{id}/action: clearFaultSet removeFaultSet setFaultSetName
        /api/instances/FaultSet::{id}/relationships: Sds
        /api/instances/Host::{id}
        /api/instances/Host::{id}/action: modifyMaxNumPaths modifyMaxNumSysPorts
        /api/instances/ProtectionDomain::{id}
        /api/instances/ProtectionDomain::{id}/action: activateProtectionDomain disableSdsRfcache
            enableSdsRfcache inactivateProtectionDomain removeProtectionDomain setProtectionDomainName
            setRebalanceEnabled setRebuildEnabled setRfcacheParameters setSdsNetworkLimits
            setSecondaryIoPolicy
        /api/instances/ProtectionDomain::{id}/relationships: Sds StoragePool
        /api/instances/ReplicationConsistencyGroup::{id}
        /api/instances/ReplicationConsistencyGroup::{id}/action: ModifyReplicationConsistencyGroupRpo
            activateReplicationConsistencyGroup createReplicationConsistencyGroupSnapshots
            modifyReplicationConsistencyGroupTargetVolumeAccessMode removeReplicationConsistencyGroup
            setReplicationConsistencyGroupConsistent setReplicationConsistencyGroupInconsistent
            terminateReplicationConsistencyGroup
        /api/instances/ReplicationConsistencyGroup::{id}/relationships: ReplicationPair Statistics
        /api/instances/ReplicationPair::{id}
        /api/instances/ReplicationPair::{id}/relationships: Statistics
        /api/instances/Sdc::{id}
        /api/instances/Sdc::{id}/action: removeSdc setSdcName setSdcPerformanceParameters
        /api/instances/Sdc::{id}/relationships: Volume
        /api/instances/Sds::{id}
        /api/instances/Sds::{id}/action: addSdsIp disableRfcache enableRfcache removeSds removeSdsIp
            setSdsIpRole setSdsName setSdsPerformanceParameters setSdsPort setSdsRmcacheEnabled
            setSdsRmcacheSize
        /api/instances/Sds::{id}/relationships: Device
        /api/instances/Sdt::{id}
        /api/instances/Sdt::{id}/action: addIp enterMaintenanceMode exitMaintenanceMode
            modifyDiscoveryPort modifyIpRole modifyNvmePort modifyStoragePort removeIp removeSdt
            renameSdt
        /api/instances/SnapshotPolicy::{id}
        /api/instances/SnapshotPolicy::{id}/action: addSourceVolumeToSnapshotPolicy assignSnapshotPolicy
            modifySnapshotPolicy pauseSnapshotPolicy removeSnapshotPolicy
            removeSourceVolumeFromSnapshotPolicy renameSnapshotPolicy resumeSnapshotPolicy
            unassignSnapshotPolicy
        /api/instances/SnapshotPolicy::{id}/relationships: Statistics
        /api/instances/StorageNode::{id}
        /api/instances/StorageNode::{id}/action: addIp modifyIpRole removeIp removeStorageNode
            renameStorageNode updateNodeOriginalPathnames
        /api/instances/StoragePool::{id}
        /api/instances/StoragePool::{id}/action: disableFragmentation disablePersistentChecksum
            disableRfcache enableFragmentation enablePersistentChecksum enableRfcache
            modifyCompressionMethod modifyPersistentChecksum modifyStoragePoolSize removeStoragePool
            renameStoragePool setCapacityAlertThresholds setChecksumEnabled setExternalAccelerationType
            setMediaType setOverProvisioningFactor setProtectedMaintenanceModeIoPriorityPolicy
            setRebalanceEnabled setRebalanceIoPriorityPolicy setRebuildEnabled
            setRebuildRebalanceParallelism setReplicationJournalCapacity setRmcacheWriteHandlingMode
            setSparePercentage setStoragePoolName setUseRmcache setVTreeMigrationIoPriorityPolicy
            setZeroPaddingPolicy
        /api/instances/StoragePool::{id}/relationships: Device SpSds Statistics Volume
        /api/instances/System::{id}
        /api/instances/System::{id}/action: addStandbyMdm changeMdmOwnership createSnapshot
            createThinClone modifyVirtualIpInterfaces removeConsistencyGroupSnapshots removeStandbyMdm
            renameMdm setMdmPerformanceParameters snapshotVolumes switchClusterMode
        /api/instances/Volume::{id}
        /api/instances/Volume::{id}/action: addMappedHost addMappedSdc lockAutoSnapshot
            modifyCompressionMethod refresh removeMappedHost removeMappedSdc removeVolume restore
            setMappedSdcLimits setSnapshotSecurity setVolumeAccessModeLimit setVolumeMappingAccessMode
            setVolumeName setVolumeSize setVolumeUseRmcache unlockAutoSnapshot
        /api/instances/Volume::{id}/relationships: Statistics
        /api/types/AccelerationPool/instances
        /api/types/AccelerationPool/instances/action/querySelectedStatistics
        /api/types/Device/instances
        /api/types/Device/instances/action/querySelectedStatistics
        /api/types/DeviceGroup/instances
        /api/types/FaultSet/instances
        /api/types/FaultSet/instances/action/querySelectedStatistics
        /api/types/Host/instances
        /api/types/ProtectionDomain/instances
        /api/types/ProtectionDomain/instances/action/querySelectedStatistics
        /api/types/ReplicationConsistencyGroup/instances
        /api/types/ReplicationConsistencyGroup/instances/action/querySelectedStatistics
        /api/types/ReplicationPair/instances
        /api/types/ReplicationPair/instances/action/querySelectedStatistics
        /api/types/Sdc/instances
        /api/types/Sdc/instances/action/querySelectedStatistics
        /api/types/Sds/instances
        /api/types/Sds/instances/action/querySelectedStatistics
        /api/types/Sdt/instances
        /api/types/SnapshotPolicy/instances
        /api/types/SnapshotPolicy/instances/action/querySelectedStatistics
        /api/types/StorageNode/instances
        /api/types/StoragePool/instances
        /api/types/StoragePool/instances/action/querySelectedStatistics
        /api/types/System/instances
        /api/types/System/instances/action/querySelectedStatistics
        /api/types/Volume/instances
        /api/types/Volume/instances/action/querySelectedStatistics
    """,
    "cinder": """
        /api/instances/ReplicationConsistencyGroup::{id}
        /api/instances/ReplicationPair::{id}
        /api/instances/Sdc::{id}
        /api/instances/Sdc::{id}/relationships: Volume
        /api/instances/System/action: createSnapshot createThinClone snapshotVolumes
        /api/instances/VTree::{id}
        /api/instances/VTree::{id}/relationships: Statistics
        /api/instances/Volume::{id}
        /api/instances/Volume::{id}/action: addMappedHost addMappedSdc migrateVTree
            overwriteVolumeContent removeMappedSdc removeVolume setMappedSdcLimits setVolumeName
            setVolumeSize
        /api/login
        /api/types/Domain/instances/getByName::{value}
        /api/types/Host/instances
        /api/types/Pool/instances/getByName::{value}
        /api/types/ProtectionDomain/instances/action/queryBySelectedIds
        /api/types/ReplicationPair/instances
        /api/types/Sdc/instances
        /api/types/Sdt/instances
        /api/types/StoragePool/instances/action/querySelectedStatistics
        /api/types/System/instances
        /api/types/Volume/instances
        /api/version
        /dtapi/rest/v1/metrics/query
    """,
    "csi-powerflex": """
        /api/instances/System/action: querySystemLimits
        /api/types/PeerMdm/instances
        /api/types/ReplicationConsistencyGroup/instances
        /rest/v1/file-systems
        /rest/v1/file-systems/{id}
        /rest/v1/file-systems/{id}/snapshot
        /rest/v1/file-tree-quotas
        /rest/v1/nas-servers
        /rest/v1/nfs-exports
        /rest/v1/nfs-servers
    """,
    "goscaleio": """
        /api/instances/Device::{id}
        /api/instances/Device::{id}/action: removeDevice setDeviceCapacityLimit setDeviceName
            setExternalAccelerationType setMediaType updateDeviceOriginalPathname
        /api/instances/FaultSet::{id}
        /api/instances/FaultSet::{id}/action: removeFaultSet setFaultSetName setSdsPerformanceParameters
        /api/instances/FaultSet::{id}/relationships: Sds
        /api/instances/Host::{id}/action: modifyMaxNumPaths modifyMaxNumSysPorts
        /api/instances/Host::{id}/relationships: NvmeController
        /api/instances/PeerMdm::{id}
        /api/instances/PeerMdm::{id}/action: removePeerMdm
        /api/instances/ProtectionDomain::{id}
        /api/instances/ProtectionDomain::{id}/action: activateProtectionDomain disableFglMetadataCache
            disableSdsRfcache enableFglMetadataCache enableSdsRfcache inactivateProtectionDomain
            removeProtectionDomain setDefaultFglMetadataCacheSize setProtectionDomainName
            setRfcacheParameters setSdsNetworkLimits
        /api/instances/ProtectionDomain::{id}/relationships: Sds StoragePool
        /api/instances/ReplicationConsistencyGroup::{id}
        /api/instances/ReplicationConsistencyGroup::{id}/action: ModifyReplicationConsistencyGroupRpo
        /api/instances/ReplicationPair::{id}
        /api/instances/ReplicationPair::{id}/action: removeReplicationPair
        /api/instances/Sdc::{id}
        /api/instances/Sdc::{id}/action: queryVolumeSdcBwc removeSdc setSdcName
            setSdcPerformanceParameters
        /api/instances/Sdc::{id}/relationships: Statistics Volume
        /api/instances/Sds::{id}
        /api/instances/Sds::{id}/action: addSdsIp disableRfcache enableRfcache removeSds removeSdsIp
            setDrlMode setSdsIpRole setSdsName setSdsPerformanceParameters setSdsPort
            setSdsRmcacheEnabled setSdsRmcacheSize
        /api/instances/Sds::{id}/relationships: Device
        /api/instances/Sdt::{id}
        /api/instances/Sdt::{id}/action: addIp enterMaintenanceMode exitMaintenanceMode
            modifyDiscoveryPort modifyIpRole modifyNvmePort modifyStoragePort removeIp removeSdt
            renameSdt
        /api/instances/SnapshotPolicy::{id}
        /api/instances/SnapshotPolicy::{id}/action: addSourceVolumeToSnapshotPolicy modifySnapshotPolicy
            pauseSnapshotPolicy removeSnapshotPolicy removeSourceVolumeFromSnapshotPolicy
            renameSnapshotPolicy resumeSnapshotPolicy
        /api/instances/SnapshotPolicy::{id}/relationships: SourceVolume
        /api/instances/StoragePool::{id}
        /api/instances/StoragePool::{id}/action: disableFragmentation disableRfcache enableFragmentation
            enableRfcache removeStoragePool setCapacityAlertThresholds setMediaType
            setProtectedMaintenanceModeIoPriorityPolicy setRebalanceEnabled setRebalanceIoPriorityPolicy
            setRebuildEnabled setRebuildRebalanceParallelism setReplicationJournalCapacity
            setRmcacheWriteHandlingMode setSparePercentage setStoragePoolName setUseRmcache
            setVTreeMigrationIoPriorityPolicy setZeroPaddingPolicy
        /api/instances/StoragePool::{id}/relationships: Device SpSds Statistics Volume
        /api/instances/System/action: addStandbyMdm changeMdmOwnership querySystemLimits
            removeStandbyMdm renameMdm setMdmPerformanceParameters switchClusterMode
        /api/instances/System/queryMdmCluster
        /api/instances/System::{id}/action: approveSdc createSnapshot createThinClone setApprovedSdcIps
            setRestrictedSdcMode snapshotVolumes
        /api/instances/System::{id}/relationships: ProtectionDomain ScsiInitiator Sdc Statistics User
        /api/instances/User::{id}
        /api/instances/User::{id}/action: removeUser setUserRole
        /api/instances/VTree::{id}
        /api/instances/Volume::{id}
        /api/instances/Volume::{id}/action: addMappedSdc lockAutoSnapshot modifyCompressionMethod
            removeMappedSdc removeVolume setMappedSdcLimits setSnapshotSecurity setVolumeAccessModeLimit
            setVolumeMappingAccessMode setVolumeName setVolumeSize setVolumeUseRmcache
            unlockAutoSnapshot unmarkForReplication
        /api/instances/Volume::{id}/relationships: Statistics
        /api/login
        /api/types/Device/instances
        /api/types/FaultSet/instances
        /api/types/Host/instances
        /api/types/PeerMdm/instances
        /api/types/ProtectionDomain/instances
        /api/types/ProtectionDomain/instances/action/queryIdByKey
        /api/types/ReplicationConsistencyGroup/instances
        /api/types/ReplicationPair/instances
        /api/types/Sdc/instances/action/queryIdByKey
        /api/types/Sds/instances
        /api/types/Sdt/instances
        /api/types/SnapshotPolicy/instances
        /api/types/SnapshotPolicy/instances/action/queryIdByKey
        /api/types/StoragePool/instances
        /api/types/System/instances
        /api/types/User/instances
        /api/types/VTree/instances
        /api/types/VTree/instances/action/queryBySelectedIds
        /api/types/Volume/instances
        /api/types/Volume/instances/action/queryIdByKey
        /api/v1/Compatibility
        /api/v1/Credential
        /api/v1/Credential/{id}
        /api/v1/OSRepository
        /api/version
        /im/types/Command/instances
        /im/types/Command/instances/actions/abort
        /im/types/Command/instances/actions/clear
        /im/types/Command/instances/actions/retry/
        /im/types/Configuration/actions/install
        /im/types/Configuration/actions/uninstall
        /im/types/Configuration/instances
        /im/types/Configuration/instances/actions/parseFromCSV
        /im/types/ProcessPhase/actions/moveToIdlePhase
        /im/types/ProcessPhase/actions/moveToNextPhase
        /im/types/installationPackages/instances
        /im/types/installationPackages/instances/actions/delete::{id}
        /im/types/installationPackages/instances/actions/uploadPackages
        /rest/auth/login
        /rest/v1/file-interfaces/{id}
        /rest/v1/file-systems
        /rest/v1/file-systems/{id}
        /rest/v1/file-systems/{id}/restore
        /rest/v1/file-systems/{id}/snapshot
        /rest/v1/file-tree-quotas
        /rest/v1/file-tree-quotas/{id}
        /rest/v1/nas-servers
        /rest/v1/nas-servers/{id}
        /rest/v1/nas-servers/{id}/ping
        /rest/v1/nfs-exports
        /rest/v1/nfs-exports/{id}
        /rest/v1/nfs-servers
        /rest/v1/users
        /rest/v1/users/{id}
        /rest/v1/users/{id}/reset-password
    """,
    "monitoring": """
        /api/instances
        /api/instances/querySelectedStatistics
        /api/types/Alert/instances
        /api/types/Sds/instances
        /dtapi/rest/v1/metrics/query
        /rest/auth/logout
        /rest/auth/update-token
        /rest/v1/alerts
    """,
    "os-brick": """
        /api/instances/Volume::{id}/action: addMappedSdc removeMappedSdc setMappedSdcLimits
        /api/types/Client/instances/getByIp::{value}
        /api/types/Volume/instances/getByName::{value}
    """,
    "scaleio-py": """
        /api/instances/FaultSet::{id}/action: setFaultSetName
        /api/instances/System::{id}/action: removeConsistencyGroupSnapshots
        /api/types/FaultSet/instances
        /api/types/ProtectionDomain/instances
        /api/types/Sdc/instances
        /api/types/Sds/instances
        /api/types/StoragePool/instances
        /api/types/VTree/instances
        /api/types/Volume/instances
    """,
}
"""By client. A line is a path, or a path, a colon and the names of actions or relationships below it."""
