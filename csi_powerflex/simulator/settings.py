"""The settings of a simulated system."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings. The defaults are those of a healthy system with the documented limits.

    For ``removal_seconds`` after its removal, a volume answers "removal in progress". ``session_limit``
    None means no limit. ``qos_for_nvme`` False refuses QoS limits for NVMe hosts; the documentation of one
    client says that the array does this.
    """

    username: str = "admin"
    password: str = "Simulated1!"  # noqa: S105 - a documented default, it protects nothing
    session_limit: int | None = None
    removal_seconds: float = 0.0
    migration_kb_per_second: int = 4 * 1024 * 1024
    qos_for_nvme: bool = True
    max_volumes: int = 131072
    max_snapshots: int = 133120
    max_volumes_per_domain: int = 32768
    max_volumes_per_host: int = 8192
    max_sdcs: int = 2048
    max_nvme_hosts: int = 1024
    max_snapshots_per_vtree: int = 126
    max_snapshots_per_vtree_erasure_coded: int = 1022
    max_volume_gb: int = 1048576
