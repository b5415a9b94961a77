"""``OutputParameters`` of a step: what later steps may refer to as ``OutputParameters['name']``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mlops.definition.fields import Fields
from mlops.definition.problems import suggestion

MAX_OUTPUT_PARAMETERS = 50  # botocore sagemaker OutputParameterList


class OutputType(StrEnum):
    """SDK v2 ``CallbackOutputTypeEnum`` and ``LambdaOutputTypeEnum``."""

    STRING = "String"
    INTEGER = "Integer"
    BOOLEAN = "Boolean"
    FLOAT = "Float"


@dataclass(frozen=True, slots=True)
class OutputParameter:
    """A value that whoever answers the step gives to later steps."""

    name: str
    type: OutputType


def read_output_parameters(fields: Fields) -> tuple[OutputParameter, ...]:
    """The step's ``OutputParameters``; what is wrong with them goes to the problems."""
    found: dict[str, OutputParameter] = {}
    entries = fields.objects("OutputParameters")
    if len(entries) > MAX_OUTPUT_PARAMETERS:
        fields.refuse(
            "OutputParameters",
            f"There are {len(entries)} output parameters, at most {MAX_OUTPUT_PARAMETERS} go",
        )
    for entry in entries:
        parameter = _read(entry)
        if parameter is None:
            continue
        if parameter.name in found:
            entry.refuse("OutputName", f"Two output parameters are called {parameter.name!r}")
        found[parameter.name] = parameter
    return tuple(found.values())


def refuse_output_parameter(step: str, name: str, known: Sequence[OutputParameter]) -> str | None:
    """Why a step has no output parameter of a name, or None where it has."""
    names = [parameter.name for parameter in known]
    if name in names:
        return None
    return f"The step {step!r} has no output parameter {name!r}" + suggestion(name, names)


def _read(entry: Fields) -> OutputParameter | None:
    what = "An output parameter"
    entry.only(("OutputName", "OutputType"), what)
    named = entry.require("OutputName", what)
    name = entry.string("OutputName") if named else None
    text = entry.string("OutputType") if entry.has("OutputType") else str(OutputType.STRING)
    kinds = [str(kind) for kind in OutputType]
    if text is not None and text not in kinds:
        entry.refuse("OutputType", f"There is no output type {text!r}" + suggestion(text, kinds))
        return None
    return None if not name or text is None else OutputParameter(name, OutputType(text))
