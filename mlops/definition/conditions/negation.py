"""``{"Type": "Not", "Condition": …}``"""

from __future__ import annotations

from dataclasses import dataclass

from mlops.definition.conditions.base import Condition, ConditionReader
from mlops.definition.fields import Fields
from mlops.definition.scope import Scope


@dataclass(frozen=True, slots=True)
class Negation(Condition):
    condition: Condition

    def evaluate(self, scope: Scope) -> bool:
        return not self.condition.evaluate(scope)

    def explain(self, scope: Scope) -> str:
        return f"not ({self.condition.explain(scope)})"


def read_negation(name: str, fields: Fields, reader: ConditionReader) -> Condition | None:
    fields.only(("Type", "Condition"), f"The condition {name}")
    condition = reader.read_one(fields, "Condition", f"The condition {name}")
    return None if condition is None else Negation(condition)
