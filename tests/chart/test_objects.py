"""The objects that the chart makes: valid, right for the cluster's version, and in step with each other."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from csi_powerflex.cli.main import main
from tests.chart import helm as chart, strict
from tests.chart.helm import CHART, SNAPSHOT_APIS, VALUES, Case, Manifest

VERSIONS = ("1.29", "1.33", "1.34", "1.36", "1.37")


def test_every_object_has_only_fields_that_kubernetes_has(manifests: list[Manifest]) -> None:
    assert [fault for each in manifests for fault in strict.faults(each)] == []


def test_a_misspelt_field_is_found() -> None:
    pod = {
        "containers": [{"name": "a", "image": "b", "environmnt": []}, {"name": "c", "imagePulPolicy": "d"}]
    }
    found = strict.faults({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod})
    assert found == [
        "Pod.spec.containers[0] has no field environmnt",
        "Pod.spec.containers[1] has no field imagePulPolicy",
    ]


def driver_of(helm: str, version: str) -> dict[str, Any]:
    manifests = chart.rendered(helm, Case("minimal", version))
    return dict(chart.named(manifests, "CSIDriver", "csi.powerflex.dev")["spec"])


@pytest.mark.parametrize("version", VERSIONS)
def test_the_csi_driver_object_has_the_fields_of_the_version(helm: str, version: str) -> None:
    minor = int(version.partition(".")[2])
    expected: dict[str, Any] = {
        "attachRequired": True,
        "podInfoOnMount": False,
        "requiresRepublish": False,
        "volumeLifecycleModes": ["Persistent"],
        "fsGroupPolicy": "ReadWriteOnceWithFSType",
        "seLinuxMount": True,
        "storageCapacity": True,
    }
    if minor >= 34:
        expected["nodeAllocatableUpdatePeriodSeconds"] = 60
    if minor >= 37:
        expected["preventPodSchedulingIfMissing"] = True
    assert driver_of(helm, version) == expected


@pytest.mark.parametrize(
    ("apis", "snapshots", "groups"),
    [((), False, False), (SNAPSHOT_APIS[:1], True, False), (SNAPSHOT_APIS, True, True)],
)
def test_snapshots_are_served_as_far_as_the_cluster_has_them(
    helm: str, apis: tuple[str, ...], snapshots: bool, groups: bool
) -> None:
    classes = ('volumeSnapshotClasses=[{"name": "a"}]', 'volumeGroupSnapshotClasses=[{"name": "a"}]')
    manifests = chart.rendered(helm, Case("minimal", "1.36", apis, classes))
    names = {name: container for _, name, container in chart.containers(manifests)}
    assert ("csi-snapshotter" in names) is snapshots
    assert bool(chart.of_kind(manifests, "VolumeSnapshotClass")) is snapshots
    assert bool(chart.of_kind(manifests, "VolumeGroupSnapshotClass")) is groups
    gate = "--feature-gates=CSIVolumeGroupSnapshot=true"
    assert (gate in names.get("csi-snapshotter", {"args": []})["args"]) is groups


@pytest.mark.parametrize("apis", [(), ("populator.storage.k8s.io/v1beta1",)])
def test_copies_and_images_are_sources_that_the_validator_knows(helm: str, apis: tuple[str, ...]) -> None:
    case = Case("minimal", "1.36", (*SNAPSHOT_APIS, *apis), ("operator.enabled=true",))
    found = chart.of_kind(chart.rendered(helm, case), "VolumePopulator")
    sources = [item["sourceKind"] for item in found]
    kinds = ("VolumeCopy", "VolumeImage") if apis else ()
    assert sources == [{"group": "powerflex.dev", "kind": kind} for kind in kinds]


def test_snapshots_can_be_turned_off(helm: str) -> None:
    manifests = chart.rendered(helm, Case("minimal", "1.36", SNAPSHOT_APIS, ("snapshots.enabled=false",)))
    assert "csi-snapshotter" not in {name for _, name, _ in chart.containers(manifests)}


def test_an_existing_secret_and_three_values_are_enough(helm: str) -> None:
    command = [helm, "template", "release", str(CHART), "--kube-version", "1.36.0"]
    for value in ("clusterId=k8s1", "existingSecret=powerflex", "storageClasses[0].name=powerflex"):
        command += ["--set", value]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "secretName: powerflex" in done.stdout
    assert "kind: Secret" not in done.stdout


def test_volumes_that_containers_mount_are_there_and_none_is_idle(manifests: list[Manifest]) -> None:
    for component, spec in chart.pods(manifests):
        volumes = {volume["name"] for volume in spec.get("volumes", ())}
        containers = (*spec.get("initContainers", ()), *spec["containers"])
        mounted = {mount["name"] for item in containers for mount in item.get("volumeMounts", ())}
        assert mounted == volumes, component


def test_services_and_monitors_lead_to_ports_that_are_served(manifests: list[Manifest]) -> None:
    ports: dict[str, dict[str, int]] = {}
    for component, _, container in chart.containers(manifests):
        for port in container.get("ports", ()):
            assert port["name"] not in ports.get(component, {}), "a name serves two ports"
            assert port["containerPort"] not in ports.get(component, {}).values(), "two names have one port"
            ports.setdefault(component, {})[port["name"]] = port["containerPort"]
    services = chart.of_kind(manifests, "Service")
    for service in services:
        served = ports[service["spec"]["selector"]["app.kubernetes.io/component"]]
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in served
            if service["metadata"]["name"].endswith("metrics"):
                assert port["port"] == served[port["targetPort"]]
    for monitor in chart.of_kind(manifests, "ServiceMonitor"):
        labels = monitor["spec"]["selector"]["matchLabels"]
        (service,) = [each for each in services if labels.items() <= each["metadata"]["labels"].items()]
        names = {port["name"] for port in service["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} == names


def test_what_selects_pods_selects_those_of_one_component(manifests: list[Manifest]) -> None:
    templates = [
        each["spec"]["template"]["metadata"]["labels"]
        for each in manifests
        if "template" in each.get("spec", {})
    ]
    for each in manifests:
        if each["kind"] in ("PodDisruptionBudget", "NetworkPolicy", "Service", "Deployment", "DaemonSet"):
            spec = each["spec"]
            selector = spec.get("selector") or spec.get("podSelector")
            labels = selector.get("matchLabels", selector)
            assert len([found for found in templates if labels.items() <= found.items()]) == 1, each[
                "metadata"
            ]


def test_secrets_that_pods_need_are_made_or_were_named(manifests: list[Manifest]) -> None:
    made = {each["metadata"]["name"] for each in chart.of_kind(manifests, "Secret")}
    for _, spec in chart.pods(manifests):
        for volume in spec.get("volumes", ()):
            if "secret" in volume:
                assert volume["secret"]["secretName"] in made | {
                    "powerflex",
                    "simulated-array",
                    "metrics-certificate",
                }


def test_every_name_is_one_that_kubernetes_takes(helm: str) -> None:
    long = Case("simulator", "1.36", SNAPSHOT_APIS, (f'fullnameOverride="{"a" * 100}"',))
    for each in chart.rendered(helm, long):
        assert len(each["metadata"]["name"]) <= 63
        assert each["metadata"].get("namespace", "storage") == "storage"


@pytest.mark.parametrize(("release", "prefix"), [("my.release", "my-release-csi"), ("a1", "a1-csi")])
def test_names_begin_with_the_name_of_the_release(helm: str, release: str, prefix: str) -> None:
    for each in chart.of_kind(chart.rendered(helm, Case("minimal", "1.36", release=release)), "Service"):
        assert each["metadata"]["name"].startswith(prefix)


def test_a_release_whose_name_would_be_none_for_a_service_needs_another(helm: str) -> None:
    done = chart.template(helm, Case("minimal", "1.36", release="123"))
    assert "must start with a letter: choose another release name, or set" in done.stderr
    named = Case("minimal", "1.36", settings=('fullnameOverride="flex"',), release="123")
    for each in chart.rendered(helm, named):
        assert each["metadata"]["labels"]["app.kubernetes.io/instance"] == "123"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((), None),
        (("controller.hostNetwork=true",), "ClusterFirstWithHostNet"),
        (("controller.hostNetwork=true", 'controller.dnsPolicy="Default"'), "Default"),
    ],
)
def test_a_pod_in_the_node_s_network_still_asks_the_cluster_s_dns(
    helm: str, settings: tuple[str, ...], expected: str | None
) -> None:
    manifests = chart.rendered(helm, Case("minimal", "1.36", settings=settings))
    (controller,) = chart.of_kind(manifests, "Deployment")
    assert controller["spec"]["template"]["spec"].get("dnsPolicy") == expected


def test_security_contexts_can_be_completed_and_a_field_left_out(helm: str) -> None:
    settings = (
        "controller.podSecurityContext.runAsUser=null",
        "controller.securityContext.runAsNonRoot=true",
        'sidecars.attacher.securityContext.seccompProfile={"type": "RuntimeDefault"}',
    )
    manifests = chart.rendered(helm, Case("minimal", "1.36", settings=settings))
    (controller,) = chart.of_kind(manifests, "Deployment")
    pod = controller["spec"]["template"]["spec"]
    assert "runAsUser" not in pod["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    contexts = {each["name"]: each["securityContext"] for each in pod["containers"]}
    strict_ones = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert contexts["driver"] == strict_ones | {"runAsNonRoot": True}
    assert contexts["csi-attacher"] == strict_ones | {"seccompProfile": {"type": "RuntimeDefault"}}
    assert contexts["csi-resizer"] == strict_ones


EMPTIED = (
    *("annotations", "podAnnotations", "env", "extraArgs", "extraVolumes", "extraVolumeMounts"),
    *("initContainers", "extraContainers", "dnsConfig", "hostAliases", "tolerations", "affinity"),
    *("podSecurityContext", "securityContext", "livenessProbe"),
)


def test_values_can_be_emptied_with_null(helm: str) -> None:
    sidecars = (f"sidecars.{name}.env=null" for name in ("attacher", "nodeDriverRegistrar", "livenessProbe"))
    components = (f"{part}.{value}=null" for part in ("controller", "node") for value in EMPTIED)
    case = Case("minimal", "1.36", settings=(*components, *sidecars, "systemsFiles=null"))
    manifests = chart.rendered(helm, case)
    # Kubernetes takes a field with null for one that is not there; the models do not know it.
    faults = [fault for each in manifests for fault in strict.faults(each)]
    assert [fault for fault in faults if not fault.endswith("has no field securityContext")] == []
    for part, name, container in chart.containers(manifests):
        if name == "driver":
            assert "livenessProbe" not in container, part
            assert not container["securityContext"]


def test_service_accounts_that_exist_are_used_and_bound(helm: str) -> None:
    settings = tuple(
        f'{part}.serviceAccount={{"create": false, "name": "own-{part}"}}' for part in ("controller", "node")
    )
    manifests = chart.rendered(helm, Case("minimal", "1.37", settings=settings))
    assert chart.of_kind(manifests, "ServiceAccount") == []
    used = {
        spec["serviceAccountName"] for part, spec in chart.pods(manifests) if part in ("controller", "node")
    }
    assert used == {"own-controller", "own-node"}
    bindings = chart.of_kind(manifests, "RoleBinding") + chart.of_kind(manifests, "ClusterRoleBinding")
    assert {binding["subjects"][0]["name"] for binding in bindings} == {"own-controller"}


def test_extra_parts_of_pods_are_where_they_belong(every_case: dict[Case, list[Manifest]]) -> None:
    manifests = next(found for case, found in every_case.items() if case.values == "full")
    for kind, name, path in (
        ("Deployment", "-controller", "/etc/authorities"),
        ("DaemonSet", "-node", "/opt/company"),
    ):
        found = chart.named(manifests, kind, name)
        assert found["metadata"]["annotations"] == {"example.org/g": "h"}
        assert found["spec"]["revisionHistoryLimit"] == 3
        pod = found["spec"]["template"]["spec"]
        assert [each["name"] for each in pod["initContainers"]] == ["extra-init"]
        containers = {each["name"]: each for each in pod["containers"]}
        assert "extra-main" in containers
        assert path in {mount["mountPath"] for mount in containers["driver"]["volumeMounts"]}
        assert pod["dnsConfig"]["options"] == [{"name": "ndots", "value": "2"}]
        assert len(pod["hostAliases"]) == 1
    sidecars = [
        each
        for part, name, each in chart.containers(manifests)
        if part in ("controller", "node") and name != "driver" and not name.startswith("extra-")
    ]
    assert len(sidecars) == 7
    for each in sidecars:
        assert {"name": "GOMEMLIMIT", "value": "200MiB"} in each["env"], each["name"]


def test_names_of_claims_are_sent_to_the_driver_unless_that_is_turned_off(
    every_case: dict[Case, list[Manifest]],
) -> None:
    for case, manifests in every_case.items():
        senders = {
            name
            for _, name, each in chart.containers(manifests)
            if "--extra-create-metadata" in each.get("args", ())
        }
        if case.values == "full":
            assert senders == {"csi-snapshotter"}  # from extraArgs
        else:
            assert "csi-provisioner" in senders


def test_capacity_of_many_classes_does_not_wait_for_the_sidecar_s_own_limit(
    manifests: list[Manifest],
) -> None:
    for _, name, each in chart.containers(manifests):
        if name == "csi-provisioner" and "--enable-capacity" in each["args"]:
            assert "--kube-api-capacity-qps=50" in each["args"]
            assert "--kube-api-capacity-burst=100" in each["args"]


def test_another_way_to_update_takes_no_settings_of_the_rolling_one(helm: str) -> None:
    settings = ('controller.updateStrategy.type="Recreate"', 'node.updateStrategy.type="OnDelete"')
    manifests = chart.rendered(helm, Case("minimal", "1.36", settings=settings))
    (controller,), (node,) = (chart.of_kind(manifests, kind) for kind in ("Deployment", "DaemonSet"))
    assert controller["spec"]["strategy"] == {"type": "Recreate"}
    assert node["spec"]["updateStrategy"] == {"type": "OnDelete"}


def test_two_releases_with_different_names_of_drivers_share_no_object(helm: str) -> None:
    second = Case(
        "minimal", "1.36", settings=('driverName="csi.second.example"', "storageClasses=[]"), release="b"
    )
    both = [
        {(each["kind"], each["metadata"]["name"]) for each in chart.rendered(helm, case)}
        for case in (Case("minimal", "1.36"), second)
    ]
    assert both[0].isdisjoint(both[1])


def test_what_is_set_twice_is_what_was_set_closest(helm: str) -> None:
    only = '"name": "1", "isDefault": true, "labels": {"team": "one"}'
    no = '{"storageclass.kubernetes.io/is-default-class": "false"}'
    settings = (
        'commonLabels={"team": "storage", "floor": "2"}',
        'controller.podLabels={"team": "controllers"}',
        'controller.podAnnotations={"kubectl.kubernetes.io/default-container": "csi-attacher"}',
        'metrics={"serviceMonitors": true, "serviceMonitorLabels": {"team": "metrics"}}',
        f'storageClasses=[{{{only}, "annotations": {no}}}]',
    )
    manifests = chart.rendered(helm, Case("minimal", "1.36", settings=settings))
    (deployment,) = chart.of_kind(manifests, "Deployment")
    pod = deployment["spec"]["template"]["metadata"]
    assert (pod["labels"]["team"], pod["labels"]["floor"]) == ("controllers", "2")
    assert pod["annotations"] == {"kubectl.kubernetes.io/default-container": "csi-attacher"}
    for monitor in chart.of_kind(manifests, "ServiceMonitor"):
        assert monitor["metadata"]["labels"]["team"] == "metrics"
    (made,) = chart.of_kind(manifests, "StorageClass")
    assert (made["metadata"]["name"], made["metadata"]["labels"]["team"]) == ("1", "one")
    assert made["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}


@pytest.mark.parametrize(
    "text",
    ["p'\"\\ #{}: $(X) {{ x }}\t\u00e9 \n  lead ", "0123", "true", "-", "|", "%&!*@`", "a\r\nb"],
)
def test_passwords_and_files_come_through_as_they_are(helm: str, text: str) -> None:
    settings = (
        'existingSecret=""',
        f'systems=[{{"endpoints": ["https://a"], "username": "b", "password": {json.dumps(text)}}}]',
        f'systemsFiles={{"ca.pem": {json.dumps(text)}}}',
    )
    (secret,) = chart.of_kind(chart.rendered(helm, Case("minimal", "1.36", settings=settings)), "Secret")
    assert yaml.safe_load(secret["stringData"]["systems.yaml"])["systems"][0]["password"] == text
    assert secret["stringData"]["ca.pem"] == text


@pytest.mark.parametrize(
    "argument", ['--mount-root=/a b "c" \\d', "--mount-root=#x: {y}", "--mount-root=\u00e9"]
)
def test_arguments_come_through_as_they_are(helm: str, argument: str) -> None:
    setting = f"node.extraArgs=[{json.dumps(argument)}]"
    manifests = chart.rendered(helm, Case("minimal", "1.36", settings=(setting,)))
    found = {(part, name): each.get("args", ()) for part, name, each in chart.containers(manifests)}
    assert argument in found["node", "driver"]


def test_every_image_can_come_from_a_mirror(helm: str) -> None:
    case = Case("simulator", "1.36", SNAPSHOT_APIS, ('imageRegistry="mirror.example.org"',))
    manifests = chart.rendered(helm, case)
    images = {container["image"] for _, _, container in chart.containers(manifests)}
    assert len(images) == 8
    assert all(image.startswith("mirror.example.org/") for image in images)


def test_replicas_are_kept_apart_and_never_go_all_at_once(every_case: dict[Case, list[Manifest]]) -> None:
    manifests = next(found for case, found in every_case.items() if case.values == "minimal")
    deployment = chart.named(manifests, "Deployment", "-controller")["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 1
    pod = deployment["template"]["spec"]
    assert pod["affinity"]["podAntiAffinity"]
    assert pod["priorityClassName"] == "system-cluster-critical"
    (spread,) = pod["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == deployment["selector"]["matchLabels"]
    (budget,) = chart.of_kind(manifests, "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1


def test_one_replica_has_no_budget_that_would_hold_up_a_drain(
    every_case: dict[Case, list[Manifest]],
) -> None:
    manifests = next(found for case, found in every_case.items() if case.values == "one_replica")
    assert chart.of_kind(manifests, "PodDisruptionBudget") == []


def test_the_nodes_run_everywhere_and_first(every_case: dict[Case, list[Manifest]]) -> None:
    manifests = next(found for case, found in every_case.items() if case.values == "minimal")
    pod = chart.named(manifests, "DaemonSet", "-node")["spec"]["template"]["spec"]
    assert pod["priorityClassName"] == "system-node-critical"
    assert pod["tolerations"] == [{"operator": "Exists"}]


NETWORK = ("hostNetwork", "dnsPolicy", "dnsConfig", "hostAliases")


@pytest.mark.parametrize("values", ["minimal", "full", "simulator"])
def test_helm_test_begins_with_the_doctor_in_a_pod_like_the_controllers_without_a_token(
    every_case: dict[Case, list[Manifest]], values: str
) -> None:
    manifests = next(found for case, found in every_case.items() if case.values == values)
    pod = chart.named(manifests, "Pod", "-test-doctor")
    spec = pod["spec"]
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert int(pod["metadata"]["annotations"]["helm.sh/hook-weight"]) < 0
    controller = chart.named(manifests, "Deployment", "-controller")["spec"]["template"]["spec"]
    (driver,) = (each for each in controller["containers"] if each["name"] == "driver")
    (doctor,) = spec["containers"]
    assert spec["automountServiceAccountToken"] is False
    for key in (*NETWORK, "securityContext", "nodeSelector", "tolerations", "serviceAccountName"):
        assert spec.get(key) == controller.get(key), key
    for key in ("image", "securityContext"):
        assert doctor[key] == driver[key]
    # The doctor serves neither calls nor metrics.
    serving = {"socket", "metrics-tls"}
    assert doctor["volumeMounts"] == [each for each in driver["volumeMounts"] if each["name"] not in serving]
    assert spec["volumes"] == [each for each in controller["volumes"] if each["name"] not in serving]
    done = CliRunner().invoke(main, [*doctor["args"], "--output=none"])
    assert "'none' is not one of 'table', 'json'" in done.output


def test_the_simulated_array_brings_its_own_keys_and_password(helm: str) -> None:
    case = Case("simulator", "1.36", settings=('simulator.existingSecret=""',))
    secret = chart.named(chart.rendered(helm, case), "Secret", "-simulator")
    assert set(secret["data"]) == {"password", "ca.crt", "tls.crt", "tls.key"}
    again = chart.named(chart.rendered(helm, case), "Secret", "-simulator")
    assert secret["data"]["password"] != again["data"]["password"]


def test_the_notes_say_what_comes_next(helm: str) -> None:
    command = [helm, "install", "release", str(CHART), "--dry-run=client", "--namespace", "storage"]
    done = subprocess.run(
        [*command, "--values", str(VALUES / "minimal.yaml")], capture_output=True, text=True, check=False
    )
    if "cluster unreachable" in done.stderr:
        pytest.skip("Helm 3 renders notes only with a cluster at hand")
    assert done.returncode == 0, done.stderr
    _, _, notes = done.stdout.partition("NOTES:\n")
    assert "rollout status deployment/release-csi-powerflex-controller" in notes
    assert "app.kubernetes.io/instance=release,app.kubernetes.io/component=controller" in notes
    assert "helm test release --namespace storage" in notes
    assert "The value of clusterId is k8s1." in notes
    assert "Snapshots are off: the cluster has no API snapshot.storage.k8s.io/v1" in notes


def test_the_notes_call_the_doctor_with_options_that_it_has() -> None:
    notes = (CHART / "templates" / "NOTES.txt").read_text(encoding="utf-8")
    called = re.findall(r"csi-powerflex doctor (\w+) (--.*)", notes)
    assert {role for role, _ in called} == {"controller", "node"}
    for role, options in called:
        stated = options.replace("--transport={{ .Values.node.transport }}", "--transport=auto")
        given = re.sub(r"=\S*\{\{ ?[\w.$]+ ?\}\}\S*", "=1", stated).replace("\\", "").split()
        done = CliRunner().invoke(main, ["doctor", role, *given, "--output=none"])
        assert "'none' is not one of 'table', 'json'" in done.output
