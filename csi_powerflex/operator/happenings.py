"""Events about the operator's objects, for ``kubectl describe`` (Kubernetes reference, "Event v1 core").

They are only information: one that cannot be written is logged. The name of an Event depends on what it says,
so a repeated step does not write it twice.
"""

from __future__ import annotations

import hashlib

from csi_powerflex.errors import AlreadyExists, DriverError
from csi_powerflex.kube.client import Client
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log
from csi_powerflex.operator.api import API_VERSION, Definition, Resource
from csi_powerflex.operator.work import Clock, Happening, Reference

log = Log(__name__)

COMPONENT = "csi-powerflex-operator"
# The API refuses a message of more than 1024 bytes, and a name of more than 253.
_MAX_MESSAGE_BYTES = 1024
_MAX_OBJECT_NAME = 200


class Happenings:
    """Writes Events.

    Args:
        client: how to reach the cluster.
        now: the present time.
    """

    def __init__(self, client: Client, now: Clock) -> None:
        self._client = client
        self._now = now

    def tell(self, definition: Definition, about: Resource, happening: Happening) -> None:
        """Write an Event about an object, and about the other one of the happening. A failure is logged."""
        metadata = about.metadata
        log.info(
            "event",
            resource=definition.plural,
            object=f"{metadata.namespace}/{metadata.name}",
            event_reason=happening.reason,
            text=happening.text,
        )
        own = Reference(API_VERSION, definition.kind, metadata.name, metadata.uid)
        if self._write(metadata.namespace, own, happening):
            metrics.OPERATOR_EVENTS.labels(definition.plural, metrics.label_value(happening.reason)).inc()
        if happening.also is not None:
            self._write(metadata.namespace, happening.also, happening)

    def _write(self, namespace: str, about: Reference, happening: Happening) -> bool:
        """Returns whether it is new: false if the Event exists."""
        event = self._event(namespace, about, happening)
        result = "written"
        try:
            self._client.create(f"/api/v1/namespaces/{namespace}/events", event)
        except AlreadyExists:
            log.debug("event exists", event_reason=happening.reason)
            return False
        except DriverError as error:
            result = "failed"
            log.warning("event not written", event_reason=happening.reason, reason=error)
        metrics.EVENTS.labels(result).inc()
        return True

    def _event(self, namespace: str, about: Reference, happening: Happening) -> dict[str, object]:
        content = "\0".join((about.uid, happening.reason, happening.text))
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        at = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{about.name[:_MAX_OBJECT_NAME].rstrip('-.')}.{digest}",
                "namespace": namespace,
            },
            "involvedObject": {
                "apiVersion": about.api_version,
                "kind": about.kind,
                "namespace": namespace,
                "name": about.name,
                "uid": about.uid,
            },
            "reason": happening.reason,
            "message": happening.text.encode()[:_MAX_MESSAGE_BYTES].decode(errors="ignore"),
            "type": "Warning" if happening.warning else "Normal",
            "source": {"component": COMPONENT},
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
