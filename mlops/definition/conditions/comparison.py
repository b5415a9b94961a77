"""``{"Type": "LessThanOrEqualTo", "LeftValue": …, "RightValue": …}`` and its four siblings."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlops.definition.conditions.base import Condition, ConditionReader
from mlops.definition.conditions.values import described, kind_of, shortened, shown
from mlops.definition.expressions.base import Expression
from mlops.definition.fields import Fields
from mlops.definition.scope import JsonValue, Scope
from mlops.errors import ResolveError


@dataclass(frozen=True, slots=True)
class Operator:
    symbol: str
    holds: Callable[[Any, Any], bool]
    needs_order: bool


OPERATORS: Mapping[str, Operator] = {
    "Equals": Operator("==", operator.eq, False),
    "GreaterThan": Operator(">", operator.gt, True),
    "GreaterThanOrEqualTo": Operator(">=", operator.ge, True),
    "LessThan": Operator("<", operator.lt, True),
    "LessThanOrEqualTo": Operator("<=", operator.le, True),
}


@dataclass(frozen=True, slots=True)
class Comparison(Condition):
    """Two values of one kind: numbers as numbers, strings as strings, character by character.

    Strings comparing as strings is asserted by the SDK's integration tests against the service.
    A string and a number are not compared: the SDK's local executor refuses that too.
    """

    type: str
    left: Expression
    right: Expression

    def evaluate(self, scope: Scope) -> bool:
        left, right = self.left.resolve(scope), self.right.resolve(scope)
        self._check(left, right)
        return OPERATORS[self.type].holds(left, right)

    def explain(self, scope: Scope) -> str:
        left, right = self.left.resolve(scope), self.right.resolve(scope)
        return f" {OPERATORS[self.type].symbol} ".join(_told_apart(left, right))

    def _check(self, left: JsonValue, right: JsonValue) -> None:
        left_kind, right_kind = kind_of(left), kind_of(right)
        if left_kind is not right_kind:
            raise ResolveError(
                f"{self.type} cannot compare {described(left)} with {described(right)}",
                next_step="compare values of one type: change the parameter's type or the file",
            )
        if OPERATORS[self.type].needs_order and not left_kind.ordered:
            raise ResolveError(
                f"{self.type} needs an order, {described(left)} has none",
                next_step="compare numbers or strings, or use Equals",
            )


def _told_apart(left: JsonValue, right: JsonValue) -> tuple[str, str]:
    """Both values; floats in six digits, unless that makes different ones look the same."""
    short = shown(shortened(left)), shown(shortened(right))
    alike = short[0] == short[1] and left != right
    return (shown(left), shown(right)) if alike else short


def read_comparison(name: str, fields: Fields, reader: ConditionReader) -> Condition:
    fields.only(("Type", "LeftValue", "RightValue"), f"The condition {name}")
    left, right = reader.expression(fields, "LeftValue"), reader.expression(fields, "RightValue")
    return Comparison(name, left, right)
