"""Expressions to values."""

from __future__ import annotations

from mlops.definition.expressions.base import Expression
from mlops.definition.scope import JsonValue, Scope


def resolve(expression: Expression, scope: Scope) -> JsonValue:
    """The JSON value of an expression.

    A bare ``Get`` keeps its type: an Integer parameter gives an int. What the service's request
    has as strings (HyperParameters, Environment) goes through ``render_texts`` afterwards.

    Raises:
        ResolveError: a reference, function or condition has no value; says which and what to do.
        StoreError: a file that ``Std:JsonGet`` reads is not there.
    """
    return expression.resolve(scope)
