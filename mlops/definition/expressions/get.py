"""``{"Get": "Parameters.X"}``: the first part of the text says what kind of thing is meant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from mlops.definition.expressions.base import Expression, ExpressionReader, FunctionReader
from mlops.definition.location import Location
from mlops.definition.problems import json_type

NamespaceReader: TypeAlias = Callable[[str, Location, ExpressionReader], Expression]
"""Reads what follows the first dot."""


def get_reader(namespaces: Mapping[str, NamespaceReader]) -> FunctionReader:
    """The reader of ``Get`` for the given namespaces."""

    def read_get(value: Any, location: Location, reader: ExpressionReader) -> Expression:
        if not isinstance(value, str):
            return reader.refuse(location, f"Get takes a string, not {json_type(value)}")
        namespace, _, rest = value.partition(".")
        read = namespaces.get(namespace)
        if read is None or not rest:
            forms = ", ".join(f"{name}.…" for name in namespaces)
            return reader.refuse(location, f"{value!r} refers to nothing; the forms are: {forms}")
        return read(rest, location, reader)

    return read_get
