"""What one kind of object offers on the wire, declared as a row per kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from csi_powerflex.simulator.api_error import MDM_ERRORS, ApiError, mdm_error, not_hexadecimal, uncoded_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.dialect import Dialect

T = TypeVar("T")

View = dict[str, object]


class Effect(Enum):
    """What handling a request does: ``READ`` changes nothing, ``SLOW`` changes data and takes a while."""

    READ = "read"
    WRITE = "write"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class Action(Generic[T]):
    """Something that can be asked of one object by POST; the answer is what ``run`` returns."""

    run: Callable[[Array, T, Body], object]
    effect: Effect = Effect.WRITE


@dataclass(frozen=True, slots=True)
class ClassAction:
    """Something that can be asked of a kind as a whole by POST."""

    run: Callable[[Array, Body], object]
    effect: Effect = Effect.READ


@dataclass(frozen=True, slots=True)
class ResourceType(Generic[T]):
    """One kind of object.

    ``missing`` is the MDM's code for an id that leads nowhere. ``listed`` is the name of its list in
    the answer that holds everything; ``listing``
    narrows lists when ``objects`` has more. ``offered`` says in which versions the kind exists.
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
        """The objects that the kind's list shows."""
        return self.listing(array) if self.listing is not None else self.objects(array).values()

    def get(self, array: Array, object_id: str) -> T:
        """The object with this id.

        Raises:
            Refusal: the id is no number, or there is no such object.
        """
        item = self.objects(array).get(object_id.lower())
        if item is None:
            raise self.not_found(object_id)
        if self.guard is not None:
            self.guard(array, item)
        return item

    def not_found(self, object_id: str) -> ApiError:
        """The refusal for an id that leads nowhere."""
        try:
            int(object_id, 16)
        except ValueError:
            return not_hexadecimal(object_id)
        if self.missing in MDM_ERRORS:
            return mdm_error(self.missing)
        return uncoded_error(f"Could not find the {self.name}")

    def by_name(self, array: Array, name: str) -> T:
        """The object with this name.

        Raises:
            Refusal: there is none.
        """
        for item in list(self.objects(array).values()):
            if getattr(item, "name", None) == name:
                return item
        raise (
            mdm_error(self.missing)
            if self.missing in MDM_ERRORS
            else uncoded_error(f"Could not find the {self.name}")
        )


def self_link(kind: str, object_id: str) -> View:
    """The link by which an object names itself."""
    return {"rel": "self", "href": f"/api/instances/{kind}::{object_id}"}


def related_links(kind: str, object_id: str, *names: str) -> list[View]:
    """Links to what an object is related to."""
    return [
        {
            "rel": f"/api/{kind}/relationship/{name}",
            "href": f"/api/instances/{kind}::{object_id}/relationships/{name}",
        }
        for name in names
    ]


def parent_link(kind: str, object_id: str, attribute: str) -> View:
    """The link to the object that the field ``attribute`` names."""
    return {"rel": f"/api/parent/relationship/{attribute}", "href": f"/api/instances/{kind}::{object_id}"}


def metrics_link(resource_type: str, object_id: str) -> View:
    """The second generation's link to metrics, instead of Statistics."""
    path = "/dtapi/rest/v1/metrics/query"
    return {"rel": path, "href": path, "body": {"resource_type": resource_type, "ids": [object_id]}}


def statistics_link(array: Array, kind: str, resource_type: str, object_id: str) -> View:
    """Where the numbers of an object are: by generation of the system."""
    if array.dialect.second_generation:
        return metrics_link(resource_type, object_id)
    return related_links(kind, object_id, "Statistics")[0]
