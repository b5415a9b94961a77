"""Values as far as they are known before a pipeline runs. Pure.

What an expression refers to may not be there yet: the outputs of a step that has not run, a
parameter without a default, a file that a step is to write. A scope says so with ``NotYet``.
"""

from __future__ import annotations

from mlops.definition import Expression, JsonValue, ListExpression, ObjectExpression, Scope
from mlops.errors import ResolveError
from mlops.unknown import UNKNOWN


class NotYet(ResolveError):
    """The value comes with `step`; None where a person gives it, or nobody can tell."""

    def __init__(self, what: str, step: str | None = None) -> None:
        super().__init__(what)
        self.step = step


def resolve_partly(expression: Expression, scope: Scope) -> JsonValue:
    """The value of an expression, with ``UNKNOWN`` for each part that is not known yet.

    Raises:
        ResolveError, StoreError: a part will never have a value.
    """
    match expression:
        case ObjectExpression(members):
            return {key: resolve_partly(item, scope) for key, item in members.items()}
        case ListExpression(items):
            return [resolve_partly(item, scope) for item in items]
    try:
        return expression.resolve(scope)
    except NotYet:
        return UNKNOWN
