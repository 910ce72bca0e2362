"""The settings of a simulated system."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings. The defaults are those of a healthy system with the documented limits.

    For ``removal_seconds`` after its removal, a volume answers "removal in progress". ``session_limit``
    None means no limit. ``qos_for_nvme`` False refuses QoS limits for NVMe hosts; the documentation of one
    client says that the array does this.

    ``show_system_nqn`` False leaves ``systemNqn`` out of the system object, as systems before 5.0 may do.
    Then hosts learn the NQN by discovery. ``nqn_suffix`` is appended to the NQN in the Identify data of NVMe
    controllers. With ``refuse_unassigned_ports``, a host may connect only to the ports that the discovery log
    shows to it; whether real systems refuse the others is not known.
    """

    username: str = "admin"
    password: str = "Simulated1!"  # noqa: S105 - a documented default, it protects nothing
    session_limit: int | None = None
    removal_seconds: float = 0.0
    migration_kb_per_second: int = 4 * 1024 * 1024
    qos_for_nvme: bool = True
    show_system_nqn: bool = True
    nqn_suffix: str = ""
    refuse_unassigned_ports: bool = False
    max_volumes: int = 131072
    max_snapshots: int = 133120
    max_volumes_per_domain: int = 32768
    max_volumes_per_host: int = 8192
    max_sdcs: int = 2048
    max_nvme_hosts: int = 1024
    max_nvme_connections_per_host: int = 128
    max_snapshots_per_vtree: int = 126
    max_snapshots_per_vtree_erasure_coded: int = 1022
    max_volume_gb: int = 1048576
