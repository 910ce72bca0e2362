"""Writes what follows from the chart's values.yaml: the table in its README and values.schema.json.

Every key, its default and its meaning (the comment above it) come from values.yaml, so none can be forgotten
in the other two. What a default cannot tell, such as a choice or the form of a list's entries, is in SHAPES
below; parameters of classes and keys of systems come from the code that reads them. ``make docs`` writes,
``make check`` runs it with ``--check``.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from csi_powerflex.config.secret import Secret
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.model import qos
from csi_powerflex.model.parameters import SIDECAR_PREFIX, SnapshotParameters, VolumeParameters

CHART = Path(__file__).parent / "csi-powerflex"
_BEGIN = "<!-- values: made by charts/reference.py; run `make docs` after a change -->"
_END = "<!-- end of values -->"

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Value:
    """One key of values.yaml: its path, such as ``controller.replicas``, what its comment says, its default.

    ``children`` are the keys below it; none where the default is a leaf, a list or a mapping on one line.
    """

    path: str
    meaning: str
    default: Any
    children: tuple[Value, ...] = ()


# --- values.yaml -----------------------------------------------------------------------------------


def read(text: str) -> tuple[Value, ...]:
    """The keys of a values.yaml, in order.

    Raises:
        ValueError: a key has no comment.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        raise ValueError("values.yaml is no mapping")  # noqa: TRY004 - of the file, not of an argument
    return tuple(_values(node, "", text.splitlines()))


def _values(node: yaml.MappingNode, prefix: str, lines: list[str]) -> Iterator[Value]:
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        meaning = _comment_above(lines, key.start_mark.line)
        default = yaml.safe_load(yaml.serialize(value))
        nested = isinstance(value, yaml.MappingNode) and not value.flow_style and value.value
        if nested and not _is_leaf(path):
            yield Value(path, meaning, default, tuple(_values(value, f"{path}.", lines)))
        elif not meaning:
            raise ValueError(f"values.yaml: {path} has no comment that says what it is")
        else:
            yield Value(path, meaning, default)


def _comment_above(lines: list[str], number: int) -> str:
    words: list[str] = []
    while number > 0 and lines[number - 1].strip().startswith("#"):
        number -= 1
        words.insert(0, lines[number].strip().lstrip("#").strip())
    return " ".join(words)


def leaves(values: tuple[Value, ...]) -> Iterator[Value]:
    """The keys that have a value of their own, depth first."""
    for value in values:
        if value.children:
            yield from leaves(value.children)
        else:
            yield value


# --- the schema ------------------------------------------------------------------------------------


