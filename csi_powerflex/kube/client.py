"""Reading, listing, watching, creating, changing and deleting the objects of a Kubernetes cluster.

The protocol is that of "Kubernetes API Concepts" (Kubernetes reference): lists in pages, watches that resume
from a resource version, bookmarks, and 410 Gone for a version that is too old. Only the fields that the
caller's types have are decoded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from csi_powerflex.errors import (
    AlreadyExists,
    DriverError,
    Expired,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from csi_powerflex.kube.config import ClusterConfig
from csi_powerflex.kube.http import Http, Response

_REQUEST_SECONDS = 30.0
_PAGE_OBJECTS = 500
_MAX_PAGE_BYTES = 128 << 20
# etcd takes requests of up to 1.5 MiB by default (etcd documentation, "System limits").
_MAX_LINE_BYTES = 8 << 20
_MAX_ERROR_BYTES = 64 << 10
_MAX_ERROR_CHARACTERS = 500
_MAX_LOG_BYTES = 64 << 10
_MERGE_PATCH = "application/merge-patch+json"


class ObjectMeta(msgspec.Struct, frozen=True, rename="camel"):
    """The metadata of an object that a client of the API needs."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class KubeObject(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An object of the API. A subclass adds the fields that its user reads."""

    metadata: ObjectMeta = ObjectMeta()


T = TypeVar("T", bound=KubeObject)


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """All objects of a resource, and the version from which a watch reports later changes."""

    items: tuple[T, ...]
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[T]):
    """What a watch reports.

    Args:
        resource_version: where a later watch resumes.
        object: the object that was added, changed or removed; None if only the version is reported.
        removed: whether the object was removed.
    """

    resource_version: str
    object: T | None = None
    removed: bool = False


