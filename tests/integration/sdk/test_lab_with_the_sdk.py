"""The lab's pipeline driven by the SDK's own objects, as in a notebook."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import sagemaker
from botocore.exceptions import ClientError, WaiterError
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.selective_execution_config import SelectiveExecutionConfig

from mlops.runtimes.fake import FakeRuntime, Script
from mlops.sessions.local import GatewayPipelineSession, upload_lab
from mlops.settings import Settings

from mlops.pipeline import build_pipeline  # isort: skip  # after the session


@pytest.fixture
def session(gateway_url: str, settings: Settings) -> GatewayPipelineSession:
    return GatewayPipelineSession(gateway_url, settings)


@pytest.fixture
def pipeline(session: GatewayPipelineSession, settings: Settings) -> Any:
    upload_lab(session, settings)
    return build_pipeline(session, settings)


def test_from_upsert_to_a_registered_model(
    pipeline: Any, session: Any, settings: Settings, runtime: FakeRuntime
) -> None:
    tags = [{"Key": "team", "Value": "a"}]
    limit = {"MaxParallelExecutionSteps": 2}
    created = pipeline.upsert(session.role, "The lab", tags, limit)
    described = pipeline.describe()
    assert described["PipelineDefinition"] == pipeline.definition()
    assert described["ParallelismConfiguration"] == limit
    client = session.sagemaker_client
    assert client.list_tags(ResourceArn=created["PipelineArn"])["Tags"] == tags

    execution = pipeline.start(
        parameters={"ModelApprovalStatus": "PendingManualApproval"},
        execution_display_name="first",
    )
    execution.wait(delay=1)
    answer = execution.describe()
    assert (answer["PipelineExecutionStatus"], answer["PipelineExecutionDisplayName"]) == (
        "Succeeded",
        "first",
    )
    steps = {step["StepName"]: step["StepStatus"] for step in execution.list_steps()}
    assert steps == dict.fromkeys(
        ("ETL", "Train", "Evaluate", "Condition", "Register-RegisterModel"), "Succeeded"
    )
    assert [job.command[0] for job in runtime.started if "Evaluate" in job.name] == ["python3"]
    (package,) = client.list_model_packages(ModelPackageGroupName="DiamondPricePackageGroup")[
        "ModelPackageSummaryList"
    ]
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    run = execution.arn.rpartition("/")[2]
    evaluation = f"MLOps-SageMaker-Pipeline/{run}/evaluation/evaluation.json"
    assert "0.0123" in session.read_s3_file(settings.artifact_bucket, evaluation)


def test_a_gate_that_is_missed_ends_in_the_fail_step(pipeline: Any, session: Any) -> None:
    pipeline.upsert(session.role)
    execution = pipeline.start(parameters={"MseThreshold": 0.001})
    with pytest.raises(WaiterError):
        execution.wait(delay=1)
    failed = next(step for step in execution.list_steps() if step["StepName"] == "Fail")
    assert failed["FailureReason"] == "Execution failed due to MSE greater than 0.001"
    groups = session.sagemaker_client.list_model_package_groups()
    assert groups["ModelPackageGroupSummaryList"] == []


def test_upsert_again_updates(pipeline: Any, session: Any) -> None:
    first = pipeline.upsert(session.role, tags=[{"Key": "a", "Value": "1"}])
    second = pipeline.upsert(session.role, "described now", tags=[{"Key": "b", "Value": "2"}])
    assert first["PipelineArn"] == second["PipelineArn"]
    assert pipeline.describe()["PipelineDescription"] == "described now"
    tags = session.sagemaker_client.list_tags(ResourceArn=first["PipelineArn"])["Tags"]
    assert {tag["Key"] for tag in tags} == {"a", "b"}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"Unknown": 1}, "Unknown"),
        ({"MseThreshold": "low"}, "MseThreshold"),
        ({"ModelApprovalStatus": "Maybe"}, "ModelApprovalStatus"),
    ],
)
def test_wrong_parameters_are_refused(
    pipeline: Any, session: Any, parameters: dict[str, Any], words: str
) -> None:
    pipeline.upsert(session.role)
    with pytest.raises(ClientError, match=words) as error:
        pipeline.start(parameters=parameters)
    assert error.value.response["Error"]["Code"] == "ValidationException"


def test_stop(session: Any, pipeline: Any, jobs: dict[str, Script]) -> None:
    jobs["*-ETL-*"] = Script(seconds=60)
    pipeline.upsert(session.role)
    execution = pipeline.start()
    until(lambda: execution.list_steps())
    execution.stop()
    until(lambda: execution.describe()["PipelineExecutionStatus"] == "Stopped")
    assert [step["StepStatus"] for step in execution.list_steps()] == ["Stopped"]


def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_large_definition_goes_through_s3(session: Any) -> None:
    """From 100 KiB on the SDK sends a PipelineDefinitionS3Location (sagemaker/workflow)."""
    steps = [FailStep(f"Step{number}", error_message="x" * 2000) for number in range(60)]
    pipeline = Pipeline("Large", steps=steps, sagemaker_session=session)
    pipeline.upsert(session.role)
    pipeline.upsert(session.role)
    assert pipeline.describe()["PipelineDefinition"] == pipeline.definition()


def test_what_the_sdk_asks_a_session(session: Any, settings: Settings, tmp_path: Any) -> None:
    (tmp_path / "rows.csv").write_text("1\n")
    assert sagemaker.get_execution_role(session) == settings.execution_role_arn
    assert session.account_id() == settings.account_id
    assert session.default_bucket() == settings.artifact_bucket
    uri = session.upload_data(str(tmp_path / "rows.csv"), key_prefix="rows")
    assert uri == f"s3://{settings.artifact_bucket}/rows/rows.csv"


def test_a_part_of_the_lab_run_alone(pipeline: Any, session: Any, runtime: FakeRuntime) -> None:
    """The SDK takes the latest execution as the source, by itself."""
    pipeline.upsert(session.role)
    first = pipeline.start()
    first.wait(delay=1)
    ran = len(runtime.started)
    selection = SelectiveExecutionConfig(selected_steps=["Evaluate"])
    execution = pipeline.start(selective_execution_config=selection)
    execution.wait(delay=1)
    steps = {step["StepName"]: step for step in execution.list_steps()}
    assert set(steps) == {"ETL", "Train", "Evaluate"}
    lent = {"SourcePipelineExecutionArn": first.arn}
    assert steps["Train"]["SelectiveExecutionResult"] == lent
    assert execution.describe()["SelectiveExecutionConfig"] == {
        **lent,
        "SelectedSteps": [{"StepName": "Evaluate"}],
    }
    assert [job.labels["mlops.step"] for job in runtime.started[ran:]] in (["Evaluate"], [])
