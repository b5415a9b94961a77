"""An execution as the expressions of its steps see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from mlops.definition import ParameterValue
from mlops.errors import ResolveError
from mlops.ports import ExecutionRecord, JsonObject, ObjectStore
from mlops.s3_uri import split_s3_uri


@dataclass(frozen=True, slots=True)
class ExecutionScope:
    """``definition.Scope`` for one step at one moment."""

    parameters: Mapping[str, ParameterValue]
    execution_variables: Mapping[str, str]
    outputs: Mapping[str, JsonObject]
    """By step name; shared with the driver, which adds to it."""
    objects: ObjectStore

    def step_outputs(self, step_name: str) -> Mapping[str, Any]:
        return self.outputs[step_name]

    def read_text(self, s3_uri: str) -> str:
        bucket, key = split_s3_uri(s3_uri)
        with self.objects.open(bucket, key) as file:
            content = file.read()
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ResolveError(
                f"{s3_uri} is no text in UTF-8",
                next_step="let the step that writes the file write JSON in UTF-8",
            ) from error

    def with_job(self, job_name: str, now: datetime) -> Self:
        """The scope of one start of a step: its job's name, and the time."""
        of_the_job = {
            "TrainingJobName": job_name,
            "ProcessingJobName": job_name,
            "CurrentDateTime": iso(now),
        }
        return replace(self, execution_variables={**self.execution_variables, **of_the_job})


def execution_variables(execution: ExecutionRecord) -> dict[str, str]:
    """``Execution.*`` of AWS's "Execution variables", without what changes from step to step."""
    return {
        "PipelineName": execution.pipeline_name,
        "PipelineArn": execution.pipeline_arn,
        "PipelineExecutionId": execution.id,
        "PipelineExecutionArn": execution.arn,
        "StartDateTime": iso(execution.started_at),
    }


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