class Client:
    """Reads, lists, watches, creates, changes and deletes the objects of one cluster. Threads may share it.

    A resource is given as its path in the API, such as ``/api/v1/persistentvolumes``. Objects are decoded as
    the type that the caller gives.

    Raises:
        FailedPrecondition: a file of the configuration cannot be read or used.
    """

    def __init__(self, config: ClusterConfig) -> None:
        self._http = Http(config)

    def close(self) -> None:
        """Close the idle connections."""
        self._http.close()

    def get(self, resource: str, name: str, kind: type[T]) -> T:
        """One object. It may take 30 s.

        Raises:
            NotFound: the resource has no object of that name.
            Unauthenticated, PermissionDenied: the API refused the user.
            FailedPrecondition: a file of the configuration cannot be read or used.
            Unavailable, DeadlineExceeded: there was no usable answer, or none in time.
        """
        path = f"{resource}/{quote(name, safe='')}"
        with self._http.request(path, seconds=_REQUEST_SECONDS) as response:
            if response.status != 200:
                raise _refusal(response.status, _message(response), _TO_GET)
            return _decode(msgspec.json.Decoder(kind), response.body(_MAX_LINE_BYTES))

    def last_lines(self, namespace: str, pod: str, *, many: int) -> str:
        """The last lines that the only container of a pod has written. It may take 30 s.

        Raises:
            DriverError: as for ``get``; Unavailable also while the container has not started.
        """
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(pod, safe='')}/log"
        query = urlencode({"tailLines": str(many), "limitBytes": str(_MAX_LOG_BYTES)})
        with self._http.request(f"{path}?{query}", seconds=_REQUEST_SECONDS) as response:
            if response.status != 200:
                raise _refusal(response.status, _message(response), _TO_GET)
            return response.body(_MAX_LINE_BYTES).decode("utf-8", "replace")

    def create(self, resource: str, content: Mapping[str, object]) -> None:
        """Create an object. It may take 30 s.

        Args:
            resource: the path of the resource; for one with namespaces, that of the namespace, such as
                ``/api/v1/namespaces/shop/events``.
            content: the object as JSON, with its name in ``metadata``.

        Raises:
            AlreadyExists: the resource has an object of that name.
            NotFound: there is no such namespace.
            Unauthenticated, PermissionDenied: the API refused the user, or a policy the change.
            FailedPrecondition: a file of the configuration cannot be read or used.
            Unavailable, DeadlineExceeded: there was no usable answer, or none in time. The object may exist.
        """
        body = msgspec.json.encode(content)
        request = self._http.request(resource, seconds=_REQUEST_SECONDS, method="POST", body=body)
        with request as response:
            if response.status not in (200, 201, 202):
                raise _refusal(response.status, _message(response), _TO_CREATE)
            response.discard(_MAX_LINE_BYTES)

    def patch(
        self, resource: str, name: str, content: Mapping[str, object], *, subresource: str = ""
    ) -> None:
        """Change an object by a merge patch (RFC 7386): null removes a field. It may take 30 s.

        Args:
            resource: as for ``get``.
            name: as for ``get``.
            content: the fields to change. With ``metadata.resourceVersion``, the object must have it.
            subresource: such as ``status``; empty for the object itself.

        Raises:
            AlreadyExists: the object has another version.
            NotFound: the resource has no object of that name.
            Unauthenticated, PermissionDenied: the API refused the user, or a policy the change.
            FailedPrecondition: a file of the configuration cannot be read or used.
            Unavailable, DeadlineExceeded: there was no usable answer, or none in time. It may be changed.
        """
        path = f"{resource}/{quote(name, safe='')}{f'/{subresource}' if subresource else ''}"
        body = msgspec.json.encode(content)
        with self._http.request(
            path, seconds=_REQUEST_SECONDS, method="PATCH", body=body, content_type=_MERGE_PATCH
        ) as response:
            if response.status != 200:
                raise _refusal(response.status, _message(response), _TO_PATCH)
            response.discard(_MAX_LINE_BYTES)

    def delete(self, resource: str, name: str, *, uid: str) -> None:
        """Delete an object, if it is the one with this UID. It may take 30 s.

        It returns when the deletion has begun. Finalizers may keep the object for some time.

        Args:
            resource: as for ``get``.
            name: as for ``get``.
            uid: the UID; the object of that name may be another one by now.

        Raises:
            NotFound: the resource has no object of that name.
            AlreadyExists: the object of that name is another one.
            Unauthenticated, PermissionDenied: the API refused the user, or a policy the change.
            FailedPrecondition: a file of the configuration cannot be read or used.
            Unavailable, DeadlineExceeded: there was no usable answer, or none in time. It may be deleted.
        """
        path = f"{resource}/{quote(name, safe='')}"
        body = msgspec.json.encode({"preconditions": {"uid": uid}, "propagationPolicy": "Background"})
        with self._http.request(path, seconds=_REQUEST_SECONDS, method="DELETE", body=body) as response:
            if response.status not in (200, 202):
                raise _refusal(response.status, _message(response), _TO_DELETE)
            response.discard(_MAX_LINE_BYTES)

    def list(self, resource: str, kind: type[T], *, labels: str = "") -> Listing[T]:
        """All objects of a resource, read page by page. Each page may take 30 s.

        Args:
            resource: the path of the resource, of one namespace or of all.
            kind: the type to decode objects as.
            labels: a label selector, as ``kubectl --selector`` takes it; empty for all objects.

        Raises:
            Expired: the pages are too old now, because reading them took minutes; list again.
            NotFound: the API has no such resource.
            Unauthenticated, PermissionDenied: the API refused the user.
            FailedPrecondition: a file of the configuration cannot be read or used.
            Unavailable, DeadlineExceeded: there was no usable answer, or none in time.
        """
        decoder = msgspec.json.Decoder(kind)
        items: list[T] = []
        query = {"limit": str(_PAGE_OBJECTS)} | ({"labelSelector": labels} if labels else {})
        while True:
            with self._get(resource, query, _REQUEST_SECONDS) as response:
                page = _decode(_LIST, response.body(_MAX_PAGE_BYTES))
            items += (_decode(decoder, raw) for raw in page.items)
            if not page.metadata.continue_:
                return Listing(tuple(items), page.metadata.resource_version)
            query["continue"] = page.metadata.continue_

    @contextlib.contextmanager
    def watch(
        self, resource: str, kind: type[T], resource_version: str, *, seconds: float
    ) -> Iterator[Watch[T]]:
        """The changes of a resource since a version, for the block.

        Args:
            resource: as for ``list``.
            kind: as for ``list``.
            resource_version: that of a listing or of an earlier event.
            seconds: after these the server ends the watch.

        Raises:
            DriverError: as for ``list``. Expired: the version is too old; list again.
        """
        query = {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(round(seconds)),
        }
        with self._get(resource, query, seconds + _REQUEST_SECONDS) as response:
            yield Watch(response, kind)

    @contextlib.contextmanager
    def _get(self, resource: str, query: Mapping[str, str], seconds: float) -> Iterator[Response]:
        """A response with status 200."""
        with self._http.request(f"{resource}?{urlencode(query)}", seconds=seconds) as response:
            if response.status != 200:
                raise _refusal(response.status, _message(response))
            yield response


