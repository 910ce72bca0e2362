"""Wishes as Kubernetes keeps them: in PersistentVolumes and their VolumeAttributesClasses.

Followed by list and watch, so that a publish call asks nobody: of each volume of this driver the class's name
and the limits its StorageClass gave it are kept, of each class its limits. Needs to list and watch these two
kinds, and changes nothing.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import kubernetes.client
import kubernetes.config
import msgspec

from csi_powerflex import scope, tls
from csi_powerflex.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.quality import KEYS, Wish
from csi_powerflex.observability.log import Log

log = Log(__name__)

_WATCH_SECONDS = 240
_READ_SECONDS = 30.0
_AGAIN_SECONDS = 2.0
# The resizer changes a volume first and its PersistentVolume afterwards; till that is seen, memory counts.
_REMEMBERED_SECONDS = 120.0
_PAGE = 500


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    resource_version: str = ""
    continue_: str | None = msgspec.field(default=None, name="continue")


class _Source(msgspec.Struct, frozen=True, rename="camel"):
    driver: str = ""
    volume_handle: str = ""
    volume_attributes: dict[str, str] | None = None


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    csi: _Source | None = None
    volume_attributes_class_name: str | None = None


class _Object(msgspec.Struct, frozen=True, rename="camel"):
    """A PersistentVolume or a VolumeAttributesClass: of each what is read."""

    metadata: _Metadata = _Metadata()
    spec: _Spec = _Spec()
    driver_name: str = ""
    parameters: dict[str, str] | None = None


class _List(msgspec.Struct, frozen=True):
    metadata: _Metadata
    items: tuple[_Object, ...] = ()


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


# Made while the module is imported: two threads that decode a type for the first time at once crash msgspec.
_LIST, _EVENT, _OBJECT = (
    msgspec.json.Decoder(_List),
    msgspec.json.Decoder(_Event),
    msgspec.json.Decoder(_Object),
)


class _Volume(msgspec.Struct, frozen=True):
    class_name: str | None
    wish: Wish


class _Lately(msgspec.Struct, frozen=True):
    """What the cluster cannot tell yet: ``until`` is a value of ``time.monotonic()``.

    A ``first`` wish is the one of the volume's making, and counts until its PersistentVolume is seen.
    """

    until: float
    wish: Wish
    first: bool


def _nobody(_handle: VolumeHandle) -> None:
    """Who is told of changes where nobody asked to be."""


class KubernetesWishes:
    """Wishes of the volumes of one driver; ``start`` before use, ``close`` at the end."""

    def __init__(self, driver_name: str, api: kubernetes.client.ApiClient) -> None:
        self._driver = driver_name
        self._lock = threading.Lock()
        self._volumes: dict[str, _Volume] = {}
        self._classes: dict[str, Mapping[str, str]] = {}
        self._lately: dict[str, _Lately] = {}
        self._changed: Callable[[VolumeHandle], None] = _nobody
        self._stopping = threading.Event()
        core, storage = kubernetes.client.CoreV1Api(api), kubernetes.client.StorageV1Api(api)
        self._followers = (
            _Follower("persistentvolumes", core.list_persistent_volume, self._take_volume, self._stopping),
            _Follower(
                "volumeattributesclasses",
                storage.list_volume_attributes_class,
                self._take_class,
                self._stopping,
            ),
        )

    def start(self, changed: Callable[[VolumeHandle], None] | None = None) -> None:
        """Begin to follow, in threads of their own; ``changed`` is told of volumes that got another class."""
        self._changed = changed or _nobody
        for follower in self._followers:
            follower.start()

    def close(self) -> None:
        """Stop following; a read under way ends by itself."""
        self._stopping.set()

    def current(self, handle: VolumeHandle) -> Wish:
        """See ``Wishes.current``.

        Raises:
            Unavailable: the cluster has not told its volumes yet, or the volume's class cannot be used: a
                volume with the wrong limits would be worse than one that waits.
        """
        for follower in self._followers:
            follower.wait_until_known()
        with self._lock:
            lately = self._lately.get(str(handle))
            volume = self._volumes.get(str(handle))
            parameters = self._classes.get(volume.class_name) if volume and volume.class_name else {}
        if lately is not None and lately.until > time.monotonic() and not (lately.first and volume):
            return lately.wish
        if volume is None:
            return Wish()
        if parameters is None:
            raise Unavailable(
                f"volume {handle} has the VolumeAttributesClass {volume.class_name}, which does not exist"
            )
        try:
            return volume.wish.overridden_by(Wish.parse(parameters))
        except InvalidArgument as error:
            raise Unavailable(
                f"volume {handle} has the VolumeAttributesClass {volume.class_name}, which cannot be "
                f"used: {error}"
            ) from error

    def begin(self, handle: VolumeHandle, wish: Wish) -> None:
        """See ``Wishes.begin``: its PersistentVolume says it as soon as there is one."""
        with self._lock:
            self._drop_old()
            if str(handle) not in self._volumes and str(handle) not in self._lately:
                until = time.monotonic() + _REMEMBERED_SECONDS
                self._lately[str(handle)] = _Lately(until, wish, first=True)

    def remember(self, handle: VolumeHandle, wish: Wish) -> None:
        """See ``Wishes.remember``: the cluster keeps it; here only until that is seen."""
        with self._lock:
            self._drop_old()
            until = time.monotonic() + _REMEMBERED_SECONDS
            self._lately[str(handle)] = _Lately(until, wish, first=False)

    def _drop_old(self) -> None:
        now = time.monotonic()
        self._lately = {name: item for name, item in self._lately.items() if item.until > now}

    def forget(self, handle: VolumeHandle) -> None:
        """See ``Wishes.forget``."""
        with self._lock:
            self._lately.pop(str(handle), None)

    def _take_volume(self, found: _Object, *, gone: bool) -> None:
        source = found.spec.csi
        if source is None or source.driver != self._driver:
            return
        attributes = source.volume_attributes or {}
        try:
            wish = Wish.parse({key: attributes[key] for key in KEYS if key in attributes})
        except InvalidArgument as error:
            log.warning("limits of a PersistentVolume ignored", volume=source.volume_handle, reason=error)
            wish = Wish()
        volume = _Volume(found.spec.volume_attributes_class_name, wish)
        with self._lock:
            before = self._volumes.pop(source.volume_handle, None)
            if not gone:
                self._volumes[source.volume_handle] = volume
            changed = not gone and before is not None and before.class_name != volume.class_name
            if changed:
                # The change that was remembered has reached the PersistentVolume.
                self._lately.pop(source.volume_handle, None)
        if changed:
            self._tell(source.volume_handle)

    def _tell(self, volume_handle: str) -> None:
        try:
            self._changed(VolumeHandle.parse(volume_handle))
        except NotFound as error:
            log.warning("PersistentVolume of no volume ignored", volume=volume_handle, reason=error)

    def _take_class(self, found: _Object, *, gone: bool) -> None:
        if found.driver_name != self._driver:
            return
        with self._lock:
            if gone:
                self._classes.pop(found.metadata.name, None)
            else:
                self._classes[found.metadata.name] = found.parameters or {}


class _Follower:
    """One kind of object, listed and then watched for ever."""

    def __init__(
        self, kind: str, read: Callable[..., Any], take: Callable[..., None], stopping: threading.Event
    ) -> None:
        self._kind = kind
        self._read = read
        self._take = take
        self._stopping = stopping
        self._known = threading.Event()
        self._seen: dict[str, _Object] = {}
        self._away = False

    def start(self) -> None:
        threading.Thread(target=self._follow, name=f"follow {self._kind}", daemon=True).start()

    def wait_until_known(self) -> None:
        """Wait for the first list.

        Raises:
            Unavailable: it does not come in time.
        """
        if not self._known.is_set() and not self._known.wait(scope.remaining(_READ_SECONDS)):
            raise Unavailable(f"the Kubernetes API has not told its {self._kind} yet; try again later")

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                version = self._list()
                self._known.set()
                self._say(away=False)
                while not self._stopping.is_set() and version:
                    version = self._watch(version)
            except Exception as error:  # noqa: BLE001 - whatever a client library raises, we start again
                self._say(away=True, reason=error)
                self._stopping.wait(_AGAIN_SECONDS)

    def _list(self) -> str:
        """Take every object there is, drop those that are gone, and return the list's version."""
        found: dict[str, _Object] = {}
        following: str | None = None
        while True:
            options = {"_continue": following} if following else {}
            answer = self._read(
                limit=_PAGE, _preload_content=False, _request_timeout=_READ_SECONDS, **options
            )
            page = _LIST.decode(answer.data)
            found |= {item.metadata.name: item for item in page.items}
            following = page.metadata.continue_
            if not following:
                break
        for name, item in self._seen.items():
            if name not in found:
                self._take(item, gone=True)
        for item in found.values():
            self._take(item, gone=False)
        self._seen = found
        return page.metadata.resource_version

    def _watch(self, version: str) -> str:
        """Take changes since ``version``; the version to go on from, or "" to list anew."""
        answer = self._read(
            watch=True,
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=_WATCH_SECONDS,
            _preload_content=False,
            _request_timeout=(_READ_SECONDS, _WATCH_SECONDS + _READ_SECONDS),
        )
        try:
            for line in _lines(answer):
                event = _EVENT.decode(line)
                if event.type == "ERROR":
                    # Most often 410 Gone: the version is too old.
                    return ""
                item = _OBJECT.decode(event.object)
                version = item.metadata.resource_version or version
                if event.type == "BOOKMARK":
                    continue
                gone = event.type == "DELETED"
                self._take(item, gone=gone)
                if gone:
                    self._seen.pop(item.metadata.name, None)
                else:
                    self._seen[item.metadata.name] = item
                if self._stopping.is_set():
                    break
        finally:
            answer.release_conn()
            answer.close()
        return version

    def _say(self, *, away: bool, reason: object = "") -> None:
        if away and not self._away:
            log.warning("Kubernetes API does not answer", kind=self._kind, reason=reason)
        elif self._away and not away:
            log.info("Kubernetes API answers again", kind=self._kind)
        self._away = away


def _lines(answer: Any) -> Iterator[bytes]:
    rest = b""
    for chunk in answer.stream(amt=None, decode_content=True):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line for line in lines if line.strip())


def connect(driver_name: str, kubeconfig: str | None) -> KubernetesWishes:
    """Follow the cluster of ``kubeconfig``, or the one that this process runs in.

    Raises:
        FailedPrecondition: there is no usable configuration.
    """
    configuration: Any = kubernetes.config  # it has no types
    try:
        if kubeconfig is None:
            configuration.load_incluster_config()
            api = kubernetes.client.ApiClient()
        else:
            api = configuration.new_client_from_config(config_file=kubeconfig)
    except kubernetes.config.ConfigException as error:
        raise FailedPrecondition(f"cannot reach Kubernetes: {error}") from error
    _accept_lax_certificates(api)
    return KubernetesWishes(driver_name, api)


def _accept_lax_certificates(api: kubernetes.client.ApiClient) -> None:
    """Have the client check certificates as ``tls.context`` says, where it checks them."""
    settings = api.rest_client.pool_manager.connection_pool_kw
    if settings.get("cert_reqs") == ssl.CERT_REQUIRED:
        settings["ssl_context"] = tls.context()
