"""Lambda: invokes a function with ``Arguments`` as its event; its answer has the step's outputs.

SDK v2's LambdaStep makes or updates the function while it compiles; the definition names its ARN.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mlops.definition.expressions.base import Expression, ExpressionReader, Literal
from mlops.definition.fields import Fields
from mlops.definition.problems import json_type
from mlops.definition.property_path import Key, Member, Segment
from mlops.definition.steps.base import CommonValues, Step, StepReader
from mlops.definition.steps.output_parameters import (
    OutputParameter,
    read_output_parameters,
    refuse_output_parameter,
)

_FUNCTION_ARN = re.compile(r"arn:[a-z-]+:lambda:[a-z0-9-]+:\d{12}:function:[^\s:]+(:[^\s:]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaStep(Step):
    MEMBERS: ClassVar[tuple[str, ...]] = ("CacheConfig", "FunctionArn", "OutputParameters")
    NEEDS_ARGUMENTS: ClassVar[bool] = False

    function_arn: Expression
    output_parameters: tuple[OutputParameter, ...] = ()

    def refuse_property(self, path: Sequence[Segment]) -> str | None:
        match path:
            case (Member("OutputParameters"), Key(name)):
                return refuse_output_parameter(self.name, name, self.output_parameters)
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
            output_parameters=read_output_parameters(fields),
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
