"""The values of a template's parameters.

Types and constraints: CloudFormation user guide, "Parameters syntax". A parameter of
``AWS::SSM::Parameter::Value<…>`` names a parameter of the parameter store, whose value is asked for
each time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlops.errors import ServiceError
from mlops.services.cloudformation.template import Parameter, text_of

MASK = "****"
_SSM = re.compile(r"AWS::SSM::Parameter::Value<(?P<type>String|List<String>|CommaDelimitedList)>")
_LISTS = ("CommaDelimitedList", "List<Number>", "List<String>")
_TYPES = ("String", "Number", "CommaDelimitedList", "List<Number>")

Lookup = Callable[[str], str]
"""The value of a parameter in the parameter store, by its name."""


def bind(
    declared: Mapping[str, Parameter],
    given: Mapping[str, str],
    lookup: Lookup,
) -> tuple[dict[str, str], dict[str, Any]]:
    """The texts and the values of all parameters.

    The texts are what was given or the default, as DescribeStacks tells them; the values are what
    ``Ref`` comes to: lists for list types, the stored value for SSM types.

    Raises:
        ServiceError: ``ValidationError`` with everything that is wrong.
    """
    problems: list[str] = []
    unknown = [name for name in given if name not in declared]
    if unknown:
        problems.append(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    texts = {name: given.get(name, _default(parameter)) for name, parameter in declared.items()}
    missing = [name for name, text in texts.items() if text is None]
    if missing:
        problems.append(f"Parameters: [{', '.join(missing)}] must have values")
    kept = {name: text for name, text in texts.items() if text is not None}
    values: dict[str, Any] = {}
    for name, text in kept.items():
        try:
            values[name] = _value(declared[name], text, lookup)
        except ServiceError as error:
            problems.append(error.what)
    if problems:
        raise ServiceError("ValidationError", "; ".join(problems))
    return kept, values


def type_problems(declared: Mapping[str, Parameter]) -> list[str]:
    """The parameters whose type is not here."""
    return [
        f"Parameter {each.name} has the type {each.type}, which is refused: the local gateway has "
        f"{', '.join(_TYPES)} and AWS::SSM::Parameter::Value<String>"
        for each in declared.values()
        if each.type not in _TYPES and not _SSM.fullmatch(each.type)
    ]


def masked(declared: Mapping[str, Parameter], texts: Mapping[str, str]) -> dict[str, str]:
    """What may be shown of the values."""
    return {
        name: MASK if name in declared and declared[name].no_echo else text
        for name, text in texts.items()
    }


def _default(parameter: Parameter) -> str | None:
    default = parameter.default
    if default is None:
        return None
    if isinstance(default, list):
        return ",".join(text_of(each) for each in default)
    return text_of(default)


def _value(parameter: Parameter, text: str, lookup: Lookup) -> Any:
    stored = _SSM.fullmatch(parameter.type)
    if stored is not None:
        _check(parameter, text)
        value = lookup(text)
        return value if stored["type"] == "String" else _items(value)
    if parameter.type in _LISTS:
        items = _items(text)
        for item in items:
            _check(parameter, item)
        return items
    _check(parameter, text)
    return text


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")] if text else []


def _check(parameter: Parameter, text: str) -> None:
    problem = next(iter(_broken(parameter, text)), None)
    if problem is None:
        return
    explained = parameter.constraint
    raise ServiceError(
        "ValidationError",
        f"Parameter '{parameter.name}' failed to satisfy constraint: {explained}"
        if explained
        else f"Parameter '{parameter.name}' {problem}",
    )


def _broken(parameter: Parameter, text: str) -> Sequence[str]:
    """The constraints that a value breaks."""
    found = []
    if parameter.allowed_values and text not in parameter.allowed_values:
        allowed = ", ".join(parameter.allowed_values)
        found.append(f"must be one of AllowedValues: [{allowed}]")
    if parameter.allowed_pattern and not re.fullmatch(parameter.allowed_pattern, text):
        found.append(f"must match pattern {parameter.allowed_pattern}")
    if "Number" in parameter.type:
        return [*found, *_broken_number(parameter, text)]
    if parameter.shortest is not None and len(text) < parameter.shortest:
        found.append(f"must contain at least {parameter.shortest} characters")
    if parameter.longest is not None and len(text) > parameter.longest:
        found.append(f"must contain at most {parameter.longest} characters")
    return found


def _broken_number(parameter: Parameter, text: str) -> list[str]:
    try:
        number = float(text)
    except ValueError:
        return ["must be a number"]
    if parameter.lowest is not None and number < parameter.lowest:
        return [f"must be a number not less than {parameter.lowest:g}"]
    if parameter.highest is not None and number > parameter.highest:
        return [f"must be a number not greater than {parameter.highest:g}"]
    return []
