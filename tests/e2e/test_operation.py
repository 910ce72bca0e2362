"""Restarts, failures, upgrades, and faults of the array while volumes are in use."""

from __future__ import annotations

import time

import pytest

from tests.commands import CommandFailed
from tests.e2e.cluster import DRIVER, NAMESPACE, Cluster
from tests.e2e.kubernetes import Kubernetes, Object
from tests.e2e.processes import await_true
from tests.e2e.space import Space, is_running, pod_spec

_CONTROLLER = "app.kubernetes.io/component=controller"
_NODE = "app.kubernetes.io/component=node"


def _driver_pods(kubernetes: Kubernetes, labels: str) -> list[Object]:
    return kubernetes.list("pods", NAMESPACE, labels=labels)


def _name(thing: Object) -> str:
    name: str = thing["metadata"]["name"]
    return name


def _until_driver_runs(kubernetes: Kubernetes, labels: str, count: int, *, without: set[str]) -> None:
    def so() -> bool:
        pods = _driver_pods(kubernetes, labels)
        return len(pods) == count and all(is_running(pod) and _name(pod) not in without for pod in pods)

    await_true(so, what=f"{count} new pods of {labels} running", seconds=240)


def _visits(space: Space, pod: str) -> str:
    return space.run(pod, "date >> /data/visits; sync; wc -l < /data/visits").strip()


def test_pods_run_while_the_node_plugin_restarts_and_can_be_deleted_afterwards(
    cluster: Cluster, space: Space
) -> None:
    kubernetes = cluster.kubernetes
    space.claim("data")
    space.pod("user", {"/data": "data"}, node="worker1")
    (plugin,) = [pod for pod in _driver_pods(kubernetes, _NODE) if pod["spec"]["nodeName"] == "worker1"]
    kubernetes.delete("pods", _name(plugin), NAMESPACE, grace=0)
    assert _visits(space, "user") == "1"
    _until_driver_runs(kubernetes, _NODE, 2, without={_name(plugin)})
    assert _visits(space, "user") == "2"
    space.claim("second")
    space.pod("other", {"/data": "second"}, node="worker1")
    space.remove_pod("user")
    space.pod("user", {"/data": "data"}, node="worker2")
    assert _visits(space, "user") == "3"


def test_no_volume_is_lost_or_created_twice_when_both_controllers_are_killed(
    cluster: Cluster, space: Space
) -> None:
    kubernetes = cluster.kubernetes
    before = set(cluster.array.volumes())
    killed = {_name(pod) for pod in _driver_pods(kubernetes, _CONTROLLER)}
    claims = [space.claim(f"data-{number}", storage_class="powerflex-immediate") for number in range(8)]
    for name in killed:
        kubernetes.delete("pods", name, NAMESPACE, grace=0)
    for claim in claims:
        space.volume(claim, seconds=240)
    assert len(set(cluster.array.volumes()) - before) == len(claims)
    _until_driver_runs(kubernetes, _CONTROLLER, 2, without=killed)


def test_the_second_controller_takes_over_from_the_leader(cluster: Cluster, space: Space) -> None:
    kubernetes = cluster.kubernetes

    def leader() -> str:
        leases = kubernetes.list("leases", NAMESPACE)
        (lease,) = [each for each in leases if _name(each) == "csi-powerflex-dev"]
        return str(lease["spec"].get("holderIdentity") or "")

    def lives() -> bool:
        return leader() in {_name(pod) for pod in _driver_pods(kubernetes, _CONTROLLER) if is_running(pod)}

    # The lease of a leader that an earlier scenario killed expires only after some time.
    await_true(lives, what="a living controller leading")
    first = leader()
    # The containers of the pod may live a little longer than the pod.
    kubernetes.delete("pods", first, NAMESPACE, grace=0)
    await_true(lambda: leader() not in {first, ""} and lives(), what="another leader", seconds=240)
    space.claim("data", storage_class="powerflex-immediate")
    space.volume("data")
    _until_driver_runs(kubernetes, _CONTROLLER, 2, without={first})


def test_pods_run_while_their_kubelet_restarts_and_new_ones_start_afterwards(
    cluster: Cluster, space: Space
) -> None:
    machine = cluster.machines["worker1"]
    space.claim("data")
    space.pod("user", {"/data": "data"}, node="worker1")
    started = space.until_running("user")["status"]["containerStatuses"][0]["containerID"]
    machine.kubelet.kill()
    machine.kubelet.start()
    cluster.await_ready("worker1")
    space.claim("second")
    space.pod("other", {"/data": "second"}, node="worker1")
    assert _visits(space, "user") == "1"
    assert space.until_running("user")["status"]["containerStatuses"][0]["containerID"] == started
    space.remove_pod("user")
    assert cluster.array.hosts_of(space.array_id("second")) == {"worker1"}


def test_pods_run_while_the_gateway_is_down_for_a_minute_and_all_calls_succeed_afterwards(
    cluster: Cluster, space: Space
) -> None:
    space.claim("data")
    space.pod("user", {"/data": "data"}, node="worker1")
    cluster.array.pause_gateway()
    try:
        space.claim("asked-meanwhile")
        space.pod("late", {"/data": "asked-meanwhile"}, node="worker2", wait=False)
        space.kubernetes.delete("pods", "user", space.name)
        space.pod("again", {"/data": "data"}, node="worker1", wait=False)
        time.sleep(60)  # after this time every retry waits for its longest interval
    finally:
        cluster.array.resume_gateway()
    space.until_running("late", seconds=240)
    space.until_running("again", seconds=240)
    assert _visits(space, "again") == "1"


