"""RetryPipelineExecution and SelectiveExecutionConfig by boto3.

The rules: pipeline-semantics.md, "Parallelism, selective execution, stop, retry".
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mlops.errors import ServiceError
from mlops.gateway.client import GatewayClient
from mlops.runs import resume_execution
from mlops.runtimes.fake import FakeContainer, FakeRuntime

from .conftest import evaluate, wait_for_stop

Start = Callable[..., str]
Ended = Callable[[str], dict[str, Any]]
TOKEN = "t" * 32


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """While this file is there, the job of the step Second fails."""
    file = tmp_path / "broken"
    file.touch()
    return file


@pytest.fixture
def runtime(broken: Path) -> FakeRuntime:
    def perhaps(job: FakeContainer) -> int | None:
        if broken.exists():
            return 1
        evaluate(job)
        return None

    return FakeRuntime({"*-Wait-*": wait_for_stop, "*-Second-*": perhaps, "*": evaluate})


def chain(lab: SimpleNamespace, *names: str) -> list[dict[str, Any]]:
    """Steps that wait for one another."""
    return [
        lab.processing_step(name) | ({"DependsOn": [names[n - 1]]} if n else {})
        for n, name in enumerate(names)
    ]


def started(runtime: FakeRuntime) -> list[str]:
    return [job.labels["mlops.step"] for job in runtime.started]


def steps_of(sagemaker: Any, arn: str) -> dict[str, dict[str, Any]]:
    steps = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, SortOrder="Ascending")
    return {step["StepName"]: step for step in steps["PipelineExecutionSteps"]}


def refusal(call: Callable[..., Any], **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error: dict[str, Any] = caught.value.response["Error"]
    return f"{error['Code']}: {error['Message']}"


# --- RetryPipelineExecution ---------------------------------------------------------------------


def test_a_retry_goes_on_from_the_failed_step(
    sagemaker: Any, start: Start, ended: Ended, lab: Any, runtime: FakeRuntime, broken: Path
) -> None:
    arn = start(*chain(lab, "First", "Second", "Third"))
    assert ended(arn)["PipelineExecutionStatus"] == "Failed"
    first = steps_of(sagemaker, arn)["First"]
    failed = steps_of(sagemaker, arn)["Second"]["Metadata"]["ProcessingJob"]["Arn"]
    broken.unlink()
    answer = sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn)
    assert answer["PipelineExecutionArn"] == arn
    found = ended(arn)
    assert found["PipelineExecutionStatus"] == "Succeeded"
    assert "FailureReason" not in found
    steps = steps_of(sagemaker, arn)
    assert list(steps) == ["First", "Second", "Third"]
    assert {step["StepStatus"] for step in steps.values()} == {"Succeeded"}
    assert steps["First"] == first
    assert "FailureReason" not in steps["Second"]
    assert started(runtime) == ["First", "Second", "Second", "Third"]
    job = sagemaker.describe_processing_job(ProcessingJobName=failed.rpartition("/")[2])
    assert (job["ProcessingJobArn"], job["ProcessingJobStatus"]) == (failed, "Failed")
    jobs = sagemaker.list_processing_jobs()["ProcessingJobSummaries"]
    assert [job["ProcessingJobStatus"] for job in jobs].count("Failed") == 1
    assert len(jobs) == 4
    assert (
        len(sagemaker.list_pipeline_executions(PipelineName="Lab")["PipelineExecutionSummaries"])
        == 1
    )


def test_a_retry_of_a_stopped_execution(
    sagemaker: Any, start: Start, ended: Ended, lab: Any, runtime: FakeRuntime
) -> None:
    arn = start(*chain(lab, "First", "Wait"))
    while "Wait" not in started(runtime):
        pass
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    assert ended(arn)["PipelineExecutionStatus"] == "Stopped"
    sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn)
    while started(runtime).count("Wait") < 2:
        pass
    assert started(runtime) == ["First", "Wait", "Wait"]
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    assert ended(arn)["PipelineExecutionStatus"] == "Stopped"


def test_a_retry_may_change_the_parallelism(
    sagemaker: Any, start: Start, ended: Ended, lab: Any, broken: Path
) -> None:
    arn = start(lab.processing_step("Second"))
    ended(arn)
    broken.unlink()
    limit = {"MaxParallelExecutionSteps": 2}
    sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn, ParallelismConfiguration=limit)
    assert ended(arn)["ParallelismConfiguration"] == limit


def test_the_same_token_retries_once(
    sagemaker: Any, start: Start, ended: Ended, lab: Any, runtime: FakeRuntime
) -> None:
    arn = start(lab.processing_step("Second"))
    ended(arn)
    for _ in range(2):
        sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn, ClientRequestToken=TOKEN)
        ended(arn)
    assert started(runtime) == ["Second", "Second"]


def test_what_cannot_be_retried(sagemaker: Any, start: Start, ended: Ended, lab: Any) -> None:
    arn = start(lab.processing_step("First"))
    ended(arn)
    retry = sagemaker.retry_pipeline_execution
    assert "ValidationException" in refusal(retry, PipelineExecutionArn=arn)
    gone = arn[:-12] + "0" * 12
    assert "ResourceNotFound" in refusal(retry, PipelineExecutionArn=gone)


def test_what_runs_cannot_be_retried(sagemaker: Any, start: Start, ended: Ended, lab: Any) -> None:
    arn = start(lab.processing_step("Wait"))
    text = refusal(sagemaker.retry_pipeline_execution, PipelineExecutionArn=arn)
    assert "ConflictException" in text
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    ended(arn)


def test_resume_by_hand(
    client: GatewayClient, start: Start, ended: Ended, lab: Any, broken: Path
) -> None:
    arn = start(lab.processing_step("Second"))
    ended(arn)
    broken.unlink()
    execution = client.execution(arn.rpartition("/")[2])["execution"]
    assert resume_execution(client, execution) is True
    assert ended(arn)["PipelineExecutionStatus"] == "Succeeded"
    assert resume_execution(client, execution | {"status": "Executing"}) is False
    with pytest.raises(ServiceError, match="is Succeeded"):
        resume_execution(client, execution)


# --- SelectiveExecutionConfig -------------------------------------------------------------------


def select(*names: str, source: str | None = None) -> dict[str, Any]:
    config: dict[str, Any] = {"SelectedSteps": [{"StepName": name} for name in names]}
    return config | ({"SourcePipelineExecutionArn": source} if source else {})


def test_selected_steps_run_and_those_before_are_reused(
    sagemaker: Any, start: Start, ended: Ended, lab: Any, runtime: FakeRuntime, broken: Path
) -> None:
    broken.unlink()
    source = start(*chain(lab, "First", "Second", "Third", "Fourth"))
    ended(source)
    runtime.started.clear()
    config = select("Second", "Third", source=source)
    arn = sagemaker.start_pipeline_execution(PipelineName="Lab", SelectiveExecutionConfig=config)[
        "PipelineExecutionArn"
    ]
    found = ended(arn)
    assert found["PipelineExecutionStatus"] == "Succeeded"
    assert found["SelectiveExecutionConfig"] == config
    assert started(runtime) == ["Second", "Third"]
    steps = steps_of(sagemaker, arn)
    assert list(steps) == ["First", "Second", "Third"]
    lent = {"SourcePipelineExecutionArn": source}
    assert steps["First"]["SelectiveExecutionResult"] == lent
    assert steps["First"]["Metadata"] == steps_of(sagemaker, source)["First"]["Metadata"]
    assert "SelectiveExecutionResult" not in steps["Second"]


def test_a_failed_execution_lends_what_succeeded_in_it(
    sagemaker: Any, start: Start, ended: Ended, lab: Any, runtime: FakeRuntime, broken: Path
) -> None:
    source = start(*chain(lab, "First", "Second"))
    ended(source)
    broken.unlink()
    arn = sagemaker.start_pipeline_execution(
        PipelineName="Lab", SelectiveExecutionConfig=select("Second", source=source)
    )["PipelineExecutionArn"]
    assert ended(arn)["PipelineExecutionStatus"] == "Succeeded"
    assert started(runtime) == ["First", "Second", "Second"]


def test_a_selection_that_fails_can_be_retried(
    sagemaker: Any, start: Start, ended: Ended, lab: Any, runtime: FakeRuntime, broken: Path
) -> None:
    source = start(*chain(lab, "First", "Second", "Third"))
    ended(source)
    arn = sagemaker.start_pipeline_execution(
        PipelineName="Lab", SelectiveExecutionConfig=select("Second", source=source)
    )["PipelineExecutionArn"]
    assert ended(arn)["PipelineExecutionStatus"] == "Failed"
    broken.unlink()
    sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn)
    assert ended(arn)["PipelineExecutionStatus"] == "Succeeded"
    assert started(runtime) == ["First", "Second", "Second", "Second"]
    assert list(steps_of(sagemaker, arn)) == ["First", "Second"]


def test_the_first_steps_need_no_source(
    sagemaker: Any, start: Start, ended: Ended, lab: Any, runtime: FakeRuntime
) -> None:
    arn = start(*chain(lab, "First", "Second"), SelectiveExecutionConfig=select("First"))
    assert ended(arn)["PipelineExecutionStatus"] == "Succeeded"
    assert started(runtime) == ["First"]


def test_selections_that_are_refused(
    sagemaker: Any, start: Start, ended: Ended, lab: Any, runtime: FakeRuntime
) -> None:
    source = start(*chain(lab, "First", "Second", "Third"))  # First succeeds, Second fails
    ended(source)
    runtime.started.clear()

    def refused(config: dict[str, Any]) -> str:
        return refusal(
            sagemaker.start_pipeline_execution, PipelineName="Lab", SelectiveExecutionConfig=config
        )

    for config, words in (
        (select("First", "Third"), "others between them: Second"),
        (select("Second"), "need the outputs of First"),
        (select("Third", source=source), "Second has not succeeded"),
        (select("Nope"), "no step Nope"),
        (select("Second", source=source[:-12] + "0" * 12), "has no execution"),
    ):
        text = refused(config)
        assert text.startswith("ValidationException"), text
        assert words in text
    assert started(runtime) == []


def test_a_stopped_execution_lends_nothing(
    sagemaker: Any, start: Start, ended: Ended, lab: Any
) -> None:
    source = start(*chain(lab, "First", "Wait"))
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=source)
    ended(source)
    text = refusal(
        sagemaker.start_pipeline_execution,
        PipelineName="Lab",
        SelectiveExecutionConfig=select("Wait", source=source),
    )
    assert "is Stopped" in text


def test_a_branch_that_was_not_taken_lends_no_way_in(
    sagemaker: Any, start: Start, ended: Ended, lab: Any, runtime: FakeRuntime
) -> None:
    gate = {
        "Name": "Gate",
        "Type": "Condition",
        "Arguments": {
            "Conditions": [{"Type": "Equals", "LeftValue": 1, "RightValue": 1}],
            "IfSteps": [lab.processing_step("Taken")],
            "ElseSteps": [lab.processing_step("Other")],
        },
    }
    source = start(gate)
    ended(source)
    text = refusal(
        sagemaker.start_pipeline_execution,
        PipelineName="Lab",
        SelectiveExecutionConfig=select("Other", source=source),
    )
    assert "branch that Gate did not take" in text
    arn = sagemaker.start_pipeline_execution(
        PipelineName="Lab", SelectiveExecutionConfig=select("Taken", source=source)
    )["PipelineExecutionArn"]
    assert ended(arn)["PipelineExecutionStatus"] == "Succeeded"
    assert started(runtime) == ["Taken", "Taken"]
    assert steps_of(sagemaker, arn)["Gate"]["Metadata"] == {"Condition": {"Outcome": "True"}}
