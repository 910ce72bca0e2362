"""The examples in deploy/examples: valid, in step with the plain manifests, and possible with this driver."""

from __future__ import annotations

import re
import shutil
from typing import Any

import pytest
import yaml

from csi_powerflex.config.secret import Secret
from csi_powerflex.config.systems import loader
from csi_powerflex.errors import InvalidArgument
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.volume_context import ORIGIN_KEY, Origin
from csi_powerflex.simulator import certificates
from tests.chart import strict
from tests.chart.helm import ROOT, containers

DEPLOY = ROOT / "deploy"
EXAMPLES = sorted((DEPLOY / "examples").glob("*.yaml"))
KUBEVIRT = ("kubevirt.io", "cdi.kubevirt.io")


def objects(path: Any) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


PLAIN = objects(DEPLOY / "csi-powerflex.yaml")
EVERY = [each for path in EXAMPLES for each in objects(path)]


def names(kind: str, among: list[dict[str, Any]]) -> set[str]:
    return {each["metadata"]["name"] for each in among if each["kind"] == kind}


def claims() -> list[dict[str, Any]]:
    """The specifications of every claim, those in templates and of KubeVirt's disks too."""
    found = [each["spec"] for each in EVERY if each["kind"] == "PersistentVolumeClaim"]
    found += [each["spec"]["storage"] for each in EVERY if each["kind"] == "DataVolume"]
    for each in EVERY:
        found += (
            [item["spec"] for item in each["spec"].get("volumeClaimTemplates", ())] if "spec" in each else []
        )
        for volume in each.get("spec", {}).get("volumes", ()) if each["kind"] == "Pod" else ():
            if "ephemeral" in volume:
                found.append(volume["ephemeral"]["volumeClaimTemplate"]["spec"])
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid(path: Any) -> None:
    found = objects(path)
    assert found
    for each in found:
        if each["apiVersion"].partition("/")[0] not in KUBEVIRT:
            assert strict.faults(each) == []


def test_the_plain_manifests_are_valid() -> None:
    assert [fault for each in PLAIN for fault in strict.faults(each)] == []


def test_the_plain_manifests_do_not_say_that_helm_manages_them() -> None:
    for each in PLAIN:
        labels = each["metadata"].get("labels", {})
        assert not {"app.kubernetes.io/managed-by", "helm.sh/chart"} & labels.keys()
        if each["kind"] != "Namespace":
            assert labels["app.kubernetes.io/name"] == "csi-powerflex"


def overlay() -> dict[str, Any]:
    """The kustomization that the page about installing shows."""
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    (found,) = [
        document
        for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
        if (document := yaml.safe_load(block)).get("kind") == "Kustomization"
    ]
    return dict(found)


def test_the_base_for_kustomize_is_the_plain_manifests() -> None:
    (base,) = objects(DEPLOY / "kustomization.yaml")
    assert base["resources"] == ["csi-powerflex.yaml"]
    assert overlay()["resources"] == ["csi-powerflex/deploy"]


def test_the_overlay_for_kustomize_changes_what_has_to_be_changed() -> None:
    drivers = {
        container["image"].rpartition(":")[0] for _, name, container in containers(PLAIN) if name == "driver"
    }
    assert drivers == {image["name"] for image in overlay()["images"]}
    (patch,) = overlay()["patches"]
    (deployment,) = [each for each in PLAIN if each["kind"] == patch["target"]["kind"]]
    assert deployment["metadata"]["name"] == patch["target"]["name"]
    *argument, check, replacement = yaml.safe_load(patch["patch"])
    for prefix, (tested, replaced) in (("--cluster-id=", argument), ("", (check, replacement))):
        found: Any = deployment
        for part in tested["path"].strip("/").split("/"):
            found = found[int(part) if part.isdigit() else part]
        assert (tested["op"], replaced["op"]) == ("test", "replace")
        assert tested["path"] == replaced["path"]
        assert found == tested["value"] == f"{prefix}CHANGE-ME"
        assert re.fullmatch(f"{prefix}[a-z0-9]{{4}}", replaced["value"])


def test_examples_use_classes_of_the_plain_manifests() -> None:
    for spec in claims():
        assert spec["storageClassName"] in names("StorageClass", PLAIN) | {""}
        assert spec.get("volumeAttributesClassName", "powerflex-gold") in names(
            "VolumeAttributesClass", PLAIN
        )
    for each in EVERY:
        if each["kind"] == "VolumeSnapshot":
            assert each["spec"]["volumeSnapshotClassName"] in names("VolumeSnapshotClass", PLAIN)
        if each["kind"] == "VolumeGroupSnapshot":
            assert each["spec"]["volumeGroupSnapshotClassName"] in names("VolumeGroupSnapshotClass", PLAIN)


def test_examples_ask_for_what_the_driver_can_do() -> None:
    assert len(claims()) > 10
    for spec in claims():
        (mode,) = spec["accessModes"]
        assert mode != "ReadWriteMany" or spec["volumeMode"] == "Block"
        size = int(spec["resources"]["requests"]["storage"].removesuffix("Gi"))
        assert size % 8 == 0, "a mirrored pool gives multiples of 8 GiB; an example should not be rounded"


def test_what_examples_refer_to_is_in_an_example() -> None:
    for spec in claims():
        source = spec.get("dataSource")
        if source is not None:
            assert source["name"] in names(source["kind"], EVERY)
    pods = [each["spec"] for each in EVERY if each["kind"] == "Pod"]
    pods += [each["spec"]["template"]["spec"] for each in EVERY if each["kind"] == "Deployment"]
    for spec in pods:
        for volume in spec.get("volumes", ()):
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in names("PersistentVolumeClaim", EVERY)


def test_the_secret_of_the_examples_is_the_one_of_the_plain_manifests_and_can_be_read(tmp_path: Any) -> None:
    (secret,) = objects(DEPLOY / "examples" / "systems-secret.yaml")
    (deployment,) = [each for each in PLAIN if each["kind"] == "Deployment"]
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    assert secret["metadata"]["name"] in {volume.get("secret", {}).get("secretName") for volume in volumes}
    assert secret["metadata"]["namespace"] == deployment["metadata"]["namespace"]
    for name, text in secret["stringData"].items():
        (tmp_path / name).write_text(text.replace("/etc/powerflex", str(tmp_path)))
    with pytest.raises(InvalidArgument, match=r"ca\.pem cannot be used: a certificate in it is damaged"):
        loader.load(tmp_path / "systems.yaml")
    shutil.copy(certificates.ensure(tmp_path / "tls").authority, tmp_path / "ca.pem")
    (system,) = loader.load(tmp_path / "systems.yaml")
    assert system.read_password() == Secret("change-me")


def test_the_static_volume_is_one_that_the_driver_takes_and_never_formats() -> None:
    (volume,) = [each["spec"] for each in EVERY if each["kind"] == "PersistentVolume"]
    handle = volume["csi"]["volumeHandle"]
    assert str(VolumeHandle.parse(handle)) == handle
    assert Origin(volume["csi"]["volumeAttributes"][ORIGIN_KEY]) is Origin.COPY
    assert volume["persistentVolumeReclaimPolicy"] == "Retain"
    assert volume["csi"]["driver"] in names("CSIDriver", PLAIN)
