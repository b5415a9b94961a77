from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlops.errors import ServiceError
from mlops.ports import StepRecord, StepStatus
from mlops.stores.state import SqliteStateStore

Call = Callable[..., dict[str, Any]]
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
ARN = "arn:aws:sagemaker:us-east-1:000000000000"


def put(state: SqliteStateStore, kind: str, name: str, status: str, seconds: int) -> None:
    at = BEGAN + timedelta(seconds=seconds)
    state.put_step(
        StepRecord(
            execution_arn=f"{ARN}:pipeline/p/execution/{name}",
            name="S",
            type=kind,
            status=StepStatus.SUCCEEDED,
            started_at=at,
            position=0,
            job_name=name,
            outputs={
                f"{kind}JobName": name,
                f"{kind}JobArn": f"{ARN}:{kind.lower()}-job/{name}",
                f"{kind}JobStatus": status,
                "CreationTime": at.isoformat(),
                "NotInTheModel": 1,
            },
        )
    )


@pytest.mark.parametrize("kind", ["Processing", "Training"])
def test_describe_and_list(call: Call, state: SqliteStateStore, kind: str) -> None:
    put(state, kind, "job-b", "Completed", 0)
    put(state, kind, "job-a", "Failed", 1)
    found = call(f"Describe{kind}Job", **{f"{kind}JobName": "job-b"})
    assert found[f"{kind}JobStatus"] == "Completed"
    assert found["CreationTime"] == BEGAN.timestamp()
    assert "NotInTheModel" not in found

    def names(**request: Any) -> list[str]:
        rows = call(f"List{kind}Jobs", **request)[f"{kind}JobSummaries"]
        return [row[f"{kind}JobName"] for row in rows]

    assert names() == ["job-b", "job-a"]
    assert names(SortBy="Name") == ["job-a", "job-b"]
    assert names(StatusEquals="Failed") == ["job-a"]
    assert names(NameContains="-b") == ["job-b"]
    assert names(CreationTimeAfter=BEGAN.timestamp()) == ["job-a"]


def test_a_missing_job(call: Call) -> None:
    with pytest.raises(ServiceError) as caught:
        call("DescribeTrainingJob", TrainingJobName="none")
    assert caught.value.code == "ResourceNotFound"


def test_an_operation_that_is_not_answered_is_named(call: Call) -> None:
    with pytest.raises(ServiceError, match="CreateAutoMLJob") as caught:
        call("CreateAutoMLJob", AutoMLJobName="j")
    assert (caught.value.code, caught.value.status) == ("NotImplemented", 501)


def test_an_operation_that_sagemaker_does_not_have(call: Call) -> None:
    with pytest.raises(ServiceError, match="Juggle") as caught:
        call("Juggle")
    assert caught.value.code == "UnknownOperationException"
