"""Where the API server is, and who asks it: from a pod, and from a kubeconfig file."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.kube import config as config_module
from csi_powerflex.kube.config import ClusterConfig, from_kubeconfig, in_cluster

POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
FULL: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "two",
    "preferences": {},
    "clusters": [
        {"name": "one", "cluster": {"server": "https://one"}},
        {
            "name": "two",
            "cluster": {"server": "https://two:6443/path", "certificate-authority": "pki/ca.crt"},
        },
    ],
    "users": [{"name": "anonymous", "user": None}, {"name": "somebody", "user": {"token": "geheim"}}],
    "contexts": [
        {"name": "one", "context": {"cluster": "one", "user": "anonymous"}},
        {"name": "two", "context": {"cluster": "two", "user": "somebody", "namespace": "default"}},
    ],
}


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """The folder of a pod's ServiceAccount."""
    for name in ("ca.crt", "token", "namespace"):
        (tmp_path / name).write_text(name)
    return tmp_path


Write = Callable[[object], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a kubeconfig file."""

    def written(content: object) -> Path:
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(content))
        return path

    return written


def changed(user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None) -> dict[str, Any]:
    """``FULL`` with another user or cluster in its current context."""
    return FULL | {
        "users": [{"name": "somebody", "user": user or {}}],
        "clusters": [{"name": "two", "cluster": {"server": "https://two", **(cluster or {})}}],
    }


# --- in a pod -----------------------------------------------------------------------------------------


def test_a_pod_uses_the_files_of_its_service_account(account: Path) -> None:
    assert in_cluster(POD, account) == ClusterConfig(
        "https://10.96.0.1:443", authority=account / "ca.crt", token=account / "token"
    )


def test_an_ipv6_address_gets_brackets(account: Path) -> None:
    config = in_cluster(POD | {"KUBERNETES_SERVICE_HOST": "fd00::1"}, account)
    assert config.server == "https://[fd00::1]:443"


@pytest.mark.parametrize("name", sorted(POD))
@pytest.mark.parametrize("value", ["", None])
def test_outside_of_a_pod_the_error_names_the_option(account: Path, name: str, value: str | None) -> None:
    environment = {**POD, name: value} if value is not None else {key: POD[key] for key in POD if key != name}
    with pytest.raises(FailedPrecondition, match=r"cannot reach Kubernetes: .*use --kubeconfig FILE"):
        in_cluster(environment, account)


@pytest.mark.parametrize("name", ["ca.crt", "token"])
def test_a_pod_without_a_token_is_told_what_to_set(account: Path, name: str) -> None:
    (account / name).unlink()
    with pytest.raises(FailedPrecondition, match=f"{name} does not exist; set automountServiceAccountToken"):
        in_cluster(POD, account)


def test_without_a_file_it_is_the_cluster_of_the_pod(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(FailedPrecondition, match="KUBERNETES_SERVICE_HOST"):
        config_module.load(None)


# --- kubeconfig ---------------------------------------------------------------------------------------


def test_a_kubeconfig_file_gives_cluster_and_user_of_its_current_context(write: Write) -> None:
    path = write(FULL)
    assert config_module.load(path) == ClusterConfig(
        "https://two:6443/path", authority=path.parent / "pki/ca.crt", token=b"geheim"
    )


def test_a_user_may_have_no_credentials(write: Write) -> None:
    assert from_kubeconfig(write(FULL | {"current-context": "one"})) == ClusterConfig("https://one")


def test_data_counts_more_than_a_file(write: Write) -> None:
    data = base64.b64encode(b"PEM").decode()
    names = ("client-certificate", "client-key")
    user = dict.fromkeys(names, "/file") | {f"{name}-data": data for name in names}
    cluster = {"certificate-authority": "/file", "certificate-authority-data": data}
    assert from_kubeconfig(write(changed(user, cluster))) == ClusterConfig(
        "https://two", authority=b"PEM", certificate=b"PEM", key=b"PEM"
    )


def test_files_are_relative_to_the_kubeconfig_file(write: Write) -> None:
    path = write(changed({"client-certificate": "a.crt", "client-key": "/b.key"}))
    config = from_kubeconfig(path)
    assert (config.certificate, config.key) == (path.parent / "a.crt", Path("/b.key"))


def test_a_token_file_counts_more_than_a_token(write: Write) -> None:
    path = write(changed({"token": "geheim", "tokenFile": "token"}))
    assert from_kubeconfig(path).token == path.parent / "token"


def test_the_name_of_the_certificate_can_be_given(write: Write) -> None:
    config = from_kubeconfig(write(changed(cluster={"tls-server-name": "api"})))
    assert config.server_name == "api"


def test_empty_settings_are_as_good_as_missing_ones(write: Write) -> None:
    empty = {"proxy-url": "", "tls-server-name": "", "insecure-skip-tls-verify": False}
    config = from_kubeconfig(write(changed({"exec": None, "username": "", "token": ""}, empty)))
    assert config == ClusterConfig("https://two")


@pytest.mark.parametrize(
    ("user", "cluster", "name"),
    [
        ({"exec": {"command": "aws"}}, {}, "exec"),
        ({"auth-provider": {"name": "oidc"}}, {}, "auth-provider"),
        ({"username": "admin"}, {}, "username"),
        ({"password": "geheim"}, {}, "password"),
        ({"as": "system:admin"}, {}, "as"),
        ({}, {"proxy-url": "http://proxy"}, "proxy-url"),
        ({}, {"insecure-skip-tls-verify": True}, "insecure-skip-tls-verify"),
    ],
)
def test_what_is_not_supported_is_named(
    write: Write, user: dict[str, Any], cluster: dict[str, Any], name: str
) -> None:
    with pytest.raises(FailedPrecondition, match=f"uses {name}, which this driver does not support"):
        from_kubeconfig(write(changed(user, cluster)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (FULL | {"current-context": "three"}, "context 'three', but it has only 'one', 'two'"),
        (FULL | {"clusters": []}, "cluster 'two', but it has only none"),
        (FULL | {"users": []}, "user 'somebody', but it has only none"),
        ({}, "context '', but it has only none"),
        ([], "Expected `object`"),
        (changed({"token": 5}), "Expected `str"),
        (changed({"client-key-data": "geheim!"}), "client-key-data is not base64"),
        (changed({"client-key-data": "gehäim"}), "client-key-data is not base64"),
        (changed(cluster={"server": "http://two"}), "only https is supported"),
        (changed(cluster={"server": ""}), "only https is supported"),
        (changed(cluster={"server": "https://[two"}), "is not a URL"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained_without_its_secrets(
    write: Write, content: object, words: str
) -> None:
    with pytest.raises(FailedPrecondition, match=words) as caught:
        from_kubeconfig(write(content))
    assert str(caught.value).startswith("cannot reach Kubernetes: ")
    assert "geh" not in str(caught.value)


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    with pytest.raises(FailedPrecondition, match=r"cannot reach Kubernetes: .*kubeconfig: cannot be read"):
        from_kubeconfig(path)
    path.write_text("clusters: [")
    with pytest.raises(FailedPrecondition, match=r"cannot reach Kubernetes: .*kubeconfig: line 1"):
        from_kubeconfig(path)


def test_a_configuration_cannot_change() -> None:
    config = ClusterConfig("https://one")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.server = "https://two"  # type: ignore[misc]
