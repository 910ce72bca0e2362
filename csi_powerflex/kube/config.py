"""How to reach the API server of a Kubernetes cluster: from a pod of the cluster, or with a kubeconfig file.

Nothing is taken from the environment but the address that Kubernetes gives to each pod. So a variable such as
``HTTPS_PROXY`` cannot change where the cluster's token is sent.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import urllib3.exceptions
import urllib3.util

from csi_powerflex.config import document
from csi_powerflex.errors import FailedPrecondition, InvalidArgument

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod has the files of its ServiceAccount (Kubernetes, "Accessing the Kubernetes API from a Pod")."""

Source = Path | bytes
"""Content, or the file that has it. A file is read at each use, because Kubernetes replaces its files."""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """How to reach one API server, and as which user.

    Args:
        server: the URL, with ``https``; a path is put in front of each request's path.
        authority: the certificate authorities to trust, in PEM; None for those of the system.
        token: the bearer token; None for none.
        certificate: the client's certificate chain in PEM; None for none.
        key: its private key in PEM, without a passphrase.
        server_name: the name that the server's certificate must have; None for the host of ``server``.
    """

    server: str
    authority: Source | None = None
    token: Source | None = field(default=None, repr=False)
    certificate: Source | None = None
    key: Source | None = field(default=None, repr=False)
    server_name: str | None = None

    def __post_init__(self) -> None:
        try:
            url = urllib3.util.parse_url(self.server)
        except urllib3.exceptions.LocationParseError:
            raise FailedPrecondition(f"cannot reach Kubernetes: {self.server!r} is not a URL") from None
        if url.scheme != "https" or not url.host:
            raise FailedPrecondition(
                f"cannot reach Kubernetes: the server is {self.server!r}, but only https is supported"
            )


def load(kubeconfig: Path | None) -> ClusterConfig:
    """The cluster of the file ``kubeconfig``, or the one of this pod if it is None.

    Raises:
        FailedPrecondition: there is no usable configuration. The message quotes no token.
    """
    return in_cluster() if kubeconfig is None else from_kubeconfig(kubeconfig)


def in_cluster(environment: Mapping[str, str] = os.environ, folder: Path = SERVICE_ACCOUNT) -> ClusterConfig:
    """The cluster that this pod runs in, as the user of its ServiceAccount.

    Raises:
        FailedPrecondition: this process does not run in a pod that may use the API.
    """
    host, port = (environment.get(f"KUBERNETES_SERVICE_{part}") for part in ("HOST", "PORT"))
    if not host or not port:
        raise FailedPrecondition(
            "cannot reach Kubernetes: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set, so "
            "this process does not run in a pod; outside of the cluster use --kubeconfig FILE"
        )
    authority, token = folder / "ca.crt", folder / "token"
    for file in (authority, token):
        if not file.is_file():
            raise FailedPrecondition(
                f"cannot reach Kubernetes: {file} does not exist; set automountServiceAccountToken in the pod"
            )
    address = f"[{host}]" if ":" in host else host
    return ClusterConfig(f"https://{address}:{port}", authority=authority, token=token)


def from_kubeconfig(path: Path) -> ClusterConfig:
    """The cluster and the user of the current context of a kubeconfig file.

    The format is that of ``kubectl`` (Kubernetes reference, "kubeconfig (v1)"). Relative file names are
    relative to the folder of ``path``.

    Raises:
        FailedPrecondition: the file cannot be read, or it needs something that this client does not support,
            such as a command that prints a token.
    """
    try:
        config = msgspec.convert(document.load(path), _Kubeconfig)
    except InvalidArgument as error:
        raise FailedPrecondition(f"cannot reach Kubernetes: {error}") from error
    except msgspec.ValidationError as error:
        raise FailedPrecondition(f"cannot reach Kubernetes: {path}: {error}") from error
    context = _find(
        path, "context", config.current_context, {item.name: item.context for item in config.contexts}
    )
    cluster = _find(path, "cluster", context.cluster, {item.name: item.cluster for item in config.clusters})
    user = _find(path, "user", context.user, {item.name: item.user or _User() for item in config.users})
    _refuse_unsupported(path, cluster, user)
    return ClusterConfig(
        server=cluster.server,
        authority=_source(
            path, "certificate-authority", cluster.certificate_authority, cluster.certificate_authority_data
        ),
        # A file counts more than a token next to it, as for kubectl.
        token=_file(path, user.token_file) or (user.token.encode() if user.token else None),
        certificate=_source(
            path, "client-certificate", user.client_certificate, user.client_certificate_data
        ),
        key=_source(path, "client-key", user.client_key, user.client_key_data),
        server_name=cluster.tls_server_name or None,
    )


class _Context(msgspec.Struct, frozen=True):
    cluster: str = ""
    user: str = ""


class _Cluster(msgspec.Struct, frozen=True, rename="kebab"):
    server: str = ""
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    tls_server_name: str | None = None
    insecure_skip_tls_verify: bool = False
    proxy_url: str | None = None


class _User(msgspec.Struct, frozen=True, rename="kebab"):
    token: str | None = None
    token_file: str | None = msgspec.field(default=None, name="tokenFile")
    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    exec: Any = None
    auth_provider: Any = None
    username: str | None = None
    password: str | None = None
    impersonated: str | None = msgspec.field(default=None, name="as")


class _NamedContext(msgspec.Struct, frozen=True):
    name: str
    context: _Context


class _NamedCluster(msgspec.Struct, frozen=True):
    name: str
    cluster: _Cluster


class _NamedUser(msgspec.Struct, frozen=True):
    name: str
    user: _User | None = None


class _Kubeconfig(msgspec.Struct, frozen=True, rename="kebab"):
    current_context: str = ""
    contexts: tuple[_NamedContext, ...] = ()
    clusters: tuple[_NamedCluster, ...] = ()
    users: tuple[_NamedUser, ...] = ()


_T = TypeVar("_T")


def _find(path: Path, kind: str, name: str, named: Mapping[str, _T]) -> _T:
    try:
        return named[name]
    except KeyError:
        raise FailedPrecondition(
            f"cannot reach Kubernetes: {path} names the {kind} {name!r}, but it has only "
            f"{', '.join(map(repr, sorted(named))) or 'none'}"
        ) from None


def _refuse_unsupported(path: Path, cluster: _Cluster, user: _User) -> None:
    """Refuse what would be wrong to ignore: it says where a token goes, or as which user requests count."""
    unsupported = {
        "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
        "proxy-url": cluster.proxy_url,
        "exec": user.exec,
        "auth-provider": user.auth_provider,
        "username": user.username,
        "password": user.password,
        "as": user.impersonated,
    }
    for name, value in unsupported.items():
        if value:
            raise FailedPrecondition(
                f"cannot reach Kubernetes: {path} uses {name}, which this driver does not support; use a "
                "file with a certificate-authority, and with a token, a tokenFile or a client-certificate"
            )


def _file(path: Path, name: str | None) -> Path | None:
    return path.parent / name if name else None


def _source(path: Path, setting: str, name: str | None, data: str | None) -> Source | None:
    """The content of a setting that is a file name or base64; the latter counts more, as for kubectl."""
    if not data:
        return _file(path, name)
    try:
        return base64.b64decode(data, validate=True)
    except ValueError:
        # Without a cause, whose text could quote the data.
        raise FailedPrecondition(f"cannot reach Kubernetes: {path}: {setting}-data is not base64") from None
