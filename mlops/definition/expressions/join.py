"""``{"Std:Join": {"On": "/", "Values": […]}}``"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlops.definition.expressions.base import Expression, ExpressionReader
from mlops.definition.location import Location
from mlops.definition.problems import json_type
from mlops.definition.scope import JsonValue, Scope
from mlops.definition.text import render_text


@dataclass(frozen=True, slots=True)
class Join(Expression):
    """The values as text, with a text between them. Values nest."""

    on: str
    values: tuple[Expression, ...]

    def resolve(self, scope: Scope) -> JsonValue:
        return self.on.join(render_text(value.resolve(scope)) for value in self.values)


def read_join(value: Any, location: Location, reader: ExpressionReader) -> Expression:
    if not isinstance(value, dict):
        return reader.refuse(
            location, f"Std:Join takes an object with On and Values, not {json_type(value)}"
        )
    unknown = sorted(set(value) - {"On", "Values"})
    if unknown:
        return reader.refuse(location, f"Std:Join has no {unknown[0]!r}, only On and Values")
    on = value.get("On", "")
    values = value.get("Values")
    if not isinstance(on, str):
        return reader.refuse(location.child("On"), f"On must be a string, not {json_type(on)}")
    at = location.child("Values")
    if not isinstance(values, list):
        return reader.refuse(at, f"Values must be a list, not {json_type(values)}")
    return Join(on, tuple(_read(item, at.child(i), reader) for i, item in enumerate(values)))


def _read(value: JsonValue, location: Location, reader: ExpressionReader) -> Expression:
    is_function = isinstance(value, dict) and len(value) == 1
    if value is None or isinstance(value, list) or (isinstance(value, dict) and not is_function):
        return reader.refuse(
            location, f"{json_type(value).capitalize()} cannot be joined to a text"
        )
    return reader.read(value, location)
