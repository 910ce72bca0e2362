"""The requested QoS limits as the cluster has them, followed through the Kubernetes API."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from csi_powerflex import call_context
from csi_powerflex.errors import FailedPrecondition, Unavailable
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.kube.client import Client
from csi_powerflex.model.qos import QosRequest
from csi_powerflex.model.window import WINDOW
from csi_powerflex.qos_store import kubernetes
from csi_powerflex.qos_store.kubernetes import CLASSES, VOLUMES, KubernetesQosStore, connect
from tests.controller.api_server import DRIVER, Cluster
from tests.controller.eventually import PATIENCE_SECONDS, eventually

HANDLE = VolumeHandle("0123456789abcdef", "fedcba9876543210")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as server:
        yield server


@pytest.fixture
def store(cluster: Cluster) -> Iterator[KubernetesQosStore]:
    """Not started, so that a test can create objects before."""
    made = KubernetesQosStore(DRIVER, Client(cluster.config))
    yield made
    made.close()


def test_the_limits_of_the_attributes_class_replace_those_of_the_storage_class(
    cluster: Cluster, store: KubernetesQosStore
) -> None:
    cluster.put_class("gold", iopsLimit="5000")
    cluster.put_volume(str(HANDLE), "gold", iopsLimit="100", bandwidthLimitInKbps="1024")
    store.start()
    assert store.current(HANDLE) == QosRequest(iops=5000, bandwidth_kbps=1024)


def test_a_volume_that_the_cluster_does_not_know_has_no_limits(store: KubernetesQosStore) -> None:
    store.start()
    assert store.current(HANDLE) == QosRequest()


def test_volumes_and_classes_of_other_drivers_are_ignored(
    cluster: Cluster, store: KubernetesQosStore
) -> None:
    cluster.put_volume(str(HANDLE), "gold", driver="other.example", iopsLimit="100")
    store.start()
    assert store.current(HANDLE) == QosRequest()
    cluster.put_class("gold", driver="other.example", iopsLimit="5000")
    cluster.put_volume(str(HANDLE), "gold", iopsLimit="100")
    with pytest.raises(Unavailable, match="gold, which does not exist"):
        eventually(lambda: store.current(HANDLE) != QosRequest())


def test_a_volume_without_csi_is_ignored(cluster: Cluster, store: KubernetesQosStore) -> None:
    cluster.put(VOLUMES, "pv-nfs", {"spec": {"nfs": {"server": "a", "path": "/b"}}})
    store.start()
    assert store.current(HANDLE) == QosRequest()


def test_changes_of_volume_and_class_are_followed(cluster: Cluster, store: KubernetesQosStore) -> None:
    cluster.put_class("gold", iopsLimit="5000")
    cluster.put_class("iron", iopsLimit="50")
    cluster.put_volume(str(HANDLE), "gold")
    store.start()
    assert store.current(HANDLE).iops == 5000
    cluster.put_volume(str(HANDLE), "iron")
    eventually(lambda: store.current(HANDLE).iops == 50)
    cluster.put_class("iron", iopsLimit="60")
    eventually(lambda: store.current(HANDLE).iops == 60)
    cluster.remove_volume(str(HANDLE))
    eventually(lambda: store.current(HANDLE) == QosRequest())


def test_a_change_of_the_class_is_reported_once_and_others_are_not(
    cluster: Cluster, store: KubernetesQosStore
) -> None:
    changed: queue.Queue[VolumeHandle] = queue.Queue()
    other = VolumeHandle("0123456789abcdef", "0000000000000001")
    for name in ("gold", "iron"):
        cluster.put_class(name, iopsLimit="50")
    cluster.put_volume(str(HANDLE), "gold")
    store.start(changed.put)
    store.current(HANDLE)
    cluster.put_volume(str(HANDLE), "gold", iopsLimit="70")
    cluster.put_volume("no handle of this driver", "gold")
    cluster.put_volume("no handle of this driver", "iron")
    cluster.put_volume(str(other), "gold")
    cluster.put_volume(str(other), "iron")
    cluster.put_volume(str(HANDLE), "iron")
    assert [changed.get(timeout=PATIENCE_SECONDS) for _ in range(2)] == [other, HANDLE]
    assert changed.empty()


def test_a_volume_that_a_new_persistent_volume_took_over_keeps_its_class(
    cluster: Cluster, store: KubernetesQosStore
) -> None:
    changed: queue.Queue[VolumeHandle] = queue.Queue()
    cluster.put_class("gold", iopsLimit="1000")
    cluster.put_volume(str(HANDLE), "gold")
    store.start(changed.put)
    assert store.current(HANDLE).iops == 1000
    cluster.put_volume(str(HANDLE), "gold", name="pv-new")
    cluster.remove_volume(str(HANDLE))
    cluster.put_class("gold", iopsLimit="2000")
    cluster.put_volume("0123456789abcdef-0000000000000001", "gold")
    eventually(lambda: store.current(VolumeHandle("0123456789abcdef", "0000000000000001")).iops == 2000)
    assert store.current(HANDLE).iops == 2000
    assert changed.empty()


@pytest.mark.parametrize("left", ["pv-one", "pv-two"])
def test_of_two_persistent_volumes_with_one_handle_the_remaining_one_counts(
    cluster: Cluster, store: KubernetesQosStore, left: str
) -> None:
    changed: queue.Queue[VolumeHandle] = queue.Queue()
    cluster.put_class("gold", iopsLimit="1000")
    cluster.put_class("iron", iopsLimit="50")
    store.start(changed.put)
    cluster.put_volume(str(HANDLE), "gold", name="pv-one")
    cluster.put_volume(str(HANDLE), "iron", name="pv-two")
    eventually(lambda: store.current(HANDLE).iops == 50)
    assert changed.get(timeout=PATIENCE_SECONDS) == HANDLE
    cluster.remove(VOLUMES, "pv-two" if left == "pv-one" else "pv-one")
    expected = {"pv-one": 1000, "pv-two": 50}[left]
    eventually(lambda: store.current(HANDLE).iops == expected)
    cluster.remove(VOLUMES, left)
    eventually(lambda: store.current(HANDLE) == QosRequest())


# --- what the cluster does not show yet ---------------------------------------------------------------


def test_a_request_is_used_until_the_volume_shows_its_class(
    cluster: Cluster, store: KubernetesQosStore
) -> None:
    cluster.put_class("gold", iopsLimit="5000")
    cluster.put_class("iron", iopsLimit="50")
    cluster.put_volume(str(HANDLE), "gold")
    store.start()
    assert store.current(HANDLE).iops == 5000
    store.set(HANDLE, QosRequest(iops=49))
    assert store.current(HANDLE).iops == 49
    cluster.put_volume(str(HANDLE), "iron")
    eventually(lambda: store.current(HANDLE).iops == 50)


def test_the_initial_request_is_used_until_the_volume_is_seen(
    cluster: Cluster, store: KubernetesQosStore
) -> None:
    store.start()
    store.set_initial(HANDLE, QosRequest(iops=100))
    store.set_initial(HANDLE, QosRequest(iops=200))
    assert store.current(HANDLE).iops == 100
    cluster.put_volume(str(HANDLE), iopsLimit="300")
    eventually(lambda: store.current(HANDLE).iops == 300)
    store.set_initial(HANDLE, QosRequest(iops=400))
    assert store.current(HANDLE).iops == 300


def test_a_request_that_the_cluster_never_shows_ends(cluster: Cluster) -> None:
    store = KubernetesQosStore(DRIVER, Client(cluster.config), pending_seconds=0.0)
    store.start()
    store.set(HANDLE, QosRequest(iops=100))
    assert store.current(HANDLE) == QosRequest()
    store.close()


def test_a_request_counts_until_its_call_is_repeated(
    cluster: Cluster, store: KubernetesQosStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a volume moves, its PersistentVolume has the former class, and the call comes every 5 minutes."""
    cluster.put_volume(str(HANDLE), iopsLimit="100")
    store.start()
    store.set(HANDLE, QosRequest(iops=200))
    later = time.monotonic() + 300
    monkeypatch.setattr(kubernetes, "time", SimpleNamespace(monotonic=lambda: later))
    assert store.current(HANDLE).iops == 200


