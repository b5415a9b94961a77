"""``{"Get": "Execution.X"}``"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mlops.definition.declarations import Declarations
from mlops.definition.expressions.base import Expression, ExpressionReader, Reference
from mlops.definition.location import Location
from mlops.definition.problems import suggestion
from mlops.definition.scope import JsonValue, Scope
from mlops.errors import ResolveError


class ExecutionVariable(StrEnum):
    """SDK: ``sagemaker.workflow.execution_variables.ExecutionVariables``."""

    PIPELINE_NAME = "PipelineName"
    PIPELINE_ARN = "PipelineArn"
    PIPELINE_EXECUTION_ID = "PipelineExecutionId"
    PIPELINE_EXECUTION_ARN = "PipelineExecutionArn"
    START_DATETIME = "StartDateTime"
    CURRENT_DATETIME = "CurrentDateTime"
    TRAINING_JOB_NAME = "TrainingJobName"
    PROCESSING_JOB_NAME = "ProcessingJobName"


@dataclass(frozen=True, slots=True, kw_only=True)
class GetExecutionVariable(Reference):
    """Something about the running execution; always a string."""

    name: str

    def check(self, declared: Declarations) -> str | None:
        known = [str(variable) for variable in ExecutionVariable]
        if self.name in known:
            return None
        return f"There is no execution variable {self.name!r}" + suggestion(self.name, known)

    def resolve(self, scope: Scope) -> JsonValue:
        try:
            return scope.execution_variables[self.name]
        except KeyError:
            raise ResolveError(
                f"Execution.{self.name} has no value in this step",
                where=str(self.location),
                next_step="TrainingJobName and ProcessingJobName exist in steps of their kind only",
            ) from None


def read_execution_variable(name: str, location: Location, reader: ExpressionReader) -> Expression:
    return reader.refer(GetExecutionVariable(name=name, location=location))
