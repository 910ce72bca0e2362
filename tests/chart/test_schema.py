"""What the chart refuses before anything reaches the cluster, and in which words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.chart import helm as chart
from tests.chart.helm import CHART, Case

TYPING_ERRORS = [
    ('clusterID="k8s1"', "additional properties 'clusterID' not allowed"),
    ("controller.replica=3", "at '/controller': additional properties 'replica' not allowed"),
    ("node.sdcOnDemand.mdm=[]", "at '/node/sdcOnDemand': additional properties 'mdm' not allowed"),
    ("node.maxVolume=3", "at '/node': additional properties 'maxVolume' not allowed"),
    ("sidecars.provisoner={}", "at '/sidecars': additional properties 'provisoner' not allowed"),
    (
        'sidecars.attacher.image.tga="v1"',
        "at '/sidecars/attacher/image': additional properties 'tga' not allowed",
    ),
    ('controller.tolerations=[{"keys": "a"}]', "additional properties 'keys' not allowed"),
    ('node.resources={"request": {}}', "additional properties 'request' not allowed"),
    ('storageClasses=[{"name": "a", "parameter": {}}]', "additional properties 'parameter' not allowed"),
    (
        'storageClasses=[{"name": "a", "parameters": {"storagePool": "sp1"}}]',
        "at '/storageClasses/0/parameters': additional properties 'storagePool' not allowed",
    ),
    (
        'volumeSnapshotClasses=[{"name": "a", "parameters": {"retention": 5}}]',
        "additional properties 'retention' not allowed",
    ),
    (
        'volumeAttributesClasses=[{"name": "a", "parameters": {"fstype": "ext4"}}]',
        "additional properties 'fstype' not allowed",
    ),
    ('systems=[{"url": "powerflex://a:b@c/d", "pool": "x"}]', "additional properties 'pool' not allowed"),
    (
        'storageClasses=[{"name": "a", "parameters": {"csi.storage.k8s.io/fstyp": "xfs"}}]',
        "additional properties 'csi.storage.k8s.io/fstyp' not allowed",
    ),
    (
        'volumeGroupSnapshotClasses=[{"name": "a", "parameters": {"deletionPolicy": "Retain"}}]',
        "additional properties 'deletionPolicy' not allowed",
    ),
    ('controller.extraVolumeMounts=[{"name": "a", "path": "/b"}]', "additional properties 'path' not"),
    ("node.securityContext.privilegd=true", "at '/node/securityContext': additional properties 'privilegd'"),
    ("controller.podSecurityContext.user=5", "at '/controller/podSecurityContext': additional properties"),
    ("node.livenessProbe.period=5", "at '/node/livenessProbe': additional properties 'period' not allowed"),
    ("controller.dnsConfig.nameserver=[]", "at '/controller/dnsConfig': additional properties 'nameserver'"),
    (
        "node.serviceAccount.annotation={}",
        "at '/node/serviceAccount': additional properties 'annotation' not",
    ),
]
WRONG_VALUES = [
    ("clusterId=1234", "at '/clusterId': got number, want string"),
    ('clusterId="K8S1"', "at '/clusterId': 'K8S1' does not match pattern"),
    ('clusterId="k8s"', "at '/clusterId': 'k8s' does not match pattern"),
    ("controller.replicas=0", "at '/controller/replicas': minimum: got 0, want 1"),
    ('controller.logLevel="verbose"', "at '/controller/logLevel'"),
    ('kubeletDir="var/lib/kubelet"', "at '/kubeletDir'"),
    ('kubeletDir="/var/lib/kubelet/"', "at '/kubeletDir'"),
    ('csiDriver.fsGroupPolicy="file"', "at '/csiDriver/fsGroupPolicy'"),
    ("csiDriver.nodeAllocatableUpdatePeriodSeconds=5", "at '/csiDriver/nodeAllocatableUpdatePeriodSeconds'"),
    ('snapshots.enabled="yes"', "at '/snapshots/enabled'"),
    ('driverName="CSI_driver"', "at '/driverName'"),
    ('sidecars.resizer.timeout="60"', "at '/sidecars/resizer/timeout'"),
    ('sidecars.provisioner.defaultFsType=""', "at '/sidecars/provisioner/defaultFsType'"),
    ('storageClasses=[{"name": "a", "fsType": "ntfs"}]', "at '/storageClasses/0/fsType'"),
    ('storageClasses=[{"parameters": {}}]', "missing property 'name'"),
    ('systems=[{"username": "a"}]', "missing property 'endpoints'"),
    ('systems=[{"url": "powerflex://a:b@c/d", "verifyCertificate": "no"}]', "got string, want boolean"),
    ('simulator.version="9"', "at '/simulator/version'"),
    *(
        (f'node.sdcOnDemand.mdms=["{text}"]', "at '/node/sdcOnDemand/mdms/0'")
        for text in (
            "",
            "mdm1.example.org",
            "192.0.2.256",
            "192.0.2",
            "192.0.2.1,",
            "192.0.2.1 192.0.2.2",
            "::g",
        )
    ),
    ('commonLabels={"app.kubernetes.io/name": "a"}', "at '/commonLabels/app.kubernetes.io~1name'"),
    ('controller.podLabels={"a": "b c"}', "at '/controller/podLabels/a'"),
    ('systemsFiles={"systems.yaml": "a"}', "at '/systemsFiles/systems.yaml'"),
    ('systemsFiles={"ca/pem": "a"}', "additional properties 'ca/pem' not allowed"),
    ('fullnameOverride="flex.prod"', "at '/fullnameOverride'"),
    ('image.digest="0123"', "at '/image/digest'"),
    *(
        (
            f'systems=[{{"endpoints": ["{endpoint}"], "username": "a", "password": "b"}}]',
            "at '/systems/0/endpoints/0'",
        )
        for endpoint in ("http://a", "gateway.example.org", "https://", "https://b@c", "https://a?b=c")
    ),
    ('systems=[{"endpoints": [], "username": "a", "password": "b"}]', "at '/systems/0/endpoints'"),
    ('systems=[{"url": "powerflex://a:b@c/d", "adoptVolumes": ["k8"]}]', "at '/systems/0/adoptVolumes/0'"),
    ('systems=[{"url": "powerflex://a:b@c/d", "requestTimeout": 0}]', "at '/systems/0/requestTimeout'"),
    ('systems=[{"endpoints": ["https://a"], "username": " "}]', "at '/systems/0/username'"),
    ('systems=[{"url": "https://a:b@c/d"}]', "at '/systems/0/url'"),
    (
        'systems=[{"endpoints": ["https://a"], "username": "a", "id": "1"}]',
        "at '/systems/0/id'",
    ),
    *(
        (f'storageClasses=[{{"name": "a", "parameters": {{{parameter}}}}}]', words)
        for parameter, words in (
            ('"provisioning": "fat"', "value must be one of 'thin', 'thick', 'compressed'"),
            ('"sizePolicy": "round"', "value must be one of 'roundUp', 'strict'"),
            ('"transport": "iscsi"', "value must be one of 'auto', 'sdc'"),
            ('"allowUnpaddedPool": "yes"', "at '/storageClasses/0/parameters/allowUnpaddedPool'"),
            ('"maxVtreeMembers": -1', "at '/storageClasses/0/parameters/maxVtreeMembers'"),
            ('"iopsLimit": "many"', "at '/storageClasses/0/parameters/iopsLimit'"),
            ('"fstype": "ntfs"', "value must be one of 'ext4', 'xfs', 'btrfs'"),
            ('"csi.storage.k8s.io/fstype": "ext3"', "value must be one of 'ext4', 'xfs', 'btrfs'"),
            ('"storagepool": " "', "at '/storageClasses/0/parameters/storagepool'"),
        )
    ),
    (
        'volumeSnapshotClasses=[{"name": "a", "parameters": {"snapshotAccessMode": "ReadOnlyMany"}}]',
        "value must be one of 'ReadWrite', 'ReadOnly'",
    ),
    ("controller.livenessProbe.periodSeconds=0", "at '/controller/livenessProbe/periodSeconds'"),
    ('node.extraVolumes=[{"emptyDir": {}}]', "missing property 'name'"),
    ('controller.extraContainers=[{"name": "Not A Name"}]', "at '/controller/extraContainers/0/name'"),
    ('controller.hostAliases=[{"ip": "192.0.2.1"}]', "missing property 'hostnames'"),
    # Helm would write it as 1e+06.
    ("node.maxVolumes=1000000", "at '/node/maxVolumes'"),
    ('controller.extraArgs=["log-level=debug"]', "at '/controller/extraArgs/0'"),
]


@pytest.mark.parametrize(("setting", "words"), [*TYPING_ERRORS, *WRONG_VALUES], ids=lambda text: text[:40])
def test_a_value_that_is_none_is_refused_by_name(helm: str, setting: str, words: str) -> None:
    done = chart.template(helm, Case("minimal", "1.36", settings=(setting,)))
    assert done.returncode != 0
    assert words in done.stderr


CONTRADICTIONS = [
    (('existingSecret=""',), "no PowerFlex system is configured: name a Secret in existingSecret"),
    (('clusterId=""',), "clusterId is not set: choose four characters"),
    (
        ('systems=[{"url": "powerflex://a:b@c/d"}]',),
        "existingSecret and systems (or systemsFiles) are both set",
    ),
    ((f'kubeletDir="/{"k" * 80}"',), "is too long, at most 107 characters are possible"),
    (
        ("node.sdcOnDemand.enabled=true", "simulator.enabled=true", 'existingSecret=""'),
        "node.sdcOnDemand.enabled and simulator.enabled are both set: simulated hosts have no SDC",
    ),
    (("simulator.enabled=true",), "existingSecret and simulator.enabled are both set"),
    (
        ("controller.ports.metrics=9805",),
        "port 9808 is used twice, by controller.ports.health and by controller.ports.metrics + 3 (resizer)",
    ),
    (
        ("controller.ports.metrics=65532",),
        "controller.ports.metrics + 4 (snapshotter) is port 65536, but the highest port is 65535",
    ),
    (("node.ports.registrar=9809",), "port 9809 is used twice, by node.ports.health and by node.ports.reg"),
    (
        ("controller.hostNetwork=true", "node.hostNetwork=true", "node.ports.metrics=8082"),
        "port 8082 is used twice, by controller.ports.metrics + 2 (attacher) and by node.ports.metrics",
    ),
    (
        (
            'simulator={"enabled": true, "hostNetwork": true, "port": 8090}',
            'existingSecret=""',
            "node.hostNetwork=true",
        ),
        "port 8090 is used twice, by node.ports.metrics and by simulator.port",
    ),
    (
        ('storageClasses=[{"name": "a", "isDefault": true}, {"name": "b", "isDefault": true}]',),
        "storageClasses: a, b are all the default class: set isDefault for only one of them",
    ),
    (
        (
            (
                'storageClasses=[{"name": "a", "isDefault": true}, {"name": "b", "annotations": '
                '{"storageclass.kubernetes.io/is-default-class": "true"}}]'
            ),
        ),
        "storageClasses: a, b are all the default class",
    ),
    *(
        ((f'{kind}=[{{"name": "a", "isDefault": true}}, {{"name": "b", "isDefault": true}}]',), kind)
        for kind in ("volumeSnapshotClasses", "volumeGroupSnapshotClasses")
    ),
    (
        ('storageClasses=[{"name": "a"}, {"name": "a"}]',),
        "storageClasses: two classes have the name a: choose another name for one of them",
    ),
    (
        (
            (
                'volumeAttributesClasses=[{"name": "a", "parameters": {"iopsLimit": 50}}, '
                '{"name": "a", "parameters": {"iopsLimit": 60}}]'
            ),
        ),
        "volumeAttributesClasses: two classes have the name a",
    ),
    *(
        ((f'volumeAttributesClasses=[{{"name": "a", "parameters": {{{parameter}}}}}]',), words)
        for parameter, words in (
            ('"iopsLimit": 5', "class a: iopsLimit is 5, but the array accepts 0 (unlimited) or at least 11"),
            ('"iopsLimit": "10"', "class a: iopsLimit is 10, but the array accepts 0 (unlimited) or at"),
            (
                '"bandwidthLimitInKbps": "1000"',
                "bandwidthLimitInKbps is 1000, but it must be a multiple of 1024",
            ),
            (
                '"bandwidthPerGiBInKbps": 127',
                "bandwidthPerGiBInKbps is 127, but it must be a multiple of 128",
            ),
        )
    ),
    (
        ('storageClasses=[{"name": "a", "parameters": {"iopsLimit": 5}}]',),
        "storageClasses: class a: iopsLimit is 5, but the array accepts",
    ),
    (
        ('storageClasses=[{"name": "a", "parameters": {"maxVtreeMembers": "1024"}}]',),
        "storageClasses: class a: maxVtreeMembers is 1024, but it must be at most 1023",
    ),
    (
        ('volumeSnapshotClasses=[{"name": "a", "parameters": {"retentionMinutes": 50000}}]',),
        "volumeSnapshotClasses: class a: retentionMinutes is 50000, but it must be at most 44640",
    ),
    (
        ('storageClasses=[{"name": "a", "fsType": "xfs", "parameters": {"fstype": "ext4"}}]',),
        "storageClasses: class a names the filesystems xfs and ext4: set only fsType",
    ),
    (
        ("controller.serviceAccount.create=false",),
        "controller.serviceAccount.create is false, and controller.serviceAccount.name is not set",
    ),
    (
        ('controller.serviceAccount.name="a"', 'node.serviceAccount.name="a"'),
        "controller and node have the same service account a",
    ),
    (
        ('controller.extraVolumes=[{"name": "socket", "emptyDir": {}}]',),
        "controller.extraVolumes: the pod has a volume socket already: choose another name",
    ),
    (
        ('node.extraVolumeMounts=[{"name": "a", "mountPath": "/b"}]',),
        "node.extraVolumeMounts: there is no volume a: add it to node.extraVolumes",
    ),
    (
        ('node.extraVolumeMounts=[{"name": "dev", "mountPath": "/var/lib/kubelet/"}]',),
        "node.extraVolumeMounts: something is mounted at /var/lib/kubelet/ already",
    ),
    (
        ('node.extraContainers=[{"name": "driver", "image": "a"}]',),
        "node.initContainers and extraContainers: the pod has a container driver already",
    ),
    *(
        (('existingSecret=""', f"systems=[{systems}]"), words)
        for systems, words in (
            ('{"endpoints": ["https://a"], "username": "a"}', "systems[0]: set exactly one of password and"),
            (
                '{"endpoints": ["https://a"], "username": "a", "password": "b", "passwordFile": "/etc/c"}',
                "systems[0]: set exactly one of password and passwordFile",
            ),
            (
                '{"endpoints": ["https://a"], "username": "a", "passwordFile": "/etc/powerflex/c"}',
                "systems[0].passwordFile is /etc/powerflex/c, but systemsFiles has no c: add it",
            ),
            (
                '{"url": "powerflex://a:b@c/d", "caFile": "/etc/powerflex/ca.pem"}',
                "systems[0].caFile is /etc/powerflex/ca.pem, but systemsFiles has no ca.pem: add it",
            ),
            (
                '{"url": "powerflex://a:b@c/d", "caFile": "/ca.pem", "verifyCertificate": false}',
                "systems[0]: caFile has no use with verifyCertificate: false",
            ),
            (
                '{"url": "powerflex://a:b@c/d", "name": "x"}, {"url": "powerflex://a:b@e/d", "name": "x"}',
                "systems[1]: the name or id x is that of another system already",
            ),
            (
                '{"endpoints": ["https://a", "https://a/"], "username": "a", "password": "b"}',
                "systems[0]: the endpoint https://a/ is there already: a gateway manages one system",
            ),
        )
    ),
    (
        (
            'existingSecret=""',
            'systems=[{"url": "powerflex://a:b@c/d", "name": "prod"}]',
            'storageClasses=[{"name": "a", "parameters": {"systemID": "pord"}}]',
        ),
        "storageClasses: class a: systemID is pord, but systems has no system with this name",
    ),
    (("snapshots.groups=true",), "snapshots.groups is true, but the snapshotter does not run"),
    *(
        (
            (f'{kind}=[{{"name": "a"}}]', "snapshots.enabled=false"),
            f"{kind} has classes, but snapshots.enabled",
        )
        for kind in ("volumeSnapshotClasses", "volumeGroupSnapshotClasses")
    ),
    (
        ('volumeGroupSnapshotClasses=[{"name": "a"}]', "snapshots.groups=false"),
        "volumeGroupSnapshotClasses has classes, but snapshots.groups is false",
    ),
    (
        ("metrics.serviceMonitors=true", "metrics.enabled=false"),
        "metrics.serviceMonitors is true, but metrics.enabled is false",
    ),
    (
        ('networkPolicy.metricsFrom=[{"podSelector": {}}]',),
        "networkPolicy.metricsFrom is set, but networkPolicy.enabled is false: everyone may read",
    ),
    (('node.sdcOnDemand.mdms=["192.0.2.1"]',), "node.sdcOnDemand.mdms is set, but node.sdcOnDemand.enabled"),
    *(
        ((f"node.nvme.{key}={value}",), f"node.nvme.{key} is set, but node.transport is sdc")
        for key, value in (
            ("systems", '["0a1b2c3d4e5f6071"]'),
            ("createHostNqn", "true"),
            ("loadModules", "true"),
            ("singlePath", "true"),
            ("ioQueues", "4"),
        )
    ),
    (
        ('node.transport="nvme"', 'node.nvme.systems=["0a1b2c3d4e5f6071"]', "node.sdcOnDemand.enabled=true"),
        "node.sdcOnDemand.enabled is true, but node.transport is nvme, so no node uses an SDC",
    ),
    (
        ("simulator.enabled=true", 'existingSecret=""', 'node.transport="auto"'),
        "simulator.enabled is true, and node.transport is auto: the nodes reach this simulator by simulated",
    ),
    (
        ('node.transport="nvme"',),
        "node.transport is nvme, but the chart cannot read the ids of the systems in existingSecret",
    ),
    (
        ('node.transport="auto"', 'existingSecret=""', 'systems=[{"url": "powerflex://a:b@c/d"}]'),
        "systems[0] has no id, and node.transport is auto: set its id, or list in node.nvme.systems",
    ),
    *(
        (
            (
                f'node.transport="{nodes}"',
                *(('node.nvme.systems=["0a1b2c3d4e5f6071"]',) if nodes == "nvme" else ()),
                f'storageClasses=[{{"name": "a", "parameters": {{"transport": "{wanted}"}}}}]',
            ),
            f"class a has transport {wanted}, but node.transport is {nodes}: no node could use its volumes",
        )
        for nodes, wanted in (("sdc", "nvme"), ("nvme", "sdc"))
    ),
    (
        (
            'node.transport="nvme"',
            'node.nvme.systems=["0a1b2c3d4e5f6071"]',
            'storageClasses=[{"name": "a", "parameters": {"iopsPerGiB": "5"}}]',
        ),
        "class a has iopsPerGiB, but node.transport is nvme, and the array cannot limit NVMe hosts",
    ),
    (
        (
            'node.transport="nvme"',
            'node.nvme.systems=["0a1b2c3d4e5f6071"]',
            "controller.hostNetwork=true",
            "node.ports.metrics=8082",
        ),
        "port 8082 is used twice",
    ),
    (("rbac.secrets=true", "rbac.create=false"), "rbac.secrets is true, but rbac.create is false"),
    (
        ('node.dnsPolicy="None"',),
        "node.dnsPolicy is None: list the name servers in node.dnsConfig.nameservers",
    ),
]


@pytest.mark.parametrize(("settings", "words"), CONTRADICTIONS, ids=lambda item: str(item)[:40])
def test_values_that_do_not_go_together_are_refused_with_the_remedy(
    helm: str, settings: tuple[str, ...], words: str
) -> None:
    done = chart.template(helm, Case("minimal", "1.36", settings=settings))
    assert done.returncode != 0
    assert words in done.stderr


def test_attributes_classes_are_refused_where_the_cluster_has_none(helm: str) -> None:
    setting = 'volumeAttributesClasses=[{"name": "gold", "parameters": {"iopsLimit": 1000}}]'
    done = chart.template(helm, Case("minimal", "1.33", settings=(setting,)))
    assert done.returncode != 0
    assert (
        "volumeAttributesClasses needs Kubernetes 1.34 or newer, but the cluster has v1.33.0" in done.stderr
    )


def test_an_old_kubernetes_is_refused(helm: str) -> None:
    done = chart.template(helm, Case("minimal", "1.28"))
    assert done.returncode != 0
    assert "requires kubeVersion: >=1.29.0-0 which is incompatible with Kubernetes v1.28.0" in done.stderr


def test_every_object_of_the_schema_says_what_it_takes() -> None:
    """No object is open by omission: it lists its keys, or says of what kind all its values are."""
    open_objects = list(_open(json.loads((CHART / "values.schema.json").read_text()), "#"))
    kubernetes = ("Affinity", "valueFrom", "claims", "ipBlock", "/global")
    assert [path for path in open_objects if not any(word in path for word in kubernetes)] == []


def _open(schema: Any, path: str) -> list[str]:
    found = []
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "additionalProperties" not in schema:
            found.append(path)
        for key, value in schema.items():
            found += _open(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for number, value in enumerate(schema):
            found += _open(value, f"{path}/{number}")
    return found


@pytest.mark.parametrize(
    "setting",
    [
        'global={"imageRegistry": "x"}',
        'storageClasses=[{"name": "a", "parameters": {"csi.storage.k8s.io/fstype": "xfs"}}]',
        'controller.podDisruptionBudget.maxUnavailable="50%"',
        "snapshots.enabled=true",
        'snapshots.enabled="false"',
        "controller.resources.limits=null",
        'volumeAttributesClasses=[{"name": "a", "parameters": {"iopsLimit": "0", "iopsPerGiB": 256}}]',
        'storageClasses=[{"name": "a", "parameters": {"allowUnpaddedPool": "true", "maxVtreeMembers": 0}}]',
        'storageClasses=[{"name": "a", "fsType": "xfs", "parameters": {"csi.storage.k8s.io/fstype": "xfs"}}]',
        'storageClasses=[{"name": "a", "parameters": {"csi.storage.k8s.io/node-stage-secret-name": "b"}}]',
        'volumeSnapshotClasses=[{"name": "a", "parameters": {"retentionMinutes": "60"}}]',
        "node.ports.metrics=8080",
        'node={"transport": "nvme", "nvme": {"systems": ["0a1b2c3d4e5f6071"], "ioQueues": 8}}',
    ],
)
def test_what_people_reasonably_set_is_taken(helm: str, setting: str) -> None:
    done = chart.template(helm, Case("minimal", "1.36", settings=(setting,)))
    assert done.returncode == 0, done.stderr
