"""Quality of service as the cluster asks for it, followed through the Kubernetes API."""

from __future__ import annotations

from collections.abc import Iterator

import kubernetes.client
import pytest

from csi_powerflex import call_context
from csi_powerflex.errors import FailedPrecondition, Unavailable
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.qos import QosRequest
from csi_powerflex.qos_store import kubernetes as qos_store_module
from csi_powerflex.qos_store.kubernetes import KubernetesQosStore, connect
from tests.controller.api_server import DRIVER, ApiServer
from tests.controller.eventually import eventually

HANDLE = VolumeHandle("0123456789abcdef", "fedcba9876543210")


@pytest.fixture
def cluster() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def qos_store(cluster: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesQosStore]:
    """Not started: a test first puts what is there before."""
    monkeypatch.setattr(qos_store_module, "_AGAIN_SECONDS", 0.05)
    configuration = kubernetes.client.Configuration(host=cluster.url)
    configuration.retries = False
    with kubernetes.client.ApiClient(configuration) as api:
        made = KubernetesQosStore(DRIVER, api)
        yield made
        made.close()


def test_a_volumes_wish_is_its_storage_class_overridden_by_its_attributes_class(
    cluster: ApiServer, qos_store: KubernetesQosStore
) -> None:
    cluster.put_class("gold", iopsLimit="5000")
    cluster.put_volume(str(HANDLE), "gold", iopsLimit="100", bandwidthLimitInKbps="1024")
    qos_store.start()
    assert qos_store.current(HANDLE) == QosRequest(iops=5000, bandwidth_kbps=1024)


def test_a_volume_that_the_cluster_does_not_know_has_no_wish(qos_store: KubernetesQosStore) -> None:
    qos_store.start()
    assert qos_store.current(HANDLE) == QosRequest()


def test_changes_of_volume_and_class_are_followed(cluster: ApiServer, qos_store: KubernetesQosStore) -> None:
    cluster.put_class("gold", iopsLimit="5000")
    cluster.put_class("iron", iopsLimit="50")
    cluster.put_volume(str(HANDLE), "gold")
    qos_store.start()
    assert qos_store.current(HANDLE).iops == 5000
    cluster.put_volume(str(HANDLE), "iron")
    eventually(lambda: qos_store.current(HANDLE).iops == 50)
    cluster.put_class("iron", iopsLimit="60")
    eventually(lambda: qos_store.current(HANDLE).iops == 60)


def test_what_was_just_changed_counts_until_the_volume_shows_it(
    cluster: ApiServer, qos_store: KubernetesQosStore
) -> None:
    cluster.put_class("gold", iopsLimit="5000")
    cluster.put_class("iron", iopsLimit="50")
    cluster.put_volume(str(HANDLE), "gold")
    qos_store.start()
    qos_store.remember(HANDLE, QosRequest(iops=49))
    assert qos_store.current(HANDLE).iops == 49
    cluster.put_volume(str(HANDLE), "iron")
    eventually(lambda: qos_store.current(HANDLE).iops == 50)


def test_a_history_that_is_gone_is_listed_anew(cluster: ApiServer, qos_store: KubernetesQosStore) -> None:
    cluster.put_volume(str(HANDLE), iopsLimit="100")
    qos_store.start()
    assert qos_store.current(HANDLE).iops == 100
    cluster.forget_history()
    cluster.put_volume(str(HANDLE), iopsLimit="200")
    eventually(lambda: qos_store.current(HANDLE).iops == 200)


def test_while_the_api_is_away_memory_answers(cluster: ApiServer, qos_store: KubernetesQosStore) -> None:
    cluster.put_volume(str(HANDLE), iopsLimit="100")
    qos_store.start()
    assert qos_store.current(HANDLE).iops == 100
    cluster.away = True
    cluster.put_volume(str(HANDLE), iopsLimit="200")
    assert qos_store.current(HANDLE).iops == 100
    cluster.away = False
    eventually(lambda: qos_store.current(HANDLE).iops == 200)


def test_before_the_first_list_a_call_waits_and_then_says_what_for(
    cluster: ApiServer, qos_store: KubernetesQosStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qos_store_module, "_READ_SECONDS", 0.1)
    cluster.away = True
    qos_store.start()
    with (
        call_context.entered(call_context.CallContext("ControllerPublishVolume", "x")),
        pytest.raises(Unavailable, match="has not told its persistentvolumes yet"),
    ):
        qos_store.current(HANDLE)


@pytest.mark.parametrize("parameters", [None, {"iopsLimit": "3"}])
def test_a_class_that_cannot_be_used_makes_the_volume_wait(
    cluster: ApiServer, qos_store: KubernetesQosStore, parameters: dict[str, str] | None
) -> None:
    if parameters is not None:
        cluster.put_class("odd", **parameters)
    cluster.put_volume(str(HANDLE), "odd")
    qos_store.start()
    with pytest.raises(Unavailable, match="VolumeAttributesClass odd, which"):
        qos_store.current(HANDLE)


def test_without_a_cluster_the_controller_says_so() -> None:
    with pytest.raises(FailedPrecondition, match="cannot reach Kubernetes"):
        connect(DRIVER, None)
