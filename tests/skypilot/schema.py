"""Walks SkyPilot's JSON schemas, and finds in a document which of their forms it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENUMS = ("enum", "case_insensitive_enum", "case_sensitive_enum")
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def forms(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield each form that a schema takes: ``path:type``, and ``path=value`` for the values of an enumeration."""
    for key in _ENUMS:
        yield from (f"{path}={value}".lower() for value in schema.get(key, []))
    kinds = schema.get("type", [])
    yield from (f"{path}:{kind}" for kind in ([kinds] if isinstance(kinds, str) else kinds))
    for key in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(key, []):
            yield from forms(one, path)
    for name, one in schema.get("properties", {}).items():
        yield from forms(one, f"{path}.{name}")
    for one in (schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()):
        if isinstance(one, Mapping):
            yield from forms(one, f"{path}.*")
    if isinstance(schema.get("items"), Mapping):
        yield from forms(schema["items"], f"{path}[]")


def forms_of(document: object, path: str = "") -> Iterator[str]:
    """Yield the forms that a document has, with ``*`` and without for each key."""
    for kind, types in _TYPES.items():
        if isinstance(document, types) and (not isinstance(document, bool) or kind == "boolean"):
            yield f"{path}:{kind}"
    if isinstance(document, str):
        yield f"{path}={document}".lower()
    elif isinstance(document, dict):
        for key, value in document.items():
            yield from forms_of(value, f"{path}.{key}")
            yield from forms_of(value, f"{path}.*")
    elif isinstance(document, list):
        for value in document:
            yield from forms_of(value, f"{path}[]")