def _closed(required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """An object with these keys and no others."""
    made: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return made | ({"required": list(required)} if required else {})


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _choice(*options: str | bool) -> Schema:
    return {"enum": list(options)}


TEXT: Schema = {"type": "string"}
WORD: Schema = {"type": "string", "minLength": 1}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
# Of one label, those that the chart sets itself excepted.
_LABEL = r"^(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?$"
_OWN_LABELS = ("name", "instance", "version", "component", "managed-by")
LABELS: Schema = {
    "type": "object",
    "additionalProperties": {"type": "string", "pattern": _LABEL},
    "properties": dict.fromkeys(
        ("helm.sh/chart", *(f"app.kubernetes.io/{name}" for name in _OWN_LABELS)), False
    ),
}
FILES: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"systems.yaml": False},
    "patternProperties": {"^[-._A-Za-z0-9]+$": TEXT},
}
NAME: Schema = {"type": "string", "pattern": "^([a-z]([a-z0-9-]*[a-z0-9])?)?$"}
SECONDS: Schema = {"type": "number", "minimum": 0}
DURATION: Schema = {"type": "string", "pattern": "^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"}
PATH: Schema = {"type": "string", "pattern": "^/[^\\s]*[^/\\s]$"}
OPTIONS = _list({"type": "string", "pattern": "^--[a-z]"})
SWITCH = _choice(True, False, "auto", "true", "false")
QUANTITIES: Schema = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
AMOUNT: Schema = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+%$"}]}
# Of Kubernetes' own objects only the first level is checked here; the API server checks the rest.
ANY: Schema = {"type": ["object", "array", "string", "number", "boolean"]}
ROLLING = _closed(maxSurge=AMOUNT, maxUnavailable=AMOUNT)
EXPRESSIONS = _list(_closed(key=TEXT, operator=TEXT, values=_list(TEXT)))
SELECTOR = _closed(matchLabels=TEXTS, matchExpressions=EXPRESSIONS)
TOLERATION = _closed(key=TEXT, operator=TEXT, value=TEXT, effect=TEXT, tolerationSeconds=COUNT)
SPREAD = _closed(
    ("maxSkew", "topologyKey", "whenUnsatisfiable"),
    maxSkew=COUNT,
    topologyKey=TEXT,
    whenUnsatisfiable=_choice("DoNotSchedule", "ScheduleAnyway"),
    labelSelector=SELECTOR,
    matchLabelKeys=_list(TEXT),
    minDomains=COUNT,
    nodeAffinityPolicy=TEXT,
    nodeTaintsPolicy=TEXT,
)
_IPV4 = r"(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(\.(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])){3}"
# What can be no IPv6 address is refused here, what is none all the same by the node.
_IPV6 = r"([0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}"
MDMS: Schema = {"type": "string", "pattern": f"^({_IPV4}|{_IPV6})(,({_IPV4}|{_IPV6}))*$"}
DIGEST: Schema = {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"}
IMAGE = {"registry": TEXT, "repository": WORD, "tag": TEXT, "digest": DIGEST}

# What a class may be called, and what it may have beside its parameters.
_CLASS = {
    "name": {"type": "string", "pattern": "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"},
    "annotations": TEXTS,
    "labels": LABELS,
}


def _parameters(keys: Mapping[str, str], *, sidecars: bool) -> Schema:
    """The parameters of a kind of class: keys and meanings; ``sidecars`` where those read some too."""
    value = {"type": ["string", "integer", "boolean"]}
    made: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {key: value | {"description": meaning} for key, meaning in keys.items()},
    }
    pattern = f"^{SIDECAR_PREFIX.replace('.', '[.]')}"
    return made | ({"patternProperties": {pattern: TEXT}} if sidecars else {})


def _keys(kind: Any) -> dict[str, str]:
    return {field.metadata["key"]: field.metadata["meaning"] for field in dataclasses.fields(kind)}


def _snapshot_class() -> Schema:
    return _closed(
        ("name",),
        **_CLASS,
        isDefault=FLAG,
        deletionPolicy=_choice("Delete", "Retain"),
        parameters=_parameters(_keys(SnapshotParameters), sidecars=True),
    )


def _storage_class() -> Schema:
    return _closed(
        ("name",),
        **_CLASS,
        isDefault=FLAG,
        parameters=_parameters(_keys(VolumeParameters), sidecars=True),
        fsType=_choice("ext4", "xfs", "btrfs"),
        reclaimPolicy=_choice("Delete", "Retain"),
        volumeBindingMode=_choice("WaitForFirstConsumer", "Immediate"),
        allowVolumeExpansion=FLAG,
        mountOptions=_list(TEXT),
        allowedTopologies=_list(_closed(matchLabelExpressions=_list(_closed(key=TEXT, values=_list(TEXT))))),
    )


def _attributes_class() -> Schema:
    mutable = {key: meaning for key, meaning in _keys(VolumeParameters).items() if key in qos.KEYS}
    return _closed(
        ("name", "parameters"),
        **_CLASS,
        parameters=_parameters(mutable, sidecars=False) | {"minProperties": 1},
    )


