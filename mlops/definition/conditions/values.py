"""Which values can be compared with one another."""

from __future__ import annotations

from enum import Enum

from mlops.definition.problems import json_type
from mlops.definition.scope import JsonValue
from mlops.definition.text import render_text
from mlops.errors import ResolveError


class Kind(Enum):
    """The kinds of JSON values; integers and floats are of one kind, booleans are no numbers."""

    NULL = "null"
    BOOLEAN = "the boolean"
    NUMBER = "the number"
    STRING = "the string"

    @property
    def ordered(self) -> bool:
        return self in (Kind.NUMBER, Kind.STRING)

    def __str__(self) -> str:
        return self.value


_KINDS: dict[type, Kind] = {
    type(None): Kind.NULL,
    bool: Kind.BOOLEAN,
    int: Kind.NUMBER,
    float: Kind.NUMBER,
    str: Kind.STRING,
}


def kind_of(value: JsonValue) -> Kind:
    """Raises:
    ResolveError: a list or an object cannot be compared.
    """
    kind = _KINDS.get(type(value))
    if kind is None:
        raise ResolveError(
            f"A condition cannot compare {json_type(value)}: {value!r}",
            next_step="refer to a string, a number or a boolean inside it",
        )
    return kind


def same(left: JsonValue, right: JsonValue) -> bool:
    return kind_of(left) is kind_of(right) and bool(left == right)


def shown(value: JsonValue) -> str:
    """A value as a person reads it: strings in quotes."""
    if value is None or isinstance(value, str):
        return "null" if value is None else repr(value)
    return render_text(value)


def described(value: JsonValue) -> str:
    """A value with its kind, such as ``the string '1'``."""
    kind = kind_of(value)
    return str(kind) if kind is Kind.NULL else f"{kind} {shown(value)}"


def shortened(value: JsonValue) -> JsonValue:
    """A float in six significant digits; anything else as it is."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
