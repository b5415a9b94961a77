"""Callback: sends a message to an SQS queue and waits until somebody answers it.

``Arguments`` are the message's ``arguments``; the answer gives the step's output parameters.
"""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackStep(Step):
    MEMBERS: ClassVar[tuple[str, ...]] = ("CacheConfig", "SqsQueueUrl", "OutputParameters")
    NEEDS_ARGUMENTS: ClassVar[bool] = False

    queue_url: Expression
    output_parameters: tuple[OutputParameter, ...] = ()

    def refuse_property(self, path: Sequence[Segment]) -> str | None:
        match path:
            case (Member("OutputParameters"), Key(name)):
                return refuse_output_parameter(self.name, name, self.output_parameters)
        return (
            f"The step {self.name!r} is a Callback step: its only properties are its output "
            "parameters, OutputParameters['name']"
        )

    @classmethod
    def read(cls, common: CommonValues, fields: Fields, reader: StepReader) -> Step:
        expressions = reader.expressions()
        arguments = cls.read_arguments(fields, expressions)
        queue_url = _read_queue_url(fields, expressions)
        return cls(
            **common,
            arguments=arguments,
            references=tuple(expressions.references),
            queue_url=queue_url,
            output_parameters=read_output_parameters(fields),
        )


def _read_queue_url(fields: Fields, expressions: ExpressionReader) -> Expression:
    if not fields.require("SqsQueueUrl", "A Callback step"):
        return Literal(None)
    value = fields.get("SqsQueueUrl")
    if not isinstance(value, (str, dict)):
        fields.refuse(
            "SqsQueueUrl", f"SqsQueueUrl must be a string or a function, not {json_type(value)}"
        )
    return expressions.read(value, fields.at("SqsQueueUrl"))
