from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlops.errors import ServiceError
from mlops.ports import ExecutionStatus, StepRecord, StepStatus
from mlops.stores.state import SqliteStateStore

Call = Callable[..., dict[str, Any]]
Start = Callable[..., str]


def refused(call: Call, operation: str, **request: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        call(operation, **request)
    return caught.value


def test_start_and_describe(call: Call, start: Start) -> None:
    arn = start(
        PipelineExecutionDisplayName="first",
        PipelineExecutionDescription="d",
        PipelineParameters=[{"Name": "Threshold", "Value": "0.5"}],
        ParallelismConfiguration={"MaxParallelExecutionSteps": 3},
    )
    found = call("DescribePipelineExecution", PipelineExecutionArn=arn)
    assert found["PipelineExecutionStatus"] == "Executing"
    assert found["PipelineExecutionDisplayName"] == "first"
    assert found["PipelineExecutionDescription"] == "d"
    assert found["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 3}
    assert "FailureReason" not in found
    described = call("DescribePipeline", PipelineName="Lab-Pipeline")
    assert described["LastRunTime"] == found["CreationTime"]


def test_the_same_token_starts_nothing_new(call: Call, start: Start) -> None:
    assert start(ClientRequestToken="x" * 32) == start(ClientRequestToken="x" * 32)
    assert start() != start()


def test_the_pipelines_parallelism_counts_unless_the_start_gives_one(
    call: Call, start: Start, pipeline: str
) -> None:
    call(
        "UpdatePipeline",
        PipelineName=pipeline,
        ParallelismConfiguration={"MaxParallelExecutionSteps": 1},
    )
    found = call("DescribePipelineExecution", PipelineExecutionArn=start())
    assert found["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 1}


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ([("Treshold", "1")], "Treshold"),
        ([("Threshold", "many")], "Float"),
        ([("Threshold", "")], "empty"),
        ([("Threshold", "1"), ("Threshold", "2")], "more than once: Threshold"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_stored(
    call: Call, start: Start, parameters: list[tuple[str, str]], said: str
) -> None:
    rows = [{"Name": name, "Value": value} for name, value in parameters]
    with pytest.raises(ServiceError, match=said) as caught:
        start(PipelineParameters=rows)
    assert caught.value.code == "ValidationException"
    listed = call("ListPipelineExecutions", PipelineName="Lab-Pipeline")
    assert listed["PipelineExecutionSummaries"] == []


def test_start_of_a_missing_pipeline(start: Start) -> None:
    with pytest.raises(ServiceError) as caught:
        start(PipelineName="Other")
    assert caught.value.code == "ResourceNotFound"


@pytest.mark.parametrize(
    "member",
    [
        {"MlflowExperimentName": "x"},
    ],
)
def test_what_cannot_be_honoured_is_refused(start: Start, member: dict[str, Any]) -> None:
    with pytest.raises(ServiceError, match="is not supported by the local gateway"):
        start(**member)


def test_stop(call: Call, start: Start, executions: Any) -> None:
    arn = start()
    stop = {"PipelineExecutionArn": arn, "ClientRequestToken": "s" * 32}
    assert call("StopPipelineExecution", **stop) == {"PipelineExecutionArn": arn}
    assert call("StopPipelineExecution", **stop) == {"PipelineExecutionArn": arn}
    found = call("DescribePipelineExecution", PipelineExecutionArn=arn)
    assert found["PipelineExecutionStatus"] == "Stopping"
    executions.end(arn, ExecutionStatus.STOPPED)
    assert refused(call, "StopPipelineExecution", **stop).code == "ConflictException"


@pytest.mark.parametrize(
    "operation",
    [
        "DescribePipelineExecution",
        "StopPipelineExecution",
        "UpdatePipelineExecution",
        "ListPipelineExecutionSteps",
        "ListPipelineParametersForExecution",
        "DescribePipelineDefinitionForExecution",
    ],
)
def test_a_missing_execution(call: Call, operation: str) -> None:
    arn = "arn:aws:sagemaker:us-east-1:000000000000:pipeline/p/execution/none"
    token = {"ClientRequestToken": "s" * 32} if operation.startswith("Stop") else {}
    error = refused(call, operation, PipelineExecutionArn=arn, **token)
    assert error.code == "ResourceNotFound"
    assert arn in str(error)


def test_update(call: Call, start: Start) -> None:
    arn = start()
    call(
        "UpdatePipelineExecution",
        PipelineExecutionArn=arn,
        PipelineExecutionDisplayName="renamed",
        PipelineExecutionDescription="why",
    )
    found = call("DescribePipelineExecution", PipelineExecutionArn=arn)
    assert found["PipelineExecutionDisplayName"] == "renamed"
    assert found["PipelineExecutionDescription"] == "why"


def test_list_executions(call: Call, start: Start, pipeline: str) -> None:
    arns = [start() for _ in range(4)]

    def listed(**request: Any) -> list[str]:
        rows = call("ListPipelineExecutions", PipelineName=pipeline, **request)
        return [row["PipelineExecutionArn"] for row in rows["PipelineExecutionSummaries"]]

    assert listed() == arns[::-1]
    assert listed(SortOrder="Ascending") == arns
    assert listed(SortBy="PipelineExecutionArn", SortOrder="Ascending") == sorted(arns)
    second = call("DescribePipelineExecution", PipelineExecutionArn=arns[1])["CreationTime"]
    assert listed(CreatedAfter=second) == [arns[3], arns[2]]
    assert listed(CreatedBefore=second) == [arns[0]]


@pytest.mark.parametrize("order", ["Ascending", "Descending"])
@pytest.mark.parametrize("by", ["CreationTime", "PipelineExecutionArn"])
def test_pages_of_executions_stand_still_while_more_are_started(
    call: Call, start: Start, pipeline: str, order: str, by: str
) -> None:
    arns = [start() for _ in range(5)]
    seen: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = call(
            "ListPipelineExecutions",
            PipelineName=pipeline,
            MaxResults=2,
            SortBy=by,
            SortOrder=order,
            **token,
        )
        seen += [row["PipelineExecutionArn"] for row in page["PipelineExecutionSummaries"]]
        if "NextToken" not in page or len(seen) > 20:
            break
        token = {"NextToken": page["NextToken"]}
        if len(seen) == 2:
            start()
    assert len(seen) == len(set(seen))
    assert set(arns) <= set(seen)


def put_steps(state: SqliteStateStore, arn: str) -> None:
    began = datetime(2026, 3, 1, tzinfo=UTC)
    done = StepRecord(
        execution_arn=arn,
        name="ETL",
        type="Processing",
        status=StepStatus.SUCCEEDED,
        started_at=began,
        ended_at=began + timedelta(seconds=2),
        position=0,
        metadata={"ProcessingJob": {"Arn": "arn:aws:sagemaker:us-east-1:000000000000:x"}},
    )
    failed = StepRecord(
        execution_arn=arn,
        name="Stop",
        type="Fail",
        status=StepStatus.FAILED,
        started_at=began + timedelta(seconds=2),
        position=1,
        failure_reason="no",
        metadata={"Fail": {"ErrorMessage": "no"}},
    )
    state.put_step(done)
    state.put_step(failed)


def test_list_steps_newest_first(call: Call, start: Start, state: SqliteStateStore) -> None:
    arn = start()
    put_steps(state, arn)
    newest, oldest = call("ListPipelineExecutionSteps", PipelineExecutionArn=arn)[
        "PipelineExecutionSteps"
    ]
    assert newest["StepName"] == "Stop"
    assert newest["StepDisplayName"] == "The end"
    assert newest["FailureReason"] == "no"
    assert newest["Metadata"] == {"Fail": {"ErrorMessage": "no"}}
    assert "EndTime" not in newest
    assert oldest["EndTime"] - oldest["StartTime"] == 2.0
    ascending = call(
        "ListPipelineExecutionSteps",
        PipelineExecutionArn=arn,
        SortOrder="Ascending",
        MaxResults=1,
    )
    assert ascending["PipelineExecutionSteps"] == [oldest]
    rest = call(
        "ListPipelineExecutionSteps",
        PipelineExecutionArn=arn,
        SortOrder="Ascending",
        NextToken=ascending["NextToken"],
    )
    assert rest["PipelineExecutionSteps"] == [newest]


def test_a_step_without_a_job_has_no_metadata(
    call: Call, start: Start, state: SqliteStateStore
) -> None:
    arn = start()
    state.put_step(
        StepRecord(
            execution_arn=arn,
            name="Stop",
            type="Fail",
            status=StepStatus.STARTING,
            started_at=datetime(2026, 3, 1, tzinfo=UTC),
            position=0,
        )
    )
    (step,) = call("ListPipelineExecutionSteps", PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    assert "Metadata" not in step


def test_parameters_of_an_execution_have_the_defaults(call: Call, start: Start) -> None:
    arn = start(PipelineParameters=[{"Name": "Threshold", "Value": "0.50"}])
    rows = call("ListPipelineParametersForExecution", PipelineExecutionArn=arn)
    assert rows["PipelineParameters"] == [
        {"Name": "Approval", "Value": "Approved"},
        {"Name": "Threshold", "Value": "0.5"},
    ]


def test_an_execution_keeps_the_definition_it_was_started_with(
    call: Call, start: Start, pipeline: str
) -> None:
    arn = start()
    old = call("DescribePipeline", PipelineName=pipeline)["PipelineDefinition"]
    call("UpdatePipeline", PipelineName=pipeline, PipelineDefinition=old + "\n")
    found = call("DescribePipelineDefinitionForExecution", PipelineExecutionArn=arn)
    assert found["PipelineDefinition"] == old