def _systems() -> Schema:
    """The list of the systems file, from the structures that read it."""
    _, parts = msgspec.json.schema_components([SystemSettings], schema_hook=_secret, ref_template="{name}")
    system = _without_nulls(parts["SystemSettings"])
    system["properties"]["zones"]["items"] = _without_nulls(parts["ZoneSettings"])
    system["properties"]["url"] = TEXT
    system["anyOf"] = [{"required": system.pop("required")}, {"required": ["url"]}]
    return _list(system)


def _secret(kind: type) -> Schema:
    if kind is not Secret:
        raise NotImplementedError(kind)
    return dict(TEXT)


def _without_nulls(schema: Schema) -> Schema:
    """A structure of msgspec as a closed object; what may be left out need not be given as null."""
    properties = {}
    for key, value in schema["properties"].items():
        kept = [kind for kind in value.get("anyOf", [value]) if kind.get("type") != "null"]
        properties[key] = {name: item for name, item in kept[0].items() if name != "default"}
    return _closed(tuple(schema.get("required", ())), **properties)


# By path, or by the last part of it, the path first.
SHAPES: dict[str, Schema] = {
    "clusterId": {"type": "string", "pattern": "^([a-z0-9]{4})?$"},
    "systems": _systems(),
    "systemsFiles": FILES,
    "storageClasses": _list(_storage_class()),
    "volumeSnapshotClasses": _list(_snapshot_class()),
    "volumeGroupSnapshotClasses": _list(_snapshot_class()),
    "volumeAttributesClasses": _list(_attributes_class()),
    "driverName": {"type": "string", "pattern": "^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"},
    "imagePullSecrets": _list(WORD),
    "kubeletDir": PATH,
    "stateDir": PATH,
    "sdcDir": PATH,
    "configDir": PATH,
    "mdms": _list(MDMS),
    "csiDriver.fsGroupPolicy": _choice("ReadWriteOnceWithFSType", "File", "None"),
    "csiDriver.nodeAllocatableUpdatePeriodSeconds": {
        "anyOf": [{"const": 0}, {"type": "integer", "minimum": 10}]
    },
    "snapshots.enabled": SWITCH,
    "snapshots.groups": SWITCH,
    "metrics.serviceMonitors": SWITCH,
    "controller.replicas": {"type": "integer", "minimum": 1},
    "controller.overCommit": {"type": "number", "minimum": 1, "maximum": 10},
    "controller.watchSeconds": SECONDS,
    "node.deviceTimeout": {"type": "number", "minimum": 1},
    "simulator.version": {"type": "string", "enum": ["3.6", "4.0", "4.5", "4.6", "5.0"]},
    "simulator.port": PORT,
    "image": _closed(**IMAGE),
    "digest": DIGEST,
    "nameOverride": NAME | {"maxLength": 63},
    "fullnameOverride": NAME,
    "node.maxVolumes": COUNT | {"maximum": 999_999},
    "tests.image": TEXT,
    "pullPolicy": _choice("IfNotPresent", "Always", "Never"),
    "repository": WORD,
    "driver.logLevel": _choice("debug", "info", "warning", "error"),
    "logFormat": _choice("text", "json"),
    "logLevel": {"type": "integer", "minimum": 0, "maximum": 10},
    "workers": {"type": "integer", "minimum": 1},
    "timeout": DURATION,
    "interval": DURATION,
    "reconcileSync": DURATION,
    "capacityPollInterval": DURATION,
    "defaultFsType": _choice("ext4", "xfs", "btrfs"),
    "extraArgs": OPTIONS,
    "env": _list(_closed(("name",), name=WORD, value=TEXT, valueFrom={"type": "object"})),
    "resources": _closed(requests=QUANTITIES, limits=QUANTITIES, claims=_list({"type": "object"})),
    "nodeSelector": TEXTS,
    "tolerations": _list(TOLERATION),
    "affinity": _closed(
        nodeAffinity={"type": "object"}, podAffinity={"type": "object"}, podAntiAffinity={"type": "object"}
    ),
    "topologySpreadConstraints": _list(SPREAD),
    "controller.updateStrategy": _closed(type=_choice("RollingUpdate", "Recreate"), rollingUpdate=ROLLING),
    "node.updateStrategy": _closed(type=_choice("RollingUpdate", "OnDelete"), rollingUpdate=ROLLING),
    "maxUnavailable": AMOUNT,
    "seLinuxOptions": _closed(user=TEXT, role=TEXT, type=TEXT, level=TEXT),
    "podAnnotations": TEXTS,
    "podLabels": LABELS,
    "commonLabels": LABELS,
    "serviceAccountAnnotations": TEXTS,
    "serviceMonitorLabels": LABELS,
    "metricsFrom": _list(
        _closed(namespaceSelector=SELECTOR, podSelector=SELECTOR, ipBlock={"type": "object"})
    ),
    "dnsPolicy": _choice("", "Default", "ClusterFirst", "ClusterFirstWithHostNet", "None"),
}
for _part in ("controller", "node"):
    SHAPES[f"{_part}.logLevel"] = SHAPES["driver.logLevel"]