def test_a_lost_node_is_fenced_and_its_pod_runs_elsewhere(cluster: Cluster, space: Space) -> None:
    kubernetes, array = cluster.kubernetes, cluster.array
    lost = cluster.machines["worker2"]
    labels = {"app": "survivor"}
    space.claim("data")  # ext4, because both workers have one kernel, which refuses two mounts of one xfs
    kubernetes.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": space.name},
            "spec": {
                "replicas": 1,
                "serviceName": "db",
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": pod_spec({"/data": "data"}) | _prefers("worker2"),
                },
            },
        }
    )
    pod = space.until_running("db-0")
    assert pod["spec"]["nodeName"] == "worker2"
    assert _visits(space, "db-0") == "1"
    (mount,) = [
        point
        for point in lost.run("findmnt", "--raw", "--noheadings", "--output", "TARGET").stdout.split()
        if pod["metadata"]["uid"] in point and "volumes/kubernetes.io~csi" in point
    ]
    lost.crash()
    try:
        cluster.await_ready("worker2", ready=False)
        taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
        kubernetes.kubectl("taint", "nodes", "worker2", taint)
        kubernetes.until(
            "pods",
            "db-0",
            space.name,
            lambda pod: pod["spec"].get("nodeName") == "worker1" and is_running(pod),
            what="running on worker1",
            seconds=240,
        )
        assert _visits(space, "db-0") == "2"
        assert array.hosts_of(space.array_id("data")) == {"worker1"}
        # The processes of the lost machine still run, but their writes do not reach the volume.
        with pytest.raises(CommandFailed, match=r"Input/output error|Read-only file system"):
            lost.run("dd", "if=/dev/zero", f"of={mount}/intruder", "bs=4096", "count=1", "conv=fsync")
    finally:
        lost.recover()
        cluster.await_ready("worker2", seconds=240)
        kubernetes.kubectl("taint", "nodes", "worker2", "node.kubernetes.io/out-of-service-")
    _until_driver_runs(kubernetes, _NODE, 2, without=set())
    assert "intruder" not in space.run("db-0", "ls /data")
    space.claim("other")
    space.pod("new", {"/data": "other"}, node="worker2")


def _prefers(node: str) -> Object:
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    preference = {"weight": 100, "preference": term}
    return {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preference]}}}


def test_an_upgrade_with_a_limit_of_volumes_keeps_pods_and_applies_to_new_ones(
    cluster: Cluster, space: Space
) -> None:
    kubernetes = cluster.kubernetes
    space.claim("data")
    space.pod("user", {"/data": "data"}, node="worker1")
    before = {name: _limit(kubernetes.get("csinodes", name)) for name in cluster.machines}
    cluster.install("--set", "node.maxVolumes=1")
    try:
        for name in cluster.machines:
            _until_limited(kubernetes, name, 1)
        assert _visits(space, "user") == "1"
        space.claim("second")
        space.pod("too-many", {"/data": "second"}, node="worker1", wait=False)
        space.until_event("too-many", "FailedScheduling", saying="volume")
        space.remove_pod("user")
        space.until_running("too-many")
    finally:
        cluster.install()
    for name, limit in before.items():
        _until_limited(kubernetes, name, limit)


def _until_limited(kubernetes: Kubernetes, node: str, limit: int | None) -> None:
    kubernetes.until(
        "csinodes", node, None, lambda found: _limit(found) == limit, what=f"limited to {limit} volumes"
    )


def _limit(node: Object) -> int | None:
    """How many volumes a node may have. It is 0 while the driver is not registered there."""
    for driver in node["spec"]["drivers"] or ():
        if driver["name"] == DRIVER:
            count: int | None = (driver.get("allocatable") or {}).get("count")
            return count
    return 0


def test_volumes_are_kept_when_the_chart_is_uninstalled_and_can_be_used_afterwards(
    cluster: Cluster, space: Space
) -> None:
    kubernetes, array = cluster.kubernetes, cluster.array
    space.claim("data")
    space.pod("user", {"/data": "data"}, node="worker1")
    assert _visits(space, "user") == "1"
    volume_id = space.array_id("data")
    cluster.uninstall()
    try:
        assert _visits(space, "user") == "2"
        assert volume_id in array.volumes()
        assert kubernetes.find("csidrivers", DRIVER) is None
    finally:
        cluster.install()
    space.remove_pod("user")
    space.pod("user", {"/data": "data"}, node="worker2")
    assert _visits(space, "user") == "3"


def test_a_changed_password_in_the_secret_is_used_without_a_restart(cluster: Cluster, space: Space) -> None:
    kubernetes, array = cluster.kubernetes, cluster.array
    names = {_name(pod): pod["status"]["containerStatuses"] for pod in _driver_pods(kubernetes, _CONTROLLER)}
    before = array.facts["password"]
    for password in ("Changed-1!", before):
        array.restart_with_password(password)
        cluster.make_secret()
        claim = space.claim(f"after-{len(password)}", storage_class="powerflex-immediate")
        space.volume(claim, seconds=240)
    now = {_name(pod): pod["status"]["containerStatuses"] for pod in _driver_pods(kubernetes, _CONTROLLER)}
    assert {name: [each["restartCount"] for each in status] for name, status in now.items()} == {
        name: [each["restartCount"] for each in status] for name, status in names.items()
    }
