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
        asked = []
        for condition in self.conditions:
            asked.append(f"({condition.explain(scope)})")
            if condition.evaluate(scope):
                break
        return " or ".join(asked)


def read_disjunction(name: str, fields: Fields, reader: ConditionReader) -> Condition:
    fields.only(("Type", "Conditions"), f"The condition {name}")
    return Disjunction(reader.read_list(fields, "Conditions", f"The condition {name}"))
