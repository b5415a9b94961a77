"""A gateway in a thread with the fake runtime, and real boto3 clients pointed at it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.validate import ParamValidator

from mlops.app import compose_gateway
from mlops.gateway.client import GatewayClient
from mlops.gateway.server import GatewayThread
from mlops.runtimes.fake import FakeContainer, FakeRuntime
from mlops.settings import Settings

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/mlops-execution"
IMAGE = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/mlops-processing:latest"
EVALUATION = {"regression_metrics": {"mse": {"value": 0.0125}, "r2": {"value": 0.98}}}


def evaluate(job: FakeContainer) -> None:
    """The behaviour of every job: writes an evaluation, says a few lines."""
    folder = job.path("/opt/ml/processing/output/evaluation")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(EVALUATION))
    (folder / "plot.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    job.print("größer als erwartet ✓")
    job.print("detail: mse 0.0125")


def wait_for_stop(job: FakeContainer) -> None:
    job.print("waiting")
    job.terminated.wait(30)


def processing_step(name: str = "Evaluate", bucket: str = "bucket") -> dict[str, Any]:
    return {
        "Name": name,
        "Type": "Processing",
        "Arguments": {
            "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", "x.py"]},
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceType": "ml.m5.large",
                    "InstanceCount": 1,
                    "VolumeSizeInGB": 30,
                }
            },
            "RoleArn": ROLE,
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "evaluation",
                        "AppManaged": False,
                        "S3Output": {
                            "S3Uri": f"s3://{bucket}/evaluation",
                            "LocalPath": "/opt/ml/processing/output/evaluation",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
        },
        "PropertyFiles": [
            {
                "PropertyFileName": "EvaluationReport",
                "OutputName": "evaluation",
                "FilePath": "evaluation.json",
            }
        ],
    }


REGISTER = {
    "Name": "Register-RegisterModel",
    "Type": "RegisterModel",
    "DependsOn": ["Evaluate"],
    "Arguments": {
        "ModelPackageGroupName": "Diamonds",
        "ModelApprovalStatus": "Approved",
        "InferenceSpecification": {
            "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://bucket/model.tar.gz"}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    },
}


def definition(*steps: dict[str, Any]) -> str:
    return json.dumps(
        {
            "Version": "2020-12-01",
            "Metadata": {},
            "Parameters": [{"Name": "MseThreshold", "Type": "Float", "DefaultValue": 0.03}],
            "Steps": list(steps or (processing_step(), REGISTER)),
        }
    )


@pytest.fixture
def lab() -> SimpleNamespace:
    """The names that tests and fixtures share."""
    return SimpleNamespace(
        account=ACCOUNT,
        role=ROLE,
        evaluation=EVALUATION,
        definition=definition,
        processing_step=processing_step,
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=tmp_path / "store", account_id=ACCOUNT)


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime({"*-Wait-*": wait_for_stop, "*": evaluate})


@pytest.fixture
def url(settings: Settings, runtime: FakeRuntime) -> Iterator[str]:
    with GatewayThread(compose_gateway(settings, runtime)) as address:
        yield address


@pytest.fixture
def client(url: str) -> GatewayClient:
    return GatewayClient(url)


@pytest.fixture
def aws(url: str) -> Callable[..., Any]:
    """``aws("sagemaker")``: a boto3 client whose every answer is held to the output shape."""
    session = boto3.Session("any", "thing", region_name="us-east-1")

    def make(service: str, **more: Any) -> Any:
        config = Config(retries={"total_max_attempts": 1}, **more)
        made = session.client(service, endpoint_url=url, config=config)
        made.meta.events.register("after-call", check_answer)
        return made

    return make


def check_answer(http_response: Any, parsed: dict[str, Any], model: Any, **_: Any) -> None:
    """Fail on an answer that lacks what the service model requires, or has a wrong type in it."""
    if http_response.status_code >= 300 or model.output_shape is None:
        return
    members = model.output_shape.members
    content = {
        name: value
        for name, value in parsed.items()
        # ECR answers with empty lists where its model wants one at least (ListImages).
        if name in members and (value != [] or "min" not in members[name].metadata)
    }
    report = ParamValidator().validate(content, model.output_shape)
    assert not report.has_errors(), f"{model.name}: {report.generate_report()}"


@pytest.fixture
def sagemaker(aws: Callable[..., Any]) -> Any:
    return aws("sagemaker")


@pytest.fixture
def bucket(aws: Callable[..., Any]) -> str:
    aws("s3").create_bucket(Bucket="bucket")
    return "bucket"


@pytest.fixture
def start(sagemaker: Any, bucket: str) -> Callable[..., str]:
    """Create a pipeline of these steps and start it; the ARN of the execution."""

    def started(*steps: dict[str, Any], **request: Any) -> str:
        sagemaker.create_pipeline(
            PipelineName="Lab", PipelineDefinition=definition(*steps), RoleArn=ROLE
        )
        answer = sagemaker.start_pipeline_execution(PipelineName="Lab", **request)
        arn: str = answer["PipelineExecutionArn"]
        return arn

    return started


@pytest.fixture
def ended(sagemaker: Any) -> Callable[[str], dict[str, Any]]:
    """Wait for an execution's end; its description."""

    def wait(arn: str) -> dict[str, Any]:
        deadline = monotonic() + 20
        while monotonic() < deadline:
            found: dict[str, Any] = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
            if found["PipelineExecutionStatus"] not in ("Executing", "Stopping"):
                return found
            sleep(0.02)
        raise AssertionError(f"{arn} has not ended")

    return wait
