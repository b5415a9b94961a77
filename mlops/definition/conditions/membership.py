"""``{"Type": "In", "QueryValue": …, "Values": […]}``"""

from __future__ import annotations

from dataclasses import dataclass

from mlops.definition.conditions.base import Condition, ConditionReader
from mlops.definition.conditions.values import same, shown
from mlops.definition.expressions.base import Expression
from mlops.definition.fields import Fields
from mlops.definition.problems import json_type
from mlops.definition.scope import Scope


@dataclass(frozen=True, slots=True)
class Membership(Condition):
    """Whether a value equals one of several; one of another type is simply not equal."""

    query: Expression
    values: tuple[Expression, ...]

    def evaluate(self, scope: Scope) -> bool:
        query = self.query.resolve(scope)
        # Every value is asked for, a match or not: what cannot be compared always shows.
        matches = [same(query, value.resolve(scope)) for value in self.values]
        return any(matches)

    def explain(self, scope: Scope) -> str:
        values = ", ".join(shown(value.resolve(scope)) for value in self.values)
        return f"{shown(self.query.resolve(scope))} in [{values}]"


def read_membership(name: str, fields: Fields, reader: ConditionReader) -> Condition:
    fields.only(("Type", "QueryValue", "Values"), f"The condition {name}")
    query = reader.expression(fields, "QueryValue")
    values = fields.get("Values")
    at = fields.at("Values")
    if not isinstance(values, list):
        fields.refuse("Values", f"Values must be a list, not {json_type(values)}")
        values = []
    return Membership(
        query, tuple(reader.scalar(value, at.child(index)) for index, value in enumerate(values))
    )
