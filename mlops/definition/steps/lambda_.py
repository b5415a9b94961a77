"""Lambda: invokes a function with ``Arguments`` as its event; its answer has the step's outputs.

SDK v2's LambdaStep makes or updates the function while it compiles; the definition names its ARN.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from mlops.definition.expressions.base import Expression, ExpressionReader, Literal
from mlops.definition.fields import Fields
from mlops.definition.problems import json_type, suggestion
from mlops.definition.property_path import Key, Member, Segment
from mlops.definition.steps.base import CommonValues, Step, StepReader

MAX_OUTPUT_PARAMETERS = 50  # botocore sagemaker OutputParameterList
_FUNCTION_ARN = re.compile(r"arn:[a-z-]+:lambda:[a-z0-9-]+:\d{12}:function:[^\s:]+(:[^\s:]+)?")


class OutputType(StrEnum):
    """SDK v2 ``LambdaOutputTypeEnum``."""

    STRING = "String"
    INTEGER = "Integer"
    BOOLEAN = "Boolean"
    FLOAT = "Float"


@dataclass(frozen=True, slots=True)
class OutputParameter:
    """A member of the function's answer that later steps may refer to."""

    name: str
    type: OutputType


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaStep(Step):
    MEMBERS: ClassVar[tuple[str, ...]] = ("CacheConfig", "FunctionArn", "OutputParameters")
    NEEDS_ARGUMENTS: ClassVar[bool] = False

    function_arn: Expression
    output_parameters: tuple[OutputParameter, ...] = ()

    def refuse_property(self, path: Sequence[Segment]) -> str | None:
        names = [parameter.name for parameter in self.output_parameters]
        match path:
            case (Member("OutputParameters"), Key(name)):
                if name in names:
                    return None
                return f"The step {self.name!r} has no output parameter {name!r}" + suggestion(
                    name, names
                )
        return (
            f"The step {self.name!r} is a Lambda step: its only properties are its output "
            "parameters, OutputParameters['name']"
        )

    @classmethod
    def read(cls, common: CommonValues, fields: Fields, reader: StepReader) -> Step:
        expressions = reader.expressions()
        arguments = cls.read_arguments(fields, expressions)
        function_arn = _read_function_arn(fields, expressions)
        return cls(
            **common,
            arguments=arguments,
            references=tuple(expressions.references),
            function_arn=function_arn,
            output_parameters=_read_output_parameters(fields),
        )


def _read_function_arn(fields: Fields, expressions: ExpressionReader) -> Expression:
    if not fields.require("FunctionArn", "A Lambda step"):
        return Literal(None)
    value = fields.get("FunctionArn")
    if isinstance(value, str) and not _FUNCTION_ARN.fullmatch(value):
        fields.refuse("FunctionArn", f"{value!r} is no ARN of a Lambda function")
    elif not isinstance(value, (str, dict)):
        fields.refuse(
            "FunctionArn", f"FunctionArn must be a string or a function, not {json_type(value)}"
        )
    return expressions.read(value, fields.at("FunctionArn"))


def _read_output_parameters(fields: Fields) -> tuple[OutputParameter, ...]:
    found: dict[str, OutputParameter] = {}
    entries = fields.objects("OutputParameters")
    if len(entries) > MAX_OUTPUT_PARAMETERS:
        fields.refuse(
            "OutputParameters",
            f"There are {len(entries)} output parameters, at most {MAX_OUTPUT_PARAMETERS} go",
        )
    for entry in entries:
        parameter = _read_output_parameter(entry)
        if parameter is None:
            continue
        if parameter.name in found:
            entry.refuse("OutputName", f"Two output parameters are called {parameter.name!r}")
        found[parameter.name] = parameter
    return tuple(found.values())


def _read_output_parameter(entry: Fields) -> OutputParameter | None:
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
