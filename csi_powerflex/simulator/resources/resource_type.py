"""What one resource type offers on the wire. Each type is declared as one row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from csi_powerflex.simulator.api_error import MDM_ERRORS, ApiError, mdm_error, uncoded_error, unknown_id
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.dialect import ERASURE_CODING, MIRRORING, Dialect
from csi_powerflex.simulator.model import ProtectionDomain

T = TypeVar("T")

View = dict[str, object]


class Effect(Enum):
    """What a request does: ``READ`` changes nothing, ``SLOW`` changes data and takes some time."""

    READ = "read"
    WRITE = "write"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class Action(Generic[T]):
    """A POST action on one object. The answer is what ``run`` returns."""

    run: Callable[[Array, T, Body], object]
    effect: Effect = Effect.WRITE


@dataclass(frozen=True, slots=True)
class ClassAction:
    """A POST action on a resource type as a whole."""

    run: Callable[[Array, Body], object]
    effect: Effect = Effect.READ


@dataclass(frozen=True, slots=True)
class ResourceType(Generic[T]):
    """One resource type, such as Volume.

    ``missing`` is the MDM's code for an unknown id. ``listed`` is the name of its list in the answer to
    ``GET /api/instances``. ``listing`` selects what lists show, if that is less than ``objects``. ``guard``
    raises an error for an object that must not be used now. ``offered`` says which versions have the type.
    """

    name: str
    objects: Callable[[Array], Mapping[str, T]]
    view: Callable[[Array, T], View]
    missing: int
    listed: str = ""
    listing: Callable[[Array], Iterable[T]] | None = None
    guard: Callable[[Array, T], None] | None = None
    create: Callable[[Array, Body], View] | None = None
    find: Callable[[Array, Body], str] | None = None
    statistics: Callable[[Array, T], View] | None = None
    related: Mapping[str, Callable[[Array, T], Iterable[View]]] = field(default_factory=dict)
    actions: Mapping[str, Action[T]] = field(default_factory=dict)
    class_actions: Mapping[str, ClassAction] = field(default_factory=dict)
    offered: Callable[[Dialect], bool] = lambda _: True

    def listed_objects(self, array: Array) -> Iterable[T]:
        """The objects that the list of this type shows."""
        return self.listing(array) if self.listing is not None else self.objects(array).values()

    def get(self, array: Array, object_id: str) -> T:
        """The object with this id.

        Raises:
            ApiError: the id is not a number, or there is no such object.
        """
        item = self.objects(array).get(object_id.lower())
        if item is None:
            raise unknown_id(object_id, self._not_found())
        if self.guard is not None:
            self.guard(array, item)
        return item

    def _not_found(self) -> ApiError:
        if self.missing in MDM_ERRORS:
            return mdm_error(self.missing)
        return uncoded_error(f"Could not find the {self.name}")

    def by_name(self, array: Array, name: str) -> T:
        """The object with this name.

        Raises:
            ApiError: there is none.
        """
        for item in list(self.objects(array).values()):
            if getattr(item, "name", None) == name:
                return item
        raise self._not_found()


def self_link(type_name: str, object_id: str) -> View:
    """The link from an object to itself."""
    return {"rel": "self", "href": f"/api/instances/{type_name}::{object_id}"}


def related_links(type_name: str, object_id: str, *names: str) -> list[View]:
    """The links from an object to its relationships ``names``."""
    return [
        {
            "rel": f"/api/{type_name}/relationship/{name}",
            "href": f"/api/instances/{type_name}::{object_id}/relationships/{name}",
        }
        for name in names
    ]


def parent_link(type_name: str, object_id: str, attribute: str) -> View:
    """The link to the object whose id is in the field ``attribute``."""
    return {
        "rel": f"/api/parent/relationship/{attribute}",
        "href": f"/api/instances/{type_name}::{object_id}",
    }


def metrics_link(metrics_type: str, object_id: str) -> View:
    """The second generation's link to metrics. It replaces the link to Statistics."""
    path = "/dtapi/rest/v1/metrics/query"
    return {"rel": path, "href": path, "body": {"resource_type": metrics_type, "ids": [object_id]}}


def statistics_links(
    array: Array, type_name: str, metrics_type: str, object_id: str, domain: ProtectionDomain | None = None
) -> list[View]:
    """The links to the metrics and statistics of an object, by the generation of its domain.

    An object without a domain, such as the system, has the links of all generations that the system has.
    """
    domains = [domain] if domain is not None else list(array.domains.values())
    generations = {item.generation for item in domains} or {array.dialect.generation}
    links = [metrics_link(metrics_type, object_id)] if ERASURE_CODING in generations else []
    if MIRRORING in generations:
        links += related_links(type_name, object_id, "Statistics")
    return links
