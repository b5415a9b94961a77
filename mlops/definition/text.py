"""Values as the text in which they travel: Join, hyperparameters, environment, arguments."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from mlops.definition.problems import json_type
from mlops.definition.scope import JsonValue
from mlops.errors import ResolveError


def render_text(value: JsonValue) -> str:
    """A resolved value as a string.

    Booleans render ``true`` and ``false`` (asserted by the SDK's integration tests against the
    service). Numbers render as the shortest text that reads back as the same number; a float keeps
    its point (``6.0``) and is written without an exponent where that stays readable.

    Raises:
        ResolveError: null, a list or an object has no text.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float_text(value)
    raise ResolveError(
        f"{json_type(value).capitalize()} cannot become a string: {value!r}",
        next_step="refer to a string, a number or a boolean inside it",
    )


def render_texts(values: Mapping[str, JsonValue]) -> dict[str, str]:
    """A map of resolved values as a map of strings: HyperParameters or Environment of a job.

    SDK v3 puts a bare ``Get`` of an Integer parameter where the service's model has a string.

    Raises:
        ResolveError: a value has no text; the message names its key.
    """
    return {key: _named(key, value) for key, value in values.items()}


def _named(key: str, value: JsonValue) -> str:
    try:
        return render_text(value)
    except ResolveError as error:
        raise ResolveError(error.what, where=key, next_step=error.next_step) from error


def _float_text(value: float) -> str:
    shortest = repr(value)
    # The range in which JavaScript, and most JSON writers, do without an exponent.
    if "e" in shortest and 1e-6 <= abs(value) < 1e21:
        plain = format(Decimal(shortest), "f")
        return plain if "." in plain else f"{plain}.0"
    return shortest
