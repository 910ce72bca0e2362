"""The Job of a data mover (docs/mover.md): its devices, its rights, and when it is repeated.

The container has no token, no capability and a read-only root filesystem. Volumes of arrays are raw block
devices. Kubernetes begins another pod only after the one before has ended (``podReplacementPolicy``), so two
movers never write one target, also if the node of the first is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from csi_powerflex.config.operator import MoverSettings
from csi_powerflex.model.mover import Exit

JOBS = "batch/v1"
CONTAINER = "mover"
MOVER_LABEL = "powerflex.dev/mover"
"""On the pods of a mover: the name of its Job."""

_REPETITIONS = 20
# A server may send a byte a minute without end. A copy between volumes has no such end: it may be large.
_LONGEST_WITH_SERVER_SECONDS = 7 * 24 * 3600
_TERMINATION_LOG = "/dev/termination-log"
_NOT_REPEATED = sorted(
    int(status) for status in Exit if status is not Exit.DONE and not status.is_worth_repeating
)


def jobs(namespace: str) -> str:
    """The path of the Jobs of a namespace."""
    return f"/apis/{JOBS}/namespaces/{namespace}/jobs"


def policies(namespace: str) -> str:
    """The path of the NetworkPolicies of a namespace."""
    return f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"


@dataclass(frozen=True, slots=True)
class MoverJob:
    """One Job.

    Attributes:
        name: its name.
        arguments: for ``csi-powerflex mover``.
        devices: the claims in block mode that it gets, by the path of the device.
        volumes: other volumes of the pod, as in its specification.
        mounts: where they are mounted.
        network: whether it may reach servers.
        annotations: of its pods.
    """

    name: str
    arguments: Sequence[str]
    devices: Mapping[str, str]
    volumes: Sequence[Mapping[str, Any]] = ()
    mounts: Sequence[Mapping[str, Any]] = field(default=())
    network: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)


def manifest(job: MoverJob, settings: MoverSettings, labels: Mapping[str, str]) -> dict[str, Any]:
    """The Job, without its namespace. ``labels`` are those of its pods."""
    return {
        "apiVersion": JOBS,
        "kind": "Job",
        "metadata": {"name": job.name},
        "spec": {
            "backoffLimit": _REPETITIONS,
            **({"activeDeadlineSeconds": _LONGEST_WITH_SERVER_SECONDS} if job.network else {}),
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": CONTAINER,
                            "operator": "In",
                            "values": list(_NOT_REPEATED),
                        },
                    },
                    # A pod that was removed from its node has not failed by itself.
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                ]
            },
            "template": {
                "metadata": {
                    "labels": {**labels, MOVER_LABEL: job.name},
                    **({"annotations": dict(job.annotations)} if job.annotations else {}),
                },
                "spec": _pod(job, settings),
            },
        },
    }


def policy(job: MoverJob) -> dict[str, Any]:
    """The NetworkPolicy of the Job, without its namespace. It allows nothing.

    Kubernetes adds up all policies of a pod, and anyone who may create pods can give one the label. So a
    policy that allows connections would open what the namespace does not. The connections of a Job for a
    server are therefore not in it: for them the other policies of the namespace count.
    """
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": job.name},
        "spec": {
            "podSelector": {"matchLabels": {MOVER_LABEL: job.name}},
            "policyTypes": ["Ingress", *([] if job.network else ["Egress"])],
            "ingress": [],
            **({} if job.network else {"egress": []}),
        },
    }


def _pod(job: MoverJob, settings: MoverSettings) -> dict[str, Any]:
    names = {path: f"device-{number}" for number, path in enumerate(job.devices)}
    disks = [
        {"name": names[path], "persistentVolumeClaim": {"claimName": claim}}
        for path, claim in job.devices.items()
    ]
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "seccompProfile": {"type": "RuntimeDefault"},
            **({"fsGroup": settings.user} if settings.user else {}),
        },
        "containers": [
            {
                "name": CONTAINER,
                "image": settings.image,
                "imagePullPolicy": settings.pull_policy,
                "args": [*job.arguments, f"--termination-log={_TERMINATION_LOG}"],
                "terminationMessagePath": _TERMINATION_LOG,
                "securityContext": {
                    "runAsUser": settings.user,
                    "runAsGroup": settings.user,
                    "runAsNonRoot": settings.user != 0,
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "resources": _resources(settings),
                "volumeDevices": [{"name": name, "devicePath": path} for path, name in names.items()],
                "volumeMounts": list(job.mounts),
            }
        ],
        "volumes": [*disks, *job.volumes],
    }


def _resources(settings: MoverSettings) -> dict[str, Any]:
    limits = {"cpu": settings.cpu, "memory": settings.memory}
    return {"limits": {name: value for name, value in limits.items() if value}}
