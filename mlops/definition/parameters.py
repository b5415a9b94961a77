"""Pipeline parameters: their declaration, and the values that an execution is started with."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from mlops.definition.fields import Fields
from mlops.definition.limits import MAX_PARAMETERS, PARAMETER_NAME
from mlops.definition.problems import json_type, suggestion
from mlops.definition.scope import JsonValue, ParameterValue
from mlops.errors import ParameterError


class ParameterType(StrEnum):
    """SDK: ``sagemaker.workflow.parameters.ParameterTypeEnum``."""

    STRING = "String"
    INTEGER = "Integer"
    FLOAT = "Float"
    BOOLEAN = "Boolean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A declared parameter. Without a default an execution must give a value."""

    name: str
    type: ParameterType
    default: ParameterValue | None = None
    enum_values: tuple[str, ...] = ()

    def parse(self, text: str) -> ParameterValue:
        """The typed value of a text.

        Raises:
            ValueError: it has the wrong type, or is none of the allowed values; says what would do.
        """
        if not text:
            raise ValueError("is empty; leave it out for its default, or give a value")
        value = _FROM_TEXT[self.type](text)
        if self.enum_values and value not in self.enum_values:
            raise ValueError(f"is none of the allowed values: {', '.join(self.enum_values)}")
        return value


def _string(text: str) -> str:
    return text


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,300}", text):
        raise ValueError("is no Integer; give a whole number such as 3")
    return int(text)


def _float(text: str) -> float:
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        value = float(text)
        if math.isfinite(value):
            return value
    raise ValueError("is no Float; give a number such as 0.5")


def _boolean(text: str) -> bool:
    # The SDK sends str(True), which is "True".
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    raise ValueError("is no Boolean; give true or false")


_FROM_TEXT: Mapping[ParameterType, Callable[[str], ParameterValue]] = {
    ParameterType.STRING: _string,
    ParameterType.INTEGER: _integer,
    ParameterType.FLOAT: _float,
    ParameterType.BOOLEAN: _boolean,
}

_DEFAULTS: Mapping[ParameterType, tuple[type, ...]] = {
    ParameterType.STRING: (str,),
    ParameterType.INTEGER: (int,),
    ParameterType.FLOAT: (int, float),
    ParameterType.BOOLEAN: (bool,),
}


def read_parameters(fields: Fields) -> tuple[Parameter, ...]:
    """The ``Parameters`` of a definition."""
    entries = fields.objects("Parameters")
    if len(entries) > MAX_PARAMETERS:
        fields.refuse("Parameters", f"There are {len(entries)}; at most {MAX_PARAMETERS} go")
    parameters: dict[str, Parameter] = {}
    for entry in entries:
        parameter = _read_parameter(entry)
        if parameter is None:
            continue
        if parameter.name in parameters:
            entry.refuse("Name", f"The parameter {parameter.name!r} is declared twice")
        parameters.setdefault(parameter.name, parameter)
    return tuple(parameters.values())


def _read_parameter(fields: Fields) -> Parameter | None:
    fields.only(("Name", "Type", "DefaultValue", "EnumValues"), "A parameter")
    name = fields.string("Name") if fields.require("Name", "A parameter") else None
    if name is not None and not PARAMETER_NAME.fullmatch(name):
        fields.refuse("Name", f"{name!r} is no parameter name: 1 to 256 of A-Z a-z 0-9 - _ go")
    kind = _read_type(fields)
    if name is None:
        return None
    default = fields.get("DefaultValue")
    enum_values = fields.strings("EnumValues")
    if kind is not None:
        _check_default(fields, kind, default, enum_values)
    return Parameter(
        name=name,
        type=kind or ParameterType.STRING,
        default=_as_declared(kind, default),
        enum_values=enum_values,
    )


def _read_type(fields: Fields) -> ParameterType | None:
    text = fields.string("Type") if fields.require("Type", "A parameter") else None
    if text is None:
        return None
    known = [str(kind) for kind in ParameterType]
    if text not in known:
        fields.refuse("Type", f"There is no parameter type {text!r}" + suggestion(text, known))
        return None
    return ParameterType(text)


def _check_default(
    fields: Fields, kind: ParameterType, default: JsonValue, enum_values: tuple[str, ...]
) -> None:
    if enum_values and kind is not ParameterType.STRING:
        fields.refuse("EnumValues", "Only a String parameter can have EnumValues")
    if default is None:
        return
    # JSON's booleans are no numbers, Python's are.
    if not isinstance(default, _DEFAULTS[kind]) or (
        isinstance(default, bool) and kind is not ParameterType.BOOLEAN
    ):
        fields.refuse(
            "DefaultValue",
            f"The default of a {kind} parameter is {json_type(default)}: {default!r}",
        )
    elif enum_values and default not in enum_values:
        fields.refuse("DefaultValue", f"{default!r} is none of {', '.join(enum_values)}")


def _as_declared(
    kind: ParameterType | None, default: ParameterValue | None
) -> ParameterValue | None:
    if kind is ParameterType.FLOAT and isinstance(default, int):
        # An integer beyond the range of a float is left as it is: it compares as it should.
        with suppress(OverflowError):
            return float(default)
    return default


def bind_values(
    declared: Sequence[Parameter], given: Mapping[str, str]
) -> Mapping[str, ParameterValue]:
    """The value of every declared parameter: the given text by its type, else the default.

    Parameters travel as strings (``PipelineParameters`` of StartPipelineExecution).

    Raises:
        ParameterError: a parameter is unknown, missing, empty, of the wrong type or none of its
            allowed values; one error names them all.
    """
    by_name = {parameter.name: parameter for parameter in declared}
    wrong = [
        f"There is no parameter {name!r}" + suggestion(name, by_name)
        for name in given
        if name not in by_name
    ]
    bound: dict[str, ParameterValue] = {}
    for parameter in declared:
        try:
            bound[parameter.name] = _bind(parameter, given)
        except ValueError as error:
            wrong.append(f"The parameter {parameter.name} {error}")
    if wrong:
        raise _parameter_error(wrong)
    return bound


def _bind(parameter: Parameter, given: Mapping[str, str]) -> ParameterValue:
    text = given.get(parameter.name)
    if text is None:
        if parameter.default is None:
            raise ValueError(f"has no default; give it a value of type {parameter.type}")
        return parameter.default
    try:
        return parameter.parse(text)
    except ValueError as error:
        shown = f"is {text!r}, which {error}" if text else str(error)
        raise ValueError(shown) from error


def _parameter_error(wrong: Sequence[str]) -> ParameterError:
    what = (
        wrong[0]
        if len(wrong) == 1
        else "\n".join(["Several parameters are wrong:", *(f"  - {line}" for line in wrong)])
    )
    return ParameterError(what, next_step="correct the parameters and start again")
