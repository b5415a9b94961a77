"""``{"Type": "Or", "Conditions": […]}``"""

from __future__ import annotations

from dataclasses import dataclass

from mlops.definition.conditions.base import Condition, ConditionReader
from mlops.definition.fields import Fields
from mlops.definition.scope import Scope


@dataclass(frozen=True, slots=True)
class Disjunction(Condition):
    conditions: tuple[Condition, ...]

    def evaluate(self, scope: Scope) -> bool:
        return any(condition.evaluate(scope) for condition in self.conditions)

    def explain(self, scope: Scope) -> str:
        return " or ".join(f"({condition.explain(scope)})" for condition in self.conditions)


def read_disjunction(name: str, fields: Fields, reader: ConditionReader) -> Condition:
    fields.only(("Type", "Conditions"), f"The condition {name}")
    return Disjunction(reader.read_list(fields, "Conditions", f"The condition {name}"))
