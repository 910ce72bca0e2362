"""The settings of a simulated system."""

from __future__ import annotations

from typing import Annotated

import msgspec

_Limit = Annotated[int, msgspec.Meta(ge=1)]


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Settings. The defaults are those of a healthy system with the documented limits.

    Attributes:
        username: name of the user who may log in
        password: their password
        session_limit: maximum number of sessions; without it, no limit
        removal_seconds: how long a removed volume answers "removal in progress" (212)
        migration_kb_per_second: speed of the migration of a VTree
        migrations_at_once: how many VTrees of a pool migrate at the same time; the others wait in its queue
        overwrite_mapped: false refuses to overwrite a mapped volume (104); what arrays do is not known
        qos_for_nvme: false refuses QoS limits for NVMe hosts; one client's documentation says that arrays do
        version_without_login: whether GET /api/version needs no token; without it, true before 4.0
        log_bytes: memory for the request log; the oldest requests are forgotten; 0 turns the log off
        show_system_nqn: false hides systemNqn, as systems before 5.0 may do; then hosts discover it
        nqn_suffix: text that is appended to the NQN in the Identify data of NVMe controllers
        refuse_unassigned_ports: true refuses NVMe connections to ports that discovery does not show
        max_volumes: volumes in the system, without snapshots
        max_snapshots: snapshots in the system
        max_volumes_per_domain: volumes in a protection domain, without snapshots
        max_volumes_per_host: volumes mapped to one host
        max_sdcs: SDCs
        max_nvme_hosts: NVMe hosts
        max_nvme_connections_per_host: NVMe connections of a host to a protection domain
        max_snapshots_per_vtree: snapshots in a VTree
        max_snapshots_per_vtree_erasure_coded: snapshots in a VTree of generation EC
        max_volume_gb: size of a volume in GB
    """

    username: str = "admin"
    password: str = "Simulated1!"  # noqa: S105 - a documented default, it protects nothing
    session_limit: _Limit | None = None
    removal_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    migration_kb_per_second: _Limit = 4 * 1024 * 1024
    migrations_at_once: _Limit = 4
    overwrite_mapped: bool = True
    qos_for_nvme: bool = True
    version_without_login: bool | None = None
    log_bytes: Annotated[int, msgspec.Meta(ge=0)] = 64 * 1024 * 1024
    show_system_nqn: bool = True
    nqn_suffix: str = ""
    refuse_unassigned_ports: bool = False
    max_volumes: _Limit = 131072
    max_snapshots: _Limit = 133120
    max_volumes_per_domain: _Limit = 32768
    max_volumes_per_host: _Limit = 8192
    max_sdcs: _Limit = 2048
    max_nvme_hosts: _Limit = 1024
    max_nvme_connections_per_host: _Limit = 128
    max_snapshots_per_vtree: _Limit = 126
    max_snapshots_per_vtree_erasure_coded: _Limit = 1022
    max_volume_gb: _Limit = 1048576