class Watch(Generic[T]):
    """A watch under way. It can be iterated over once."""

    def __init__(self, response: Response, kind: type[T]) -> None:
        self._response = response
        self._decoder = msgspec.json.Decoder(kind)
        self._interrupted = False

    def __iter__(self) -> Iterator[WatchEvent[T]]:
        """The events until the server ends the watch, or until ``interrupt``.

        Raises:
            Expired: the version is too old; list again.
            Unavailable, DeadlineExceeded: the connection broke, or the answer is not that of an API server.
        """
        try:
            for line in self._response.lines(_MAX_LINE_BYTES):
                yield self._event(_decode(_EVENT, line))
        except DriverError:
            if not self._interrupted:
                raise

    def interrupt(self) -> None:
        """End the iteration soon. Any thread may call this."""
        self._interrupted = True
        self._response.interrupt()

    def _event(self, event: _Event) -> WatchEvent[T]:
        match event.type:
            case "ADDED" | "MODIFIED" | "DELETED":
                item = _decode(self._decoder, event.object)
                return WatchEvent(item.metadata.resource_version, item, removed=event.type == "DELETED")
            case "BOOKMARK":
                return WatchEvent(_decode(_BOOKMARK, event.object).metadata.resource_version)
            case "ERROR":
                status = _decode(_STATUS, event.object)
                raise _refusal(status.code, status.message)
            case unknown:
                raise Unavailable(f"the Kubernetes API sent an unknown watch event: {unknown!r}")


# --- payloads -----------------------------------------------------------------------------------------


class _ListMetadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct, frozen=True):
    metadata: _ListMetadata
    items: tuple[msgspec.Raw, ...]


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class _Status(msgspec.Struct, frozen=True):
    """An error as the API reports it (Kubernetes reference, "Status")."""

    code: int = 0
    message: str = ""


_LIST = msgspec.json.Decoder(_List)
_EVENT = msgspec.json.Decoder(_Event)
_BOOKMARK = msgspec.json.Decoder(KubeObject)
_STATUS = msgspec.json.Decoder(_Status)

_Decoded = TypeVar("_Decoded")


def _decode(decoder: msgspec.json.Decoder[_Decoded], content: bytes | msgspec.Raw) -> _Decoded:
    try:
        return decoder.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unavailable(f"the Kubernetes API sent something unexpected: {error}") from error


def _message(response: Response) -> str:
    """What a response other than 200 says; empty if it does not come from an API server."""
    try:
        return _decode(_STATUS, response.body(_MAX_ERROR_BYTES)).message[:_MAX_ERROR_CHARACTERS]
    except DriverError:
        return ""


@dataclass(frozen=True, slots=True)
class _Remedies:
    """What to do where the user has no right, and where the path does not exist."""

    forbidden: str
    missing: str


_TO_GET = _Remedies("allow get in a ClusterRole of this user", "check the name")
_TO_CREATE = _Remedies("allow create in a ClusterRole of this user", "check the namespace")
_TO_PATCH = _Remedies("allow patch in a ClusterRole of this user", "check the name")
_TO_DELETE = _Remedies("allow delete in a ClusterRole of this user", "check the name")
_TO_LIST = _Remedies(
    "allow list and watch in a ClusterRole of this user",
    "this version of Kubernetes may not have this resource",
)

_OF_CHANGES = (_TO_CREATE, _TO_PATCH, _TO_DELETE)
_POLICY = "change what refuses it, such as a policy of the cluster"


def _refusal(code: int, message: str, remedies: _Remedies = _TO_LIST) -> DriverError:
    """The error for a status code of the API (Kubernetes API conventions, "HTTP Status codes")."""
    answer = f"the Kubernetes API answered {code}: {message or 'without a reason'}"
    match code:
        case 401:
            return Unauthenticated(f"{answer}; check the token or the client certificate")
        case 400 | 403 | 422 if code == 403 or remedies in _OF_CHANGES:
            # 400 and 422 come from admission webhooks and policies, which would refuse the same again.
            return PermissionDenied(f"{answer}; {remedies.forbidden if code == 403 else _POLICY}")
        case 404:
            return NotFound(f"{answer}; {remedies.missing}")
        case 409:
            return AlreadyExists(answer)
        case 410:
            return Expired(answer)
        case _:
            return Unavailable(answer)
