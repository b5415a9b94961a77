"""What every condition is, and how one is read from JSON."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TypeAlias

from mlops.definition.expressions.base import Expression, ExpressionReader
from mlops.definition.fields import Fields
from mlops.definition.location import Location
from mlops.definition.problems import json_type, suggestion
from mlops.definition.scope import JsonValue, Scope


class Condition(ABC):
    """A question about resolved values."""

    __slots__ = ()

    @abstractmethod
    def evaluate(self, scope: Scope) -> bool:
        """Raises:
        ResolveError: a value is missing, or the two sides cannot be compared.
        """

    @abstractmethod
    def explain(self, scope: Scope) -> str:
        """The question with its values filled in, such as ``0.0108 <= 0.03``.

        Asks for no value that ``evaluate`` does not ask for.
        """


class ConditionReader:
    """Reads conditions, their expressions with the reader of the step they belong to."""

    def __init__(self, kinds: Mapping[str, ConditionKind], expressions: ExpressionReader) -> None:
        self._kinds = kinds
        self._expressions = expressions

    def read_list(self, fields: Fields, key: str, what: str) -> tuple[Condition, ...]:
        """The conditions in a list, which must not be empty."""
        if not fields.require(key, what):
            return ()
        if fields.get(key) == []:
            fields.refuse(key, f"{what} needs at least one condition")
        entries = fields.objects(key)
        return tuple(c for entry in entries if (c := self._read_fields(entry)) is not None)

    def read_one(self, fields: Fields, key: str, what: str) -> Condition | None:
        value = fields.object(key) if fields.require(key, what) else None
        if value is None:
            return None
        return self._read_fields(Fields(value, fields.at(key), fields.problems))

    def expression(self, fields: Fields, key: str) -> Expression:
        """One side of a comparison. It may be null, but it must be there."""
        if not fields.has(key):
            fields.problems.add(fields.location, f"The condition needs {key!r}")
        return self.scalar(fields.get(key), fields.at(key))

    def scalar(self, value: JsonValue, location: Location) -> Expression:
        """A value that can be compared: no list, and no object but a function."""
        if isinstance(value, list) or (isinstance(value, dict) and len(value) != 1):
            return self._expressions.refuse(
                location, f"{json_type(value).capitalize()} cannot be compared"
            )
        return self._expressions.read(value, location)

    def _read_fields(self, fields: Fields) -> Condition | None:
        name = fields.string("Type") if fields.require("Type", "A condition") else None
        if name is None:
            return None
        read = self._kinds.get(name)
        if read is None:
            fields.refuse("Type", f"There is no condition {name!r}" + suggestion(name, self._kinds))
            return None
        return read(name, fields, self)


ConditionKind: TypeAlias = Callable[[str, Fields, ConditionReader], Condition | None]
"""Reads the condition of a type, given its name; None after a problem."""
