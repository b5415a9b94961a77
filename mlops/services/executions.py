"""The pipeline execution operations: StartPipelineExecution, ListPipelineExecutionSteps, …"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol

from mlops.definition import PipelineDefinition, bind_parameters, parse_definition, render_text
from mlops.errors import DefinitionError, ParameterError, ServiceError, UsageError
from mlops.ports import (
    ExecutionRecord,
    ExecutionStatus,
    JsonObject,
    PipelineRecord,
    StateStore,
    StepRecord,
)
from mlops.services.arns import Arns
from mlops.services.operation import Handler, Now
from mlops.services.paging import make_token, moment, page, page_size, read_token
from mlops.services.pipelines import PipelineOperations, parallelism_member, parallelism_of
from mlops.services.validation import invalid, missing, refuse_unsupported
from mlops.settings import CACHE_MODES, CACHE_OFF

_UNSUPPORTED_START = {
    "MlflowExperimentName": "there is no MLflow server here",
}


class Executions(Protocol):
    """What these operations need of ``mlops.execution.ExecutionManager``.

    It keeps the promise of ClientRequestToken: the same again starts nothing new.
    """

    def start(
        self,
        pipeline: PipelineRecord,
        *,
        parameters: Mapping[str, str],
        max_parallel_steps: int | None = None,
        display_name: str | None = None,
        description: str | None = None,
        client_request_token: str | None = None,
        cache_mode: str | None = None,
        selective: JsonObject | None = None,
    ) -> ExecutionRecord: ...

    def stop(self, arn: str) -> Any: ...

    def retry(
        self,
        arn: str,
        *,
        max_parallel_steps: int | None = None,
        client_request_token: str | None = None,
    ) -> Any: ...


class ExecutionOperations:
    def __init__(
        self,
        state: StateStore,
        executions: Executions,
        pipelines: PipelineOperations,
        arns: Arns,
        now: Now,
    ) -> None:
        self._state = state
        self._executions = executions
        self._pipelines = pipelines
        self._arns = arns
        self._now = now

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "StartPipelineExecution": self.start,
            "StopPipelineExecution": self.stop,
            "RetryPipelineExecution": self.retry,
            "DescribePipelineExecution": self.describe,
            "UpdatePipelineExecution": self.update,
            "ListPipelineExecutions": self.list_executions,
            "ListPipelineExecutionSteps": self.list_steps,
            "ListPipelineParametersForExecution": self.list_parameters,
            "DescribePipelineDefinitionForExecution": self.describe_definition,
        }

    def start(self, request: JsonObject, *, cache_mode: str | None = None) -> JsonObject:
        """StartPipelineExecution. The same ClientRequestToken again starts nothing new.

        `cache_mode`: see `SageMakerService.handle`.
        """
        if cache_mode not in (None, CACHE_OFF, *CACHE_MODES):
            raise invalid(f"There is no cache mode {cache_mode!r}")
        refuse_unsupported(request, _UNSUPPORTED_START)
        pipeline = self._pipelines.find("StartPipelineExecution", request["PipelineName"])
        version = self._pipelines.versions.asked_for("StartPipelineExecution", pipeline, request)
        pipeline = replace(pipeline, definition=version.document["definition"])
        try:
            execution = self._executions.start(
                pipeline,
                parameters=_given_parameters(request),
                max_parallel_steps=parallelism_of(request),
                display_name=request.get("PipelineExecutionDisplayName"),
                description=request.get("PipelineExecutionDescription"),
                client_request_token=request["ClientRequestToken"],
                cache_mode=cache_mode,
                selective=request.get("SelectiveExecutionConfig"),
            )
        except (ParameterError, DefinitionError, UsageError) as error:
            raise invalid(str(error)) from error
        return {"PipelineExecutionArn": execution.arn}

    def stop(self, request: JsonObject) -> JsonObject:
        """StopPipelineExecution: the execution goes to Stopping, and to Stopped when all is down.

        Asking again while it stops is no error; an execution that has ended is a conflict.
        """
        execution = self.find("StopPipelineExecution", request["PipelineExecutionArn"])
        if execution.status.ended:
            raise ServiceError(
                "ConflictException",
                f"Pipeline execution {execution.arn} has ended ({execution.status}): "
                "only an execution that runs can be stopped.",
            )
        if execution.status is not ExecutionStatus.STOPPING:
            self._executions.stop(execution.arn)
        return {"PipelineExecutionArn": execution.arn}

    def retry(self, request: JsonObject) -> JsonObject:
        """RetryPipelineExecution: the same execution goes on; what has succeeded is not repeated.

        The same ClientRequestToken again changes nothing more.
        """
        execution = self.find("RetryPipelineExecution", request["PipelineExecutionArn"])
        self._executions.retry(
            execution.arn,
            max_parallel_steps=parallelism_of(request),
            client_request_token=request["ClientRequestToken"],
        )
        return {"PipelineExecutionArn": execution.arn}

    def describe(self, request: JsonObject) -> JsonObject:
        execution = self.find("DescribePipelineExecution", request["PipelineExecutionArn"])
        version = self._pipelines.versions.run_by(execution)
        told = self.description(execution)
        if version is not None:
            told["PipelineVersionId"] = version.document["id"]
            told["PipelineVersionAliases"] = version.document["aliases"] or None
        return told

    def description(self, execution: ExecutionRecord) -> JsonObject:
        return {
            "PipelineArn": execution.pipeline_arn,
            "PipelineExecutionArn": execution.arn,
            "PipelineExecutionDisplayName": execution.display_name,
            "PipelineExecutionStatus": execution.status.value,
            "PipelineExecutionDescription": execution.description,
            "FailureReason": execution.failure_reason,
            "CreationTime": execution.started_at,
            "LastModifiedTime": execution.last_modified_at,
            "CreatedBy": self._arns.user_context,
            "LastModifiedBy": self._arns.user_context,
            "ParallelismConfiguration": parallelism_member(execution.max_parallel_steps),
            "SelectiveExecutionConfig": execution.selective,
        }

    def update(self, request: JsonObject) -> JsonObject:
        """UpdatePipelineExecution: its description and display name."""
        refuse_unsupported(
            request, {"ParallelismConfiguration": "give it when the execution is started"}
        )
        changes = {
            "description": request.get("PipelineExecutionDescription"),
            "display_name": request.get("PipelineExecutionDisplayName"),
        }
        given: dict[str, Any] = {k: v for k, v in changes.items() if v is not None}
        with self._state.transaction():
            old = self.find("UpdatePipelineExecution", request["PipelineExecutionArn"])
            self._state.put_execution(replace(old, **given, last_modified_at=self._now()))
        return {"PipelineExecutionArn": old.arn}

    def list_executions(self, request: JsonObject) -> JsonObject:
        """ListPipelineExecutions, the newest first unless SortOrder says otherwise."""
        pipeline = self._pipelines.find("ListPipelineExecutions", request["PipelineName"])
        if "PipelineVersionAlias" in request:
            rows, token = self._page_of_version(pipeline, request)
        elif request.get("SortBy") == "PipelineExecutionArn":
            rows, token = self._page_by_arn(pipeline.name, request)
        else:
            rows, token = self._page_by_start(pipeline.name, request)
        return {"PipelineExecutionSummaries": [_summary(row) for row in rows], "NextToken": token}

    def _page_by_start(self, name: str, request: JsonObject) -> tuple[Any, str | None]:
        """A page straight from the store's index: a pipeline may have many thousand executions.

        Newest first, the pages begin at the execution that was the newest on the first page, so
        that those started since do not push any onto two pages.
        """
        newest_first = request.get("SortOrder", "Descending") == "Descending"
        state = read_token(request) or {"offset": 0, "newest": None}
        before = moment(request.get("CreatedBefore"))
        if state["newest"] is not None:
            bound = datetime.fromisoformat(state["newest"]) + timedelta(microseconds=1)
            before = min(bound, before) if before else bound
        size = page_size(request)
        rows = self._state.list_executions(
            name,
            newest_first=newest_first,
            limit=size + 1,
            offset=state["offset"],
            started_after=moment(request.get("CreatedAfter")),
            started_before=before,
        )
        if len(rows) <= size:
            return rows, None
        newest = state["newest"] or (rows[0].started_at.isoformat() if newest_first else None)
        return rows[:size], make_token(
            request, {"offset": state["offset"] + size, "newest": newest}
        )

    def _page_of_version(
        self, pipeline: PipelineRecord, request: JsonObject
    ) -> tuple[Any, str | None]:
        """Those of the version that has the alias now (the member's documentation)."""
        version = self._pipelines.versions.asked_for("ListPipelineExecutions", pipeline, request)
        rows = self._within(pipeline.name, request)
        its = [row for row in rows if row.definition == version.document["definition"]]
        if its and self._pipelines.versions.run_by(its[0]) != version:
            its = []  # a later version has the same definition, and counts as what they ran
        if request.get("SortBy") == "PipelineExecutionArn":
            its.sort(key=lambda row: row.arn, reverse=True)
        if request.get("SortOrder") == "Ascending":
            its.reverse()
        return page(its, request, lambda row: row.arn)

    def _within(self, name: str, request: JsonObject) -> Sequence[ExecutionRecord]:
        return self._state.list_executions(
            name,
            started_after=moment(request.get("CreatedAfter")),
            started_before=moment(request.get("CreatedBefore")),
        )

    def _page_by_arn(self, name: str, request: JsonObject) -> tuple[Any, str | None]:
        rows = self._within(name, request)
        descending = request.get("SortOrder", "Descending") == "Descending"
        in_order = sorted(rows, key=lambda row: row.arn, reverse=descending)
        return page(in_order, request, lambda row: row.arn)

    def list_steps(self, request: JsonObject) -> JsonObject:
        """ListPipelineExecutionSteps: the newest first, as the SDK's integration tests see it."""
        arn = request.get("PipelineExecutionArn")
        if arn is None:
            raise invalid("PipelineExecutionArn is required")
        execution = self.find("ListPipelineExecutionSteps", arn)
        steps = list(self._state.list_steps(arn))
        if request.get("SortOrder", "Descending") == "Descending":
            steps.reverse()
        rows, token = page(steps, request, lambda step: step.name)
        texts = _step_texts(execution.definition)
        return {
            "PipelineExecutionSteps": [_step_entry(step, texts) for step in rows],
            "NextToken": token,
        }

    def list_parameters(self, request: JsonObject) -> JsonObject:
        """ListPipelineParametersForExecution: every parameter, with the defaults that counted."""
        execution = self.find("ListPipelineParametersForExecution", request["PipelineExecutionArn"])
        values = parameters_of(execution)
        rows, token = page(sorted(values.items()), request, lambda row: row[0])
        return {
            "PipelineParameters": [
                {"Name": name, "Value": render_text(value)} for name, value in rows
            ],
            "NextToken": token,
        }

    def describe_definition(self, request: JsonObject) -> JsonObject:
        execution = self.find(
            "DescribePipelineDefinitionForExecution", request["PipelineExecutionArn"]
        )
        return {
            "PipelineDefinition": execution.definition,
            "CreationTime": execution.started_at,
        }

    def find(self, operation: str, arn: str) -> ExecutionRecord:
        """The execution of an ARN.

        Raises:
            ServiceError: ``ResourceNotFound``.
        """
        execution = self._state.get_execution(arn)
        if execution is None:
            raise missing(operation, f"Pipeline execution {arn} does not exist.")
        return execution


def _given_parameters(request: JsonObject) -> dict[str, str]:
    rows = request.get("PipelineParameters", [])
    given = {row["Name"]: row["Value"] for row in rows}
    if len(given) < len(rows):
        twice = sorted(
            {row["Name"] for row in rows if [r["Name"] for r in rows].count(row["Name"]) > 1}
        )
        raise invalid(f"A parameter is given more than once: {', '.join(twice)}")
    return given


def parameters_of(execution: ExecutionRecord) -> Mapping[str, str | int | float | bool]:
    """The parameters that an execution runs with: the given values, else the defaults."""
    return bind_parameters(_parsed(execution.definition), execution.parameters)


@lru_cache(maxsize=16)
def _parsed(definition: str) -> PipelineDefinition:
    return parse_definition(definition)


def _step_texts(definition: str) -> Mapping[str, tuple[str | None, str | None]]:
    return {
        step.name: (step.display_name, step.description) for step in _parsed(definition).all_steps()
    }


def _step_entry(step: StepRecord, texts: Mapping[str, tuple[str | None, str | None]]) -> JsonObject:
    display_name, description = texts.get(step.name, (None, None))
    return {
        "StepName": step.name,
        "StepDisplayName": display_name,
        "StepDescription": description,
        "StartTime": step.started_at,
        "EndTime": step.ended_at,
        "StepStatus": step.status.value,
        "FailureReason": step.failure_reason,
        "Metadata": step.metadata,
        "AttemptCount": step.attempts,
        "SelectiveExecutionResult": step.reused_from
        and {"SourcePipelineExecutionArn": step.reused_from},
        "CacheHitResult": step.cached_from and {"SourcePipelineExecutionArn": step.cached_from},
    }


def _summary(execution: ExecutionRecord) -> JsonObject:
    return {
        "PipelineExecutionArn": execution.arn,
        "StartTime": execution.started_at,
        "PipelineExecutionStatus": execution.status.value,
        "PipelineExecutionDescription": execution.description,
        "PipelineExecutionDisplayName": execution.display_name,
        "PipelineExecutionFailureReason": execution.failure_reason,
    }
