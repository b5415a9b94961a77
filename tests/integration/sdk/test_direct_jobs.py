"""SDK v2's Estimator.fit and Processor.run with its ordinary Session: by the environment alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from mlops.runtimes.fake import FakeContainer, FakeRuntime
from mlops.sessions import sdk as _quiet  # noqa: F401  # the SDK's import without its side effects
from mlops.sessions.environment import NO_ACCOUNT

ROLE = "arn:aws:iam::123456789012:role/mlops-execution"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mlops-processing:latest"


@pytest.fixture
def runtime() -> FakeRuntime:
    def speak(job: FakeContainer) -> None:
        job.print("the job speaks")
        (job.path("/opt/ml/model")).mkdir(parents=True, exist_ok=True)

    return FakeRuntime({"*": speak})


@pytest.fixture
def pointed(gateway_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Environment variables alone say where AWS is."""
    variables = {**NO_ACCOUNT, "AWS_ENDPOINT_URL": gateway_url, "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    before, boto3.DEFAULT_SESSION = boto3.DEFAULT_SESSION, None
    yield
    boto3.DEFAULT_SESSION = before


@pytest.mark.usefixtures("pointed")
def test_fit_and_run_with_their_logs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sagemaker import session as sdk_session
    from sagemaker.estimator import Estimator
    from sagemaker.processing import ProcessingOutput, Processor

    sleep = time.sleep  # the SDK looks every ten seconds
    monkeypatch.setattr("time.sleep", lambda seconds: sleep(min(seconds, 0.02)))
    session = sdk_session.Session(default_bucket="lab-bucket")
    estimator = Estimator(
        IMAGE, ROLE, instance_count=1, instance_type="ml.m5.large", sagemaker_session=session
    )
    estimator.fit(wait=True, logs=True)
    assert estimator.latest_training_job.describe()["TrainingJobStatus"] == "Completed"
    assert estimator.model_data.endswith("/output/model.tar.gz")
    assert "the job speaks" in capsys.readouterr().out
    processor = Processor(
        role=ROLE,
        image_uri=IMAGE,
        instance_count=1,
        instance_type="ml.m5.large",
        sagemaker_session=session,
    )
    output = ProcessingOutput(source="/opt/ml/processing/output", output_name="out")
    processor.run(outputs=[output], wait=True, logs=True)
    assert processor.latest_job.describe()["ProcessingJobStatus"] == "Completed"
    assert "the job speaks" in capsys.readouterr().out
