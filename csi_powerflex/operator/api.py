"""What the operator's custom resources have in common: their API group, their metadata and their status."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from csi_powerflex.kube.client import KubeObject, ObjectMeta

GROUP = "powerflex.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/operator"
"""Keeps an object until the operator has released what it holds for it."""

_MAX_MESSAGE_CHARACTERS = 2000

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
"""The names of objects (Kubernetes, "Object Names and IDs")."""


class Metadata(ObjectMeta, frozen=True, rename="camel"):
    """The metadata of an object of the operator."""

    generation: int = 0
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()
    labels: dict[str, str] = msgspec.field(default_factory=dict)


class Condition(msgspec.Struct, frozen=True, rename="camel"):
    """A condition (Kubernetes API conventions, "Typical status properties")."""

    type: Annotated[str, Meta(description="The name of the condition.")]
    status: Annotated[Literal["True", "False", "Unknown"], Meta(description="Whether the condition is true.")]
    reason: Annotated[str, Meta(description="The reason, in one word.")]
    message: Annotated[str, Meta(description="The reason, in sentences.")]
    last_transition_time: Annotated[datetime.datetime, Meta(description="When its status changed last.")]


class Progress(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """How far a copy is."""

    bytes_done: Annotated[int, Meta(description="Bytes that were read or skipped.")] = 0
    bytes_total: Annotated[int, Meta(description="Bytes to read or skip; 0 if it is not known.")] = 0
    percent: Annotated[int, Meta(description="How much of it is done, from 0 to 100.", ge=0, le=100)] = 0
    bytes_per_second: Annotated[int, Meta(description="How fast it goes.")] = 0


class Status(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """What every status has. A resource adds its own fields, and says which phases it has."""

    phase: Annotated[str, Meta(description="How far the work is.")] = ""
    message: Annotated[str, Meta(description="What happens now, or what is wrong and what to do.")] = ""
    observed_generation: Annotated[
        int, Meta(description="The generation of the specification that the status is about.")
    ] = 0
    conditions: Annotated[
        tuple[Condition, ...],
        Meta(
            description="Conditions, for `kubectl wait`.",
            extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()


class Resource(KubeObject, frozen=True, kw_only=True):
    """An object of the operator. A subclass has its own specification and status."""

    metadata: Metadata = Metadata()
    status: Status = Status()

    @property
    def deleting(self) -> bool:
        """Whether someone has deleted it, so that it exists only as long as it has finalizers."""
        return self.metadata.deletion_timestamp is not None


@dataclass(frozen=True, slots=True)
class Column:
    """A column that ``kubectl get`` shows.

    Attributes:
        path: the JSON path of its value.
        type: as OpenAPI calls it: string, integer or date.
        wide: show it only with ``-o wide``.
    """

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Definition:
    """A custom resource, from which its CustomResourceDefinition is made (``schema``).

    Attributes:
        kind: as in manifests, in CamelCase.
        plural: as in the path of the API.
        short: names for the command line.
        description: what ``kubectl explain`` says.
        resource: the type of its objects, with their specification and status.
        columns: what ``kubectl get`` shows after the name.
        populates: claims name its objects as the source of their data (``dataSourceRef``).
    """

    kind: str
    plural: str
    short: tuple[str, ...]
    description: str
    resource: type[Resource]
    columns: tuple[Column, ...]
    populates: bool = False

    def path(self, namespace: str = "") -> str:
        """The path of the resource in the API, of one namespace or of all."""
        within = f"namespaces/{namespace}/" if namespace else ""
        return f"/apis/{API_VERSION}/{within}{self.plural}"


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which object: the plural of its resource, its namespace and its name."""

    plural: str
    namespace: str
    name: str


def shortened(text: str) -> str:
    """A message as it fits into a status."""
    return text if len(text) <= _MAX_MESSAGE_CHARACTERS else f"{text[: _MAX_MESSAGE_CHARACTERS - 3]}..."


def with_condition(before: Sequence[Condition], made: Condition) -> tuple[Condition, ...]:
    """The conditions with a new one, which replaces that of its type. Its time stays if its status stays."""
    same = next((item for item in before if item.type == made.type), None)
    if same is not None and same.status == made.status:
        made = msgspec.structs.replace(made, last_transition_time=same.last_transition_time)
    return (*(item for item in before if item.type != made.type), made)
