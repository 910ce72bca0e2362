"""``model.inspection`` over sockets and the REST API. Numbers in brackets are sections of the protocol notes.

Each endpoint has a client of its own, so that each is tried, and not only the first that works. The clients
have no configured id: the doctor compares the id that the gateway reports.
"""

from __future__ import annotations

import collections
import contextlib
import datetime
import socket
import ssl
import urllib.parse
from collections.abc import Sequence

import msgspec

from csi_powerflex import call_context
from csi_powerflex.config.systems.schema import SystemSettings, ZoneSettings
from csi_powerflex.config.systems.trust import trust_of
from csi_powerflex.errors import ConnectFailed, DriverError, Unavailable
from csi_powerflex.gateway import certificate
from csi_powerflex.gateway.array import GatewayArray
from csi_powerflex.gateway.http import Http, Request
from csi_powerflex.gateway.payloads import (
    PlatformUsersPayload,
    TreeMemberPayload,
    UserPayload,
)
from csi_powerflex.model.array import Sdt
from csi_powerflex.model.inspection import Tree

# Callers give each step less time than this.
_LONGEST_STEP_SECONDS = 600.0
_VERSION = "/api/version"
# Asking these for the platform's users may end in 401, which would cause further logins.
_WITHOUT_PLATFORM = ("2.", "3.")
_LIMIT_OF_TREES = "volumePerVtree"
_MOST_BYTES = 1 << 20


class InspectedArray(GatewayArray):
    """A system with what only the doctor asks. Implements ``InspectedSystem``."""

    def version(self) -> str:
        """From ``/api/version`` (1.5)."""
        return self._client.get(_VERSION, str)

    def role(self) -> str | None:
        """From PowerFlex Manager, or before 4.0 from the MDM's list of users. Not each user may read them."""
        with contextlib.suppress(DriverError):
            old = self.version().startswith(_WITHOUT_PLATFORM)
            return self._role_at_mdm() if old else self._role_at_platform()
        return None

    def _role_at_mdm(self) -> str | None:
        users = self._client.get_list("/api/types/User/instances", UserPayload)
        return next((user.user_role for user in users if user.name == self.settings.username), None)

    def _role_at_platform(self) -> str | None:
        name = urllib.parse.quote(self.settings.username.replace('"', ""))
        path = f"/rest/v1/users?filter=username%20eq%20%22{name}%22"
        users = self._client.get(path, PlatformUsersPayload).results
        return next((user.permission.role for user in users if user.username == self.settings.username), None)

    def sdts(self) -> Sequence[Sdt]:
        return self._nvme.sdts()

    def nqn(self) -> str | None:
        return self._nvme.nqn()

    def tree_limit(self) -> int | None:
        """From the limit ``volumePerVtree`` (2.3)."""
        return self.limits().get(_LIMIT_OF_TREES)

    def largest_trees(self, count: int) -> Sequence[Tree]:
        """From the list of volumes. Only a few fields of each are kept."""
        volumes = self._client.get_list("/api/types/Volume/instances", TreeMemberPayload)
        members = collections.Counter(volume.vtree_id for volume in volumes)
        roots = {volume.vtree_id: volume.name for volume in volumes if volume.ancestor_volume_id is None}
        return [Tree(roots.get(tree) or tree, number) for tree, number in members.most_common(count)]


class GatewayEndpoint:
    """One endpoint of a system. Implements ``InspectedEndpoint``."""

    def __init__(self, settings: SystemSettings, endpoint: str) -> None:
        self._settings = msgspec.structs.replace(settings, endpoints=(endpoint,), id=None)
        self.url = endpoint
        parts = urllib.parse.urlsplit(endpoint)
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._array: InspectedArray | None = None

    def addresses(self) -> Sequence[str]:
        """By the resolver of this machine. It has no time limit of its own, so callers set one."""
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Unavailable(f"{self._host}: {error.strerror}") from error
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def connect(self, address: str) -> None:
        self._connection(address).close()

    def _connection(self, address: str) -> socket.socket:
        seconds = call_context.remaining(_LONGEST_STEP_SECONDS)
        try:
            return socket.create_connection((address, self._port), timeout=seconds)
        except TimeoutError as error:
            raise ConnectFailed(f"{address}, port {self._port}: no answer within {seconds:.0f} s") from error
        except OSError as error:
            raise ConnectFailed(f"{address}, port {self._port}: {error.strerror}") from error

    def certificate_end(self, address: str) -> datetime.datetime:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # only the date is read, and nothing is sent
        with self._connection(address) as connection:
            try:
                with context.wrap_socket(connection, server_hostname=self._host) as secured:
                    return certificate.end_of(secured.getpeercert(binary_form=True) or b"")
            except (OSError, ValueError) as error:
                reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
                raise Unavailable(
                    f"{address}, port {self._port}: no certificate was read: {reason}"
                ) from error

    def verify(self) -> None:
        """The request has no token. Any answer shows that the connection is good."""
        http = Http(self._settings)
        try:
            http.send(Request("GET", self.url.rstrip("/") + _VERSION, {}, None, True, _MOST_BYTES))
        finally:
            http.close()

    def log_in(self) -> InspectedArray:
        if self._array is None:
            self._array = InspectedArray(self._settings)
        self._array.system_id()
        return self._array

    def close(self) -> None:
        if self._array is not None:
            self._array.close()


class SystemInspection:
    """One system of the systems file. Implements ``model.inspection.Inspection``."""

    def __init__(self, settings: SystemSettings) -> None:
        self._settings = settings
        self.endpoints = [GatewayEndpoint(settings, endpoint) for endpoint in settings.endpoints]

    @property
    def label(self) -> str:
        return self._settings.label

    @property
    def configured_id(self) -> str | None:
        return self._settings.id

    @property
    def protection_domain(self) -> str | None:
        return self._settings.protection_domain

    @property
    def storage_pool(self) -> str | None:
        return self._settings.storage_pool

    @property
    def zones(self) -> Sequence[ZoneSettings]:
        return self._settings.zones

    @property
    def verifies_certificate(self) -> bool:
        return self._settings.verify_certificate

    def authority_ends(self) -> Sequence[datetime.datetime]:
        if self._settings.ca_file is None:
            return ()
        authorities = trust_of(self._settings).get_ca_certs()
        ends = [ssl.cert_time_to_seconds(str(found["notAfter"])) for found in authorities]
        return [datetime.datetime.fromtimestamp(end, tz=datetime.UTC) for end in ends]
