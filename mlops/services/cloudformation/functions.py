"""The intrinsic functions: which there are, what is wrong with one, what a value refers to.

Forms: CloudFormation user guide, "Intrinsic function reference".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops.errors import ServiceError

PSEUDO_PARAMETERS = (
    "AWS::AccountId",
    "AWS::NotificationARNs",
    "AWS::NoValue",
    "AWS::Partition",
    "AWS::Region",
    "AWS::StackId",
    "AWS::StackName",
    "AWS::URLSuffix",
)

VARIABLE = re.compile(r"\$\{(?P<name>[^!}][^}]*)\}")
KNOWN = frozenset(
    f"Fn::{name}"
    for name in (
        "And",
        "Base64",
        "Cidr",
        "Equals",
        "FindInMap",
        "GetAtt",
        "If",
        "ImportValue",
        "Join",
        "Not",
        "Or",
        "Select",
        "Split",
        "Sub",
    )
)
_REFUSED = {
    "Fn::GetAZs": "there are no availability zones here",
    "Fn::Transform": "macros do not run here",
    "Fn::Length": "it needs the transform AWS::LanguageExtensions, which does not run here",
    "Fn::ToJsonString": "it needs the transform AWS::LanguageExtensions, which does not run here",
}
_DYNAMIC = re.compile(r"\{\{resolve:(ssm|ssm-secure|secretsmanager):[^}]*\}\}")


def function_of(value: Any) -> tuple[str, Any] | None:
    """The function that a value is, and its arguments; None for anything else."""
    if isinstance(value, dict) and len(value) == 1:
        ((name, arguments),) = value.items()
        if name == "Ref" or name.startswith("Fn::"):
            return name, arguments
        if name == "Condition" and isinstance(arguments, str):
            return name, arguments
    return None


# --- what a value refers to ---


@dataclass(frozen=True, slots=True)
class Reference:
    """``Ref`` of a name, or with an attribute ``Fn::GetAtt``."""

    name: str
    attribute: str | None = None


def references(value: Any, conditions: Mapping[str, bool] | None = None) -> Iterator[Reference]:
    """Everything that a value refers to; of an ``Fn::If``, where conditions are known, the branch
    that is taken.
    """
    found = function_of(value)
    if found is None:
        children = value.values() if isinstance(value, dict) else value
        if isinstance(value, (dict, list)):
            for child in children:
                yield from references(child, conditions)
        return
    name, arguments = found
    if name == "Condition":
        return
    if name == "Ref":
        if isinstance(arguments, str):
            yield Reference(arguments)
    elif name == "Fn::GetAtt":
        if isinstance(arguments, list) and len(arguments) == 2:
            yield Reference(str(arguments[0]), _attribute_text(arguments[1]))
            yield from references(arguments[1], conditions)
    elif name == "Fn::Sub":
        yield from _sub_references(arguments, conditions)
    elif name == "Fn::If" and conditions is not None and is_if(arguments):
        chosen = arguments[1] if conditions.get(arguments[0]) else arguments[2]
        yield from references(chosen, conditions)
    else:
        yield from references(arguments, conditions)


def _attribute_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _sub_references(arguments: Any, conditions: Mapping[str, bool] | None) -> Iterator[Reference]:
    text, values = sub_parts(arguments)
    for match in VARIABLE.finditer(text):
        name, dot, attribute = match["name"].strip().partition(".")
        if match["name"].strip() not in values:
            yield Reference(name, attribute if dot else None)
    yield from references(values, conditions)


def sub_parts(arguments: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(arguments, str):
        return arguments, {}
    if isinstance(arguments, list) and len(arguments) == 2:
        text, values = arguments
        if isinstance(text, str) and isinstance(values, dict):
            return text, values
    raise wrong("Fn::Sub", "a string, or a string and a map of its variables")


def is_if(arguments: Any) -> bool:
    return isinstance(arguments, list) and len(arguments) == 3 and isinstance(arguments[0], str)


# --- whether a value is well formed ---


@dataclass(slots=True)
class Checked:
    problems: list[str] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)
    """Names that are neither a parameter nor a resource."""


def check_functions(
    value: Any,
    where: str,
    parameters: Collection[str],
    resources: Collection[str],
    conditions: Collection[str],
) -> Checked:
    """What is wrong with the functions in a value, as far as that shows before it is evaluated."""
    checked = Checked()
    for name, arguments in _functions_in(value):
        if name in _REFUSED:
            checked.problems.append(f"[{where}] {name} is refused: {_REFUSED[name]}")
        elif name not in KNOWN and name not in ("Ref", "Condition"):
            checked.problems.append(f"[{where}] Encountered unsupported function: {name}")
        elif name == "Fn::If" and not is_if(arguments):
            checked.problems.append(str(wrong(name, "a condition's name and two values")))
        elif name in ("Fn::If", "Condition"):
            condition = arguments[0] if name == "Fn::If" else arguments
            if condition not in conditions:
                checked.problems.append(f"[{where}] Unresolved condition {condition}")
    try:
        found = list(references(value))
    except ServiceError as error:
        checked.problems.append(error.what)
        return checked
    for each in found:
        if each.attribute is not None and each.name in resources:
            continue
        if each.attribute is None and (
            each.name in resources or each.name in parameters or each.name in PSEUDO_PARAMETERS
        ):
            continue
        checked.unresolved.append(each.name)
    checked.problems += [
        f"[{where}] the dynamic reference {text} is refused: pass its value as a parameter"
        for text in _dynamic_in(value)
    ]
    return checked


def _functions_in(value: Any) -> Iterator[tuple[str, Any]]:
    found = function_of(value)
    if found is not None:
        yield found
        value = found[1]
    elif isinstance(value, dict):
        # A function has no siblings; what stands beside others is none, and no property either.
        yield from ((name, None) for name in value if name.startswith("Fn::"))
    children = value.values() if isinstance(value, dict) else value
    if isinstance(value, (dict, list)):
        for child in children:
            yield from _functions_in(child)


def _dynamic_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from (match[0] for match in _DYNAMIC.finditer(value))
    elif isinstance(value, (dict, list)):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _dynamic_in(child)


# --- errors ---


def wrong(name: str, wanted: str) -> ServiceError:
    """The error of a function whose arguments are not what it takes."""
    return template_error(f"every {name} object requires {wanted}")


def template_error(message: str) -> ServiceError:
    return ServiceError("ValidationError", f"Template error: {message}")