def test_a_deleted_volume_has_no_request(store: KubernetesQosStore) -> None:
    store.start()
    store.set(HANDLE, QosRequest(iops=100))
    store.delete(HANDLE)
    assert store.current(HANDLE) == QosRequest()
    store.delete(HANDLE)


# --- errors -------------------------------------------------------------------------------------------


def test_while_the_api_is_down_the_last_state_is_used(cluster: Cluster, store: KubernetesQosStore) -> None:
    cluster.put_volume(str(HANDLE), iopsLimit="100")
    store.start()
    assert store.current(HANDLE).iops == 100
    cluster.wait_for_watches(2)
    cluster.down = True
    cluster.break_watches()
    cluster.put_volume(str(HANDLE), iopsLimit="200")
    assert store.current(HANDLE).iops == 100
    cluster.down = False
    eventually(lambda: store.current(HANDLE).iops == 200)


def test_a_forgotten_history_is_listed_again(cluster: Cluster, store: KubernetesQosStore) -> None:
    cluster.put_class("gold", iopsLimit="5000")
    cluster.put_volume(str(HANDLE), "gold")
    store.start()
    assert store.current(HANDLE).iops == 5000
    cluster.wait_for_watches(2)
    cluster.down = True
    cluster.break_watches()
    cluster.remove_class("gold")
    cluster.put_volume(str(HANDLE), iopsLimit="200")
    cluster.forget_history()
    cluster.down = False

    def is_200() -> bool:
        # The classes may be listed before the volumes.
        with contextlib.suppress(Unavailable):
            return store.current(HANDLE).iops == 200
        return False

    eventually(is_200)
    eventually(lambda: (cluster.lists(VOLUMES), cluster.lists(CLASSES)) == (2, 2))


