"""Kubernetes objects held against the models of its Python client, which know every field and its type.

An API server drops what it does not know, and Helm does not ask it before the installation.
"""

from __future__ import annotations

from typing import Any

import kubernetes.client

CUSTOM = {
    "snapshot.storage.k8s.io",
    "groupsnapshot.storage.k8s.io",
    "populator.storage.k8s.io",
    "monitoring.coreos.com",
}
"""Groups of custom resources, for which the client has no model."""


def faults(manifest: dict[str, Any]) -> list[str]:
    """What the model of the manifest's kind does not have, as paths.

    Raises:
        ValueError: a field is missing or has a value of another type.
    """
    group, _, version = manifest["apiVersion"].rpartition("/")
    if group in CUSTOM:
        return []
    model = getattr(kubernetes.client, f"{version.capitalize()}{manifest['kind']}")
    return _dropped(manifest, _plain(model.from_dict(manifest)), manifest["kind"])


def _plain(made: Any) -> Any:
    """What a model keeps, in the API's own names."""
    return made.model_dump(by_alias=True, exclude_none=True)


def _dropped(given: Any, kept: Any, path: str) -> list[str]:
    """What is in ``given`` but not in ``kept``."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [
            fault
            for key, value in given.items()
            for fault in (
                _dropped(value, kept[key], f"{path}.{key}") if key in kept else [f"{path} has no field {key}"]
            )
        ]
    if isinstance(given, list) and isinstance(kept, list):
        pairs = zip(given, kept, strict=True)
        return [fault for number, (a, b) in enumerate(pairs) for fault in _dropped(a, b, f"{path}[{number}]")]
    return []
