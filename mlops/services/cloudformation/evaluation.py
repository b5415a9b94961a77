"""What a template's values come to.

A value that is not known yet (the ARN of what is still to be made) is ``unknown.UNKNOWN``, and what
is built of it is, too. Rules: CloudFormation user guide, "Intrinsic function reference".
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import islice
from typing import Any

from mlops.services.cloudformation.functions import (
    VARIABLE,
    function_of,
    is_if,
    sub_parts,
    template_error,
    wrong,
)
from mlops.unknown import UNKNOWN, holds_unknown

_LITERAL = re.compile(r"\$\{!([^}]*)\}")
_MOST_CIDRS = 256


class _NoValue:
    """What ``AWS::NoValue`` comes to: the property is left out."""


NO_VALUE = _NoValue()


@dataclass(frozen=True, slots=True)
class Scope:
    """Where names have their values. Resources are asked for when they are needed."""

    values: Mapping[str, Any]
    """Of parameters and pseudo parameters."""
    mappings: Mapping[str, Any] = field(default_factory=dict)
    conditions: Callable[[str], bool] = lambda name: False
    reference: Callable[[str], Any] = lambda name: UNKNOWN
    attribute: Callable[[str, str], Any] = lambda name, attribute: UNKNOWN
    imported: Callable[[str], Any] = lambda name: UNKNOWN


def evaluate(value: Any, scope: Scope) -> Any:
    """`value` with its functions replaced by what they come to.

    Raises:
        ServiceError: ``ValidationError``: a function's arguments are wrong.
    """
    found = function_of(value)
    if found is not None:
        return _apply(*found, scope)
    if isinstance(value, dict):
        made = {key: evaluate(child, scope) for key, child in value.items()}
        return {key: child for key, child in made.items() if child is not NO_VALUE}
    if isinstance(value, list):
        items = [evaluate(child, scope) for child in value]
        return [item for item in items if item is not NO_VALUE]
    return value


def _apply(name: str, arguments: Any, scope: Scope) -> Any:
    if name == "Ref":
        return _ref(arguments, scope)
    if name == "Condition":
        return scope.conditions(arguments)
    evaluator = _EVALUATORS.get(name)
    if evaluator is None:
        raise template_error(f"Encountered unsupported function: {name}")
    return evaluator(arguments, scope)


def _ref(name: Any, scope: Scope) -> Any:
    if not isinstance(name, str):
        raise wrong("Ref", "a name")
    if name == "AWS::NoValue":
        return NO_VALUE
    if name in scope.values:
        return scope.values[name]
    return scope.reference(name)


def _get_att(arguments: Any, scope: Scope) -> Any:
    if not isinstance(arguments, list) or len(arguments) != 2:
        raise wrong("Fn::GetAtt", "a resource and an attribute")
    attribute = evaluate(arguments[1], scope)
    return scope.attribute(str(arguments[0]), str(attribute))


def _sub(arguments: Any, scope: Scope) -> Any:
    text, variables = sub_parts(arguments)
    values = evaluate(variables, scope)
    unknown = False

    def found(match: re.Match[str]) -> str:
        nonlocal unknown
        name = match["name"].strip()
        if name in values:
            value = values[name]
        elif "." in name:
            value = scope.attribute(*name.split(".", 1))
        else:
            value = _ref(name, scope)
        unknown = unknown or holds_unknown(value)
        return _text(value, "Fn::Sub")

    made = _LITERAL.sub(r"${\1}", VARIABLE.sub(found, text))
    return UNKNOWN if unknown else made


def _join(arguments: Any, scope: Scope) -> Any:
    parts = evaluate(arguments, scope)
    if not isinstance(parts, list) or len(parts) != 2 or not isinstance(parts[0], str):
        raise wrong("Fn::Join", "a delimiter and a list of strings")
    if holds_unknown(parts):
        return UNKNOWN
    if not isinstance(parts[1], list):
        raise wrong("Fn::Join", "a delimiter and a list of strings")
    return parts[0].join(_text(part, "Fn::Join") for part in parts[1])


def _select(arguments: Any, scope: Scope) -> Any:
    parts = evaluate(arguments, scope)
    if not isinstance(parts, list) or len(parts) != 2:
        raise wrong("Fn::Select", "an index and a list")
    index, values = parts
    if index is UNKNOWN or values is UNKNOWN:
        return UNKNOWN
    if not isinstance(values, list) or not str(index).isdecimal():
        raise wrong("Fn::Select", "an index and a list")
    if int(index) >= len(values):
        raise template_error(f"Fn::Select cannot select nonexistent value at index {index}")
    return values[int(index)]


def _split(arguments: Any, scope: Scope) -> Any:
    parts = evaluate(arguments, scope)
    if not isinstance(parts, list) or len(parts) != 2 or not isinstance(parts[0], str):
        raise wrong("Fn::Split", "a delimiter and a string")
    if parts[1] is UNKNOWN:
        return UNKNOWN
    if not parts[0]:
        raise template_error("Fn::Split delimiter cannot be empty")
    return _text(parts[1], "Fn::Split").split(parts[0])


def _if(arguments: Any, scope: Scope) -> Any:
    if not is_if(arguments):
        raise wrong("Fn::If", "a condition's name and two values")
    return evaluate(arguments[1] if scope.conditions(arguments[0]) else arguments[2], scope)


def _equals(arguments: Any, scope: Scope) -> bool:
    parts = evaluate(arguments, scope)
    if not isinstance(parts, list) or len(parts) != 2:
        raise wrong("Fn::Equals", "two values")
    left, right = (_comparable(part) for part in parts)
    return bool(left == right)


def _comparable(value: Any) -> Any:
    return value if isinstance(value, (list, dict)) else _text(value, "Fn::Equals")


def _combine(name: str, combine: Callable[[list[bool]], bool], low: int, high: int) -> Any:
    def evaluator(arguments: Any, scope: Scope) -> bool:
        if not isinstance(arguments, list) or not low <= len(arguments) <= high:
            raise wrong(name, "one condition" if high == 1 else f"{low} to {high} conditions")
        return combine([as_truth(evaluate(each, scope), name) for each in arguments])

    return evaluator


def as_truth(value: Any, where: str) -> bool:
    """What a condition came to.

    Raises:
        ServiceError: it is neither true nor false.
    """
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise template_error(f"{where} holds something that is no condition")


def _find_in_map(arguments: Any, scope: Scope) -> Any:
    parts = evaluate(arguments, scope)
    if not isinstance(parts, list) or len(parts) != 3:
        raise wrong("Fn::FindInMap", "a mapping's name and two keys")
    name, key, second = (_text(part, "Fn::FindInMap") for part in parts)
    if name not in scope.mappings:
        raise template_error(
            f"Mapping named '{name}' is not present in the 'Mappings' section of template."
        )
    rows = scope.mappings[name]
    if second not in rows.get(key, {}):
        raise template_error(f"Unable to get mapping for {name}::{key}::{second}")
    return rows[key][second]


def _import_value(arguments: Any, scope: Scope) -> Any:
    name = evaluate(arguments, scope)
    return UNKNOWN if name is UNKNOWN else scope.imported(_text(name, "Fn::ImportValue"))


def _base64(arguments: Any, scope: Scope) -> Any:
    value = evaluate(arguments, scope)
    if value is UNKNOWN:
        return UNKNOWN
    return base64.b64encode(_text(value, "Fn::Base64").encode()).decode()


def _cidr(arguments: Any, scope: Scope) -> Any:
    parts = evaluate(arguments, scope)
    if not isinstance(parts, list) or len(parts) not in (2, 3):
        raise wrong("Fn::Cidr", "an address block, a count and the bits of a subnet")
    if holds_unknown(parts):
        return UNKNOWN
    try:
        network = ip_network(str(parts[0]))
        count, bits = int(parts[1]), int(parts[2] if len(parts) == 3 else 8)
        if not 1 <= count <= _MOST_CIDRS:
            raise ValueError(f"{count} blocks; 1 to {_MOST_CIDRS} can be asked for")
        subnets = network.subnets(new_prefix=network.max_prefixlen - bits)
        made = [str(each) for each in islice(subnets, count)]
    except ValueError as error:
        raise template_error(f"Fn::Cidr: {error}") from error
    if len(made) < count:
        raise template_error(f"Fn::Cidr: {parts[0]} has no {count} blocks of {bits} bits")
    return made


_EVALUATORS: Mapping[str, Callable[[Any, Scope], Any]] = {
    "Fn::And": _combine("Fn::And", all, 2, 10),
    "Fn::Base64": _base64,
    "Fn::Cidr": _cidr,
    "Fn::Equals": _equals,
    "Fn::FindInMap": _find_in_map,
    "Fn::GetAtt": _get_att,
    "Fn::If": _if,
    "Fn::ImportValue": _import_value,
    "Fn::Join": _join,
    "Fn::Not": _combine("Fn::Not", lambda values: not values[0], 1, 1),
    "Fn::Or": _combine("Fn::Or", any, 2, 10),
    "Fn::Select": _select,
    "Fn::Split": _split,
    "Fn::Sub": _sub,
}


def _text(value: Any, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    if value is UNKNOWN:
        return ""
    raise template_error(f"every value of the {where} object must be a string")
