"""The CustomResourceDefinition of a resource, made from the types that read its objects.

So what the API server accepts and what the operator reads cannot differ. The form is that of a structural
schema (Kubernetes, "Custom Resources"): no references, and each field has one type.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from msgspec import inspect

from csi_powerflex.operator.api import GROUP, VERSION, Column, Definition

Schema = dict[str, Any]

_BOUNDS = {
    "ge": "minimum",
    "le": "maximum",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
}
_ITEM_BOUNDS = {"min_length": "minItems", "max_length": "maxItems"}
_MAP_BOUNDS = {"min_length": "minProperties", "max_length": "maxProperties"}


def definition_object(definition: Definition) -> Schema:
    """The object as the API takes it (Kubernetes reference, "CustomResourceDefinition v1")."""
    fields = schema_of(definition.resource)["properties"]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{definition.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": definition.kind,
                "listKind": f"{definition.kind}List",
                "plural": definition.plural,
                "singular": definition.kind.lower(),
                "shortNames": list(definition.short),
                "categories": ["powerflex"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in definition.columns],
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "description": definition.description,
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": fields["spec"],
                                "status": fields["status"],
                            },
                        }
                    },
                }
            ],
        },
    }


def _column(column: Column) -> Schema:
    made: Schema = {
        "name": column.name,
        "jsonPath": column.path,
        "description": column.description,
        "type": column.type,
    }
    return made | ({"priority": 1} if column.wide else {})


def schema_of(kind: type[Any]) -> Schema:
    """The schema of a type.

    Raises:
        TypeError: a structural schema cannot express it.
    """
    return _schema(inspect.type_info(kind))


def _schema(kind: inspect.Type) -> Schema:
    match kind:
        case inspect.Metadata(type=inner, extra_json_schema=more):
            return _schema(inner) | (more or {})
        case inspect.UnionType(types=types):
            return _optional(types)
        case inspect.StructType() | inspect.DictType() | inspect.VarTupleType():
            return _nested(kind)
        case _:
            return _scalar(kind)


def _optional(types: tuple[inspect.Type, ...]) -> Schema:
    """A type or None. In Kubernetes a field that is not set is left out."""
    present = [item for item in types if not isinstance(item, inspect.NoneType)]
    if len(present) != 1:
        raise TypeError(f"a structural schema has no union of {', '.join(map(repr, present))}")
    return _schema(present[0])


def _nested(kind: inspect.StructType | inspect.DictType | inspect.VarTupleType) -> Schema:
    match kind:
        case inspect.DictType(value_type=value):
            return {"type": "object", "additionalProperties": _schema(value), **_bounds(kind, _MAP_BOUNDS)}
        case inspect.VarTupleType(item_type=item):
            return {"type": "array", "items": _schema(item), **_bounds(kind, _ITEM_BOUNDS)}
        case inspect.StructType(fields=fields, cls=cls):
            made: Schema = {
                "type": "object",
                "properties": {item.encode_name: _field(item) for item in fields},
            }
            if cls.__doc__ and "description" not in made:
                made["description"] = " ".join(cls.__doc__.split())
            required = [item.encode_name for item in fields if item.required]
            return made | ({"required": required} if required else {})


def _field(field: inspect.Field) -> Schema:
    made = _schema(field.type)
    default = field.default.value if isinstance(field.default, enum.Enum) else field.default
    # An empty value and a missing field are the same. A default would write the field into each object.
    if isinstance(default, str | int) and default:
        return made | {"default": default}
    return made


def _scalar(kind: inspect.Type) -> Schema:
    match kind:
        case inspect.StrType():
            return {"type": "string", **_bounds(kind, _BOUNDS)}
        case inspect.IntType():
            return {"type": "integer", "format": "int64", **_bounds(kind, _BOUNDS)}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.DateTimeType():
            return {"type": "string", "format": "date-time"}
        case inspect.LiteralType(values=values):
            return {"type": "string", "enum": list(values)}
        case inspect.EnumType(cls=cls):
            return {"type": "string", "enum": [item.value for item in cls]}
        case _:
            raise TypeError(f"a structural schema cannot express {kind!r}")


def _bounds(kind: inspect.Type, names: Mapping[str, str]) -> Schema:
    found = ((name, getattr(kind, attribute, None)) for attribute, name in names.items())
    return {name: value for name, value in found if value is not None}