for _part in ("controller.ports.metrics", "controller.ports.health"):
    SHAPES[_part] = PORT
for _part in ("metrics", "health", "registrar"):
    SHAPES[f"node.ports.{_part}"] = PORT


def _is_leaf(path: str) -> bool:
    """Whether the mapping at ``path`` is one value, as Kubernetes' own structures are."""
    return path.rpartition(".")[2] in ("resources", "updateStrategy")


def _shape(value: Value) -> Schema:
    if value.children:
        return _closed(**{_name(child): _described(child) for child in value.children})
    known = SHAPES.get(value.path) or SHAPES.get(_name(value))
    if known is not None:
        return dict(known)
    kinds = {bool: FLAG, int: COUNT, str: TEXT}
    if type(value.default) not in kinds:
        raise ValueError(f"{value.path}: SHAPES does not say what a value of {value.default!r} may be")
    return dict(kinds[type(value.default)])


def _described(value: Value) -> Schema:
    shape = _shape(value)
    return {"description": value.meaning, **shape} if value.meaning else shape


def _name(value: Value) -> str:
    return value.path.rpartition(".")[2]


def schema(values: tuple[Value, ...]) -> str:
    """values.schema.json."""
    properties = {_name(value): _described(value) for value in values}
    # Helm gives every chart this one where it is part of another chart.
    properties["global"] = {"type": "object"}
    made = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart csi-powerflex",
        **_closed(**properties),
    }
    return json.dumps(made, indent=2) + "\n"


# --- the table -------------------------------------------------------------------------------------


def table(values: tuple[Value, ...]) -> str:
    """The table of values, for the README."""
    rows = ["| value | meaning | default |", "| --- | --- | --- |"]
    rows += [
        f"| `{value.path}` | {_cell(value.meaning)} | {_cell(_shown(value.default))} |"
        for value in leaves(values)
    ]
    return "\n".join(rows)


def _shown(default: Any) -> str:
    if default in ("", None):
        return ""
    text = yaml.safe_dump(default, default_flow_style=True, width=10_000, sort_keys=False)
    return f"`{text.removesuffix(chr(10)).removesuffix(chr(10) + '...')}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def readme(values: tuple[Value, ...], present: str) -> str:
    """The README with its table made anew; the rest is as it is.

    Raises:
        ValueError: it has no place for the table.
    """
    before, begin, rest = present.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"README.md has no lines {_BEGIN} and {_END}")
    return f"{before}{_BEGIN}\n\n{table(values)}\n\n{_END}{after}"


def main() -> None:
    """Write both files, or with ``--check`` compare them."""
    values = read((CHART / "values.yaml").read_text(encoding="utf-8"))
    page, rules = CHART / "README.md", CHART / "values.schema.json"
    made = {page: readme(values, page.read_text(encoding="utf-8")), rules: schema(values)}
    stale = []
    for path, text in made.items():
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
    if stale:
        sys.exit(f"stale: {', '.join(stale)} in {CHART}; run `make docs`")


if __name__ == "__main__":
    main()
