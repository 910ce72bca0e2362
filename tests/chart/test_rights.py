"""Who may do what: rights in the cluster and on the host, each no wider than it is needed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart import helm as chart
from tests.chart.helm import SNAPSHOT_APIS, Case, Manifest

Right = tuple[str, str, str]
"""API group, resource, verb."""

LATEST = Case("minimal", "1.37", SNAPSHOT_APIS)


def rights(*rows: str) -> set[Right]:
    """Rows of ``group/resource: verb verb``, the core group empty."""
    found = set()
    for row in rows:
        where, _, verbs = row.partition(": ")
        group, _, resource = where.partition("/")
        found |= {(group, resource, verb) for verb in verbs.split()}
    return found


# What each part asks of the API server, in words of its own documentation and code. A role that grants
# another right fails, and so does one that lacks any of these.
NEEDED = {
    "driver": rights(
        "/persistentvolumes: get list watch",
        "/persistentvolumeclaims: list",
        "/events: create",
        "snapshot.storage.k8s.io/volumesnapshotcontents: list",
        "storage.k8s.io/volumeattributesclasses: list watch",
        "storage.k8s.io/csinodes: list watch",
    ),
    "provisioner": rights(
        "/persistentvolumes: get list watch create patch delete",
        "/persistentvolumeclaims: get list watch update",
        "/nodes: get list watch",
        "/events: list watch create update patch",
        "storage.k8s.io/storageclasses: get list watch",
        "storage.k8s.io/csinodes: get list watch",
        "storage.k8s.io/volumeattachments: get list watch",
        "storage.k8s.io/volumeattributesclasses: get",
        "snapshot.storage.k8s.io/volumesnapshots: get list watch update",
        "snapshot.storage.k8s.io/volumesnapshotcontents: get list",
    ),
    "attacher": rights(
        "/persistentvolumes: get list watch patch",
        "storage.k8s.io/csinodes: get list watch",
        "storage.k8s.io/volumeattachments: get list watch patch",
        "storage.k8s.io/volumeattachments/status: patch",
    ),
    "resizer": rights(
        "/persistentvolumes: get list watch patch",
        "/persistentvolumeclaims: get list watch",
        "/persistentvolumeclaims/status: patch",
        "/events: list watch create update patch",
        "storage.k8s.io/volumeattributesclasses: get list watch",
    ),
    "snapshotter": rights(
        "/events: list watch create update patch",
        "snapshot.storage.k8s.io/volumesnapshotclasses: get list watch",
        "snapshot.storage.k8s.io/volumesnapshotcontents: get list watch update patch",
        "snapshot.storage.k8s.io/volumesnapshotcontents/status: update patch",
        "groupsnapshot.storage.k8s.io/volumegroupsnapshotclasses: get list watch",
        "groupsnapshot.storage.k8s.io/volumegroupsnapshotcontents: get list watch update patch",
        "groupsnapshot.storage.k8s.io/volumegroupsnapshotcontents/status: update patch",
    ),
}
NEEDED_IN_OWN_NAMESPACE = {
    "leases": rights("coordination.k8s.io/leases: get create update", "/events: create patch"),
    "capacity": rights(
        "storage.k8s.io/csistoragecapacities: get list watch create update patch delete",
        "/pods: get",
        "apps/replicasets: get",
    ),
}
NEEDED_BY_NODES = {"node": rights("/nodes: get")}
NEEDED_BY_OPERATOR = {
    "operator": rights(
        "powerflex.dev/snapshotschedules: get list watch patch",
        "powerflex.dev/snapshotschedules/status: patch",
        "powerflex.dev/volumecopies: get list watch patch",
        "powerflex.dev/volumecopies/status: patch",
        "powerflex.dev/volumeexports: get list watch patch",
        "powerflex.dev/volumeexports/status: patch",
        "powerflex.dev/volumeimages: get list watch patch",
        "powerflex.dev/volumeimages/status: patch",
        "powerflex.dev/volumemoves: get list watch patch",
        "powerflex.dev/volumemoves/status: patch",
        "powerflex.dev/volumereverts: get list watch patch",
        "powerflex.dev/volumereverts/status: patch",
        "/events: create",
        "/persistentvolumes: get list create patch delete",
        "/persistentvolumeclaims: get list watch create delete",
        "/pods: list",
        "/pods/log: get",
        "apps/statefulsets: list",
        "batch/jobs: get list create delete",
        "networking.k8s.io/networkpolicies: get list create delete",
        "storage.k8s.io/storageclasses: get",
        "storage.k8s.io/csinodes: list",
        "storage.k8s.io/volumeattachments: list",
        "storage.k8s.io/volumeattributesclasses: get list",
        "snapshot.storage.k8s.io/volumesnapshotcontents: get list create patch delete",
        "snapshot.storage.k8s.io/volumesnapshots: get list create delete",
        "snapshot.storage.k8s.io/volumesnapshotclasses: get list",
        "groupsnapshot.storage.k8s.io/volumegroupsnapshots: get list create delete",
    )
}
SECRETS = rights("/secrets: get list")
STALE_MAPPINGS = rights("storage.k8s.io/volumeattachments: list")
EVENTS = rights("/persistentvolumes: get", "/events: create")
ORPHANS = rights("/persistentvolumeclaims: list")


def granted(role: Manifest) -> set[Right]:
    found = set()
    for rule in role["rules"]:
        assert set(rule) == {"apiGroups", "resources", "verbs"}
        for group in rule["apiGroups"]:
            found |= {(group, resource, verb) for resource in rule["resources"] for verb in rule["verbs"]}
    return found


def by_part(manifests: list[Manifest], kind: str) -> dict[str, set[Right]]:
    roles = chart.of_kind(manifests, kind)
    return {role["metadata"]["name"].rpartition("-")[2]: granted(role) for role in roles}


def test_each_part_has_exactly_the_rights_it_needs(every_case: dict[Case, list[Manifest]]) -> None:
    manifests = every_case[LATEST]
    assert by_part(manifests, "ClusterRole") == NEEDED
    assert by_part(manifests, "Role") == NEEDED_IN_OWN_NAMESPACE


def test_no_installation_grants_more(manifests: list[Manifest]) -> None:
    for part, found in (by_part(manifests, "ClusterRole") | by_part(manifests, "Role")).items():
        more = SECRETS | (STALE_MAPPINGS if part == "driver" else set())
        assert (
            found <= (NEEDED | NEEDED_IN_OWN_NAMESPACE | NEEDED_BY_NODES | NEEDED_BY_OPERATOR)[part] | more
        ), part
        assert not any("*" in right for right in found)


def test_what_reverting_in_the_pod_needs_besides_is_the_list_of_pods_alone(
    every_case: dict[Case, list[Manifest]],
) -> None:
    # All containers of the pod have one account. docs/reverting.md says how to add the rest for a while.
    account = set().union(*by_part(every_case[LATEST], "ClusterRole").values())
    needed = rights(
        "/persistentvolumes: get list patch",
        "/persistentvolumeclaims: list",
        "/pods: list",
        "storage.k8s.io/volumeattachments: list",
        "storage.k8s.io/volumeattributesclasses: list",
        "storage.k8s.io/csinodes: list",
        "snapshot.storage.k8s.io/volumesnapshotcontents: list",
    )
    assert needed - account == rights("/pods: list")
    assert ("", "persistentvolumes", "patch") not in by_part(every_case[LATEST], "ClusterRole")["driver"]


def test_secrets_are_read_only_where_that_is_asked_for(every_case: dict[Case, list[Manifest]]) -> None:
    for case, manifests in every_case.items():
        reads = {part for part, found in by_part(manifests, "ClusterRole").items() if found & SECRETS}
        asked = {"provisioner", "attacher", "resizer", "snapshotter"} if case.values == "full" else set()
        assert reads == asked, case.name


def test_the_driver_reads_attachments_only_where_it_may_remove_mappings(
    every_case: dict[Case, list[Manifest]],
) -> None:
    for case, manifests in every_case.items():
        driver = by_part(manifests, "ClusterRole").get("driver", set())
        arguments = [text for _, _, item in chart.containers(manifests) for text in item.get("args", ())]
        allowed = case.values == "full"
        assert bool(driver & STALE_MAPPINGS) == allowed, case.name
        assert ("--remove-stale-mappings" in arguments) == allowed, case.name


def test_the_driver_writes_events_and_counts_orphans_only_where_the_values_say_so(
    every_case: dict[Case, list[Manifest]],
) -> None:
    for case, manifests in every_case.items():
        driver = by_part(manifests, "ClusterRole").get("driver", set())
        arguments = [text for _, _, item in chart.containers(manifests) for text in item.get("args", ())]
        wanted = bool(driver) and case.values != "full"
        assert bool(driver & EVENTS) == ("--events" in arguments) == wanted, case.name
        assert bool(driver & ORPHANS) == ("--orphans-seconds=3600" in arguments) == wanted, case.name


def test_a_cluster_whose_nodes_the_driver_does_not_read_cannot_have_mappings_removed(helm: str) -> None:
    case = Case("minimal", "1.33", settings=("controller.removeStaleMappings=true",))
    done = chart.template(helm, case)
    assert done.returncode != 0
    assert "controller.removeStaleMappings needs Kubernetes 1.34 or newer" in done.stderr


def test_each_role_is_bound_to_one_account_and_only_one_can_be_that_of_the_nodes(
    manifests: list[Manifest],
) -> None:
    for kind in ("Role", "ClusterRole"):
        bindings = chart.of_kind(manifests, f"{kind}Binding")
        bound = [binding["roleRef"]["name"] for binding in bindings]
        assert sorted(bound) == sorted(role["metadata"]["name"] for role in chart.of_kind(manifests, kind))
        for binding in bindings:
            assert binding["roleRef"]["kind"] == kind
            name = binding["roleRef"]["name"]
            part = next((end for end in ("-node", "-operator") if name.endswith(end)), "-controller")
            account = chart.named(manifests, "ServiceAccount", part)["metadata"]
            assert binding["subjects"] == [
                {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
            ]


def test_without_rbac_there_are_no_roles(helm: str) -> None:
    manifests = chart.rendered(helm, Case("minimal", "1.37", settings=("rbac.create=false",)))
    assert not [each for each in manifests if "rbac.authorization.k8s.io" in each["apiVersion"]]


def test_rights_of_one_replica_do_without_leases(every_case: dict[Case, list[Manifest]]) -> None:
    manifests = next(found for case, found in every_case.items() if case.values == "one_replica")
    assert set(by_part(manifests, "Role")) == {"capacity"}
    arguments = [argument for _, _, item in chart.containers(manifests) for argument in item.get("args", ())]
    assert "--leader-election" not in arguments


def test_only_the_controller_and_the_operator_get_a_token(manifests: list[Manifest]) -> None:
    for component, spec in chart.pods(manifests):
        account = spec.get("serviceAccountName", "default")
        assert spec.get("automountServiceAccountToken", True) == (component in ("controller", "operator")), (
            component
        )
        # What reads the node's labels gets one by its own volume: see test_zones.py.
        assert account.endswith(component) == (component in ("controller", "node", "operator"))


# --- on the host -----------------------------------------------------------------------------------

PRIVILEGED = {("node", "driver"), ("simulator", "simulator")}


def test_only_what_mounts_for_the_host_is_privileged(manifests: list[Manifest]) -> None:
    for component, name, container in chart.containers(manifests):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        if (component, name) in PRIVILEGED:
            assert context["privileged"] is True
        else:
            assert context == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_the_controller_and_the_test_run_without_root(manifests: list[Manifest]) -> None:
    found = 0
    for component, spec in chart.pods(manifests):
        if component in ("controller", "test"):
            found += 1
            context = spec["securityContext"]
            assert context["runAsNonRoot"] is True
            assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] != 0
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert found


def test_only_the_node_and_the_simulator_reach_into_the_host(manifests: list[Manifest]) -> None:
    for component, spec in chart.pods(manifests):
        assert "hostIPC" not in spec
        paths = {volume["hostPath"]["path"] for volume in spec.get("volumes", ()) if "hostPath" in volume}
        assert bool(paths) == (component in ("node", "simulator")), component


def test_the_host_s_processes_are_seen_by_the_nodes_alone_and_only_to_start_the_sdc(
    every_case: dict[Case, list[Manifest]],
) -> None:
    for case, manifests in every_case.items():
        seeing = [component for component, spec in chart.pods(manifests) if "hostPID" in spec]
        assert seeing == (["node"] if case.values == "full" else []), case.name


def test_mounts_travel_to_the_host_only_from_where_they_must(manifests: list[Manifest]) -> None:
    found: list[tuple[str, str, Any]] = []
    for component, name, container in chart.containers(manifests):
        for mount in container.get("volumeMounts", ()):
            if "mountPropagation" in mount:
                found.append((component, name, mount["mountPropagation"]))  # noqa: PERF401 - reads better
    assert set(found) <= {(*place, "Bidirectional") for place in PRIVILEGED}
    assert ("node", "driver", "Bidirectional") in found


def test_every_container_has_requests_and_a_memory_limit(manifests: list[Manifest]) -> None:
    for component, name, container in chart.containers(manifests):
        resources = container["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys(), (component, name)
        assert "memory" in resources["limits"], (component, name)


def test_no_pod_gets_the_variables_of_services(manifests: list[Manifest]) -> None:
    # A Service may be called so that a variable of it, such as ..._PORT, is one that a command reads.
    assert all(spec["enableServiceLinks"] is False for _, spec in chart.pods(manifests))


@pytest.mark.parametrize("part", ["systems.yaml", "password", "tls.key"])
def test_secrets_are_in_secrets_alone(manifests: list[Manifest], part: str) -> None:
    holders = {
        each["kind"] for each in manifests if part in {**each.get("data", {}), **each.get("stringData", {})}
    }
    assert holders <= {"Secret"}
    maps = [each["metadata"]["name"] for each in chart.of_kind(manifests, "ConfigMap")]
    assert all(name.endswith("-dashboard") for name in maps)
