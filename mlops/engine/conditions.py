"""The question of a condition step."""

from __future__ import annotations

from mlops.definition import ConditionStep, Scope


def evaluate_conditions(step: ConditionStep, scope: Scope) -> bool:
    """Whether all conditions of the step hold; the first that does not ends the asking.

    Raises:
        ResolveError: a value is missing, or two values cannot be compared.
        StoreError: a file that a condition reads is not there.
    """
    return all(condition.evaluate(scope) for condition in step.conditions)


def explain_conditions(step: ConditionStep, scope: Scope) -> str:
    """The conditions with their values filled in, such as ``0.0108 <= 0.03``.

    Ends with the first that does not hold, as the asking does.

    Raises:
        ResolveError: a value is missing.
        StoreError: a file that a condition reads is not there.
    """
    asked = []
    for condition in step.conditions:
        asked.append(condition.explain(scope))
        if not condition.evaluate(scope):
            break
    return " and ".join(asked)