def test_before_the_first_list_a_call_waits_and_its_error_has_the_reason(
    cluster: Cluster, store: KubernetesQosStore
) -> None:
    cluster.down = True
    store.start()
    with (
        call_context.background("test", 0.1),
        pytest.raises(Unavailable, match="has not listed its persistentvolumes yet"),
    ):
        store.current(HANDLE)


@pytest.mark.parametrize("parameters", [None, {"iopsLimit": "3"}])
def test_a_class_that_cannot_be_used_is_unavailable(
    cluster: Cluster, store: KubernetesQosStore, parameters: dict[str, str] | None
) -> None:
    if parameters is not None:
        cluster.put_class("odd", **parameters)
    cluster.put_volume(str(HANDLE), "odd")
    store.start()
    with pytest.raises(Unavailable, match="VolumeAttributesClass odd, which"):
        store.current(HANDLE)


def test_invalid_limits_of_a_storage_class_are_ignored(cluster: Cluster, store: KubernetesQosStore) -> None:
    cluster.put_class("gold", iopsLimit="5000")
    cluster.put_volume(str(HANDLE), "gold", bandwidthLimitInKbps="1")
    store.start()
    assert store.current(HANDLE) == QosRequest(iops=5000)


def test_without_a_cluster_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(FailedPrecondition, match="cannot reach Kubernetes"):
        connect(DRIVER, None)


def test_a_call_that_waits_has_the_error_of_a_refused_token(cluster: Cluster) -> None:
    cluster.token = "right"
    store = KubernetesQosStore(DRIVER, Client(dataclasses.replace(cluster.config, token=b"wrong")))
    store.start()
    with call_context.background("test", 0.5), pytest.raises(Unavailable, match="answered 401: Unauthorized"):
        store.current(HANDLE)
    store.close()


@pytest.mark.parametrize("window_first", [True, False])
def test_a_window_has_no_limits_and_leaves_those_of_the_volume(
    cluster: Cluster, store: KubernetesQosStore, *, window_first: bool
) -> None:
    names = ["window", "own"] if window_first else ["own", "window"]
    cluster.put_class("gold", iopsLimit="5000")
    for name in names:
        if name == "window":
            cluster.put_volume(str(HANDLE), name=name, **{WINDOW: "true"})
        else:
            cluster.put_volume(str(HANDLE), "gold", name=name)
    store.start()
    assert store.current(HANDLE) == QosRequest(iops=5000)
    assert store.persistent_volume(str(HANDLE)) == "own"
    cluster.remove(VOLUMES, "window")
    cluster.remove(VOLUMES, "own")
    eventually(lambda: store.persistent_volume(str(HANDLE)) is None)


def test_a_window_does_not_keep_what_a_policy_has_taken(cluster: Cluster, store: KubernetesQosStore) -> None:
    cluster.put_volume(str(HANDLE), name="own", deletePolicySnapshots="true")
    cluster.put_volume(str(HANDLE), name="window", **{WINDOW: "true"})
    store.start()
    assert store.deletes_policy_snapshots(HANDLE)
