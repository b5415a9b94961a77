"""Event patterns: read once, then asked of each event. Pure.

The EventBridge User Guide, "Comparison operators for use in event patterns". A pattern has the form
of the event; where it has a list, one of its values or comparisons has to fit, and an event's array
fits where one of its elements does.
"""

from __future__ import annotations

import ipaddress
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from mlops.json_text import parse_json

Test: TypeAlias = Callable[[Any], bool]
"""Of a value in an event; `ABSENT` where the event has none."""
Fits: TypeAlias = Callable[[Mapping[str, Any]], bool]

ABSENT = object()
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MOST_ALTERNATIVES = 1000  # a list of a pattern; the service counts rules' combinations to that


class BadPattern(ValueError):
    """It is no event pattern."""


def read_pattern(text: str) -> Fits:
    """What tells whether an event fits the pattern in `text`.

    Raises:
        BadPattern: it is no pattern that EventBridge takes.
    """
    try:
        pattern = parse_json(text)
    except ValueError as error:
        raise BadPattern(f"Event pattern is not valid. Reason: it is no JSON: {error}") from error
    if not isinstance(pattern, dict) or not pattern:
        raise BadPattern("Event pattern is not valid. Reason: it must be an object with a field")
    return _object(pattern, "")


def _object(pattern: Mapping[str, Any], path: str) -> Fits:
    parts: list[Fits] = []
    for name, value in pattern.items():
        place = f"{path}.{name}" if path else name
        if name == "$or":
            parts.append(_either(value, place))
        elif isinstance(value, dict):
            if not value:
                raise _bad(place, "an empty object is not allowed")
            parts.append(_nested(name, _object(value, place)))
        elif isinstance(value, list):
            parts.append(_field(name, _alternatives(value, place)))
        else:
            raise _bad(place, "it must be an object or an array")
    return lambda event: all(part(event) for part in parts)


def _either(value: Any, place: str) -> Fits:
    if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
        raise _bad(place, "it must be an array of objects")
    choices = [_object(each, place) for each in value]
    return lambda event: any(choice(event) for choice in choices)


def _nested(name: str, inner: Fits) -> Fits:
    def fits(event: Mapping[str, Any]) -> bool:
        value = event.get(name, {})
        if isinstance(value, list):
            return any(isinstance(each, dict) and inner(each) for each in value)
        return isinstance(value, dict) and inner(value)

    return fits


def _field(name: str, tests: Sequence[Test]) -> Fits:
    def fits(event: Mapping[str, Any]) -> bool:
        value = event.get(name, ABSENT)
        values = value if isinstance(value, list) else [value]
        return any(test(each) for each in values for test in tests)

    return fits


def _alternatives(values: list[Any], place: str) -> list[Test]:
    if not values:
        raise _bad(place, "an empty array matches nothing")
    if len(values) > _MOST_ALTERNATIVES:
        raise _bad(place, f"it has more than {_MOST_ALTERNATIVES} values")
    return [_alternative(each, place) for each in values]


def _alternative(value: Any, place: str) -> Test:
    if isinstance(value, list):
        raise _bad(place, "an array within an array is not allowed")
    if not isinstance(value, dict):
        return _equals(value)
    if len(value) != 1:
        raise _bad(place, "a comparison has just one operator")
    ((name, operand),) = value.items()
    make = _OPERATORS.get(name)
    if make is None:
        raise _bad(place, f"there is no operator {name!r}")
    return make(operand, place)


def _equals(wanted: Any) -> Test:
    # True is no 1 in JSON, but 1.0 is 1.
    kind = bool if isinstance(wanted, bool) else None
    return lambda value: (
        value is not ABSENT
        and isinstance(value, bool) == (kind is bool)
        and (value is None) == (wanted is None)
        and bool(value == wanted)
    )


def _text(operand: Any, place: str) -> str:
    if not isinstance(operand, str):
        raise _bad(place, "the operator takes a text")
    return operand


def _affix(method: Callable[[str, str], bool]) -> Callable[[Any, str], Test]:
    def make(operand: Any, place: str) -> Test:
        if isinstance(operand, dict) and list(operand) == ["equals-ignore-case"]:
            wanted = _text(operand["equals-ignore-case"], place).lower()
            return lambda value: isinstance(value, str) and method(value.lower(), wanted)
        text = _text(operand, place)
        return lambda value: isinstance(value, str) and method(value, text)

    return make


def _ignore_case(operand: Any, place: str) -> Test:
    wanted = _text(operand, place).lower()
    return lambda value: isinstance(value, str) and value.lower() == wanted


def _wildcard(operand: Any, place: str) -> Test:
    text = _text(operand, place)
    if "**" in text:
        raise _bad(place, "a wildcard cannot follow another")
    pieces = re.split(r"(\\\*|\\\\|\*)", text)
    escaped = {"*": ".*", r"\*": r"\*", r"\\": r"\\"}
    whole = re.compile("".join(escaped.get(piece, re.escape(piece)) for piece in pieces), re.DOTALL)
    return lambda value: isinstance(value, str) and whole.fullmatch(value) is not None


def _exists(operand: Any, place: str) -> Test:
    if not isinstance(operand, bool):
        raise _bad(place, "exists takes true or false")
    return lambda value: (value is not ABSENT) == operand


def _numeric(operand: Any, place: str) -> Test:
    if not isinstance(operand, list) or len(operand) not in (2, 4):
        raise _bad(place, "numeric takes an operator and a number, once or twice")
    bounds = []
    for name, bound in zip(operand[::2], operand[1::2], strict=True):
        if name not in _ORDERS or isinstance(bound, bool) or not isinstance(bound, int | float):
            raise _bad(place, f"numeric knows {', '.join(_ORDERS)} and a number")
        bounds.append((_ORDERS[name], bound))

    def test(value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and all(order(value, bound) for order, bound in bounds)

    return test


def _cidr(operand: Any, place: str) -> Test:
    try:
        network = ipaddress.ip_network(_text(operand, place), strict=False)
    except ValueError as error:
        raise _bad(place, f"{operand!r} is no CIDR") from error

    def test(value: Any) -> bool:
        try:
            return isinstance(value, str) and ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return test


def _anything_but(operand: Any, place: str) -> Test:
    if isinstance(operand, dict):
        if len(operand) != 1 or next(iter(operand)) not in _NEGATED:
            raise _bad(place, f"anything-but takes values, or one of {', '.join(_NEGATED)}")
        ((name, inner),) = operand.items()
        texts = inner if isinstance(inner, list) else [inner]
        tests = [_NEGATED[name](text, place) for text in texts]
    else:
        values = operand if isinstance(operand, list) else [operand]
        if not values or not all(isinstance(v, str | int | float | None) for v in values):
            raise _bad(place, "anything-but takes texts and numbers")
        tests = [_equals(each) for each in values]
    return lambda value: value is not ABSENT and not any(test(value) for test in tests)


_prefix = _affix(str.startswith)
_suffix = _affix(str.endswith)
_NEGATED: Mapping[str, Callable[[Any, str], Test]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _ignore_case,
    "wildcard": _wildcard,
}
_OPERATORS: Mapping[str, Callable[[Any, str], Test]] = {
    **_NEGATED,
    "anything-but": _anything_but,
    "exists": _exists,
    "numeric": _numeric,
    "cidr": _cidr,
}


def _bad(place: str, reason: str) -> BadPattern:
    return BadPattern(f"Event pattern is not valid. Reason: {reason}, at {place}")
