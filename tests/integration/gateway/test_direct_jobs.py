"""Jobs without a pipeline, through boto3: created, described, listed, stopped, deleted, tagged."""

from __future__ import annotations

import io
import os
import signal
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from mlops.gateway.process import ensure_gateway, stop_gateway
from mlops.runtimes.fake import FakeContainer, FakeRuntime
from mlops.settings import ImageMapping, Settings

from .conftest import IMAGE, ROLE, evaluate, processing_step

Clients = Callable[..., Any]
QUICK = {"Delay": 0.02, "MaxAttempts": 500}


def train(job: FakeContainer) -> None:
    (job.path("/opt/ml/model") / "weights").write_text("1")
    job.print("loss: 0.25")


@pytest.fixture
def go() -> threading.Event:
    """Lets the jobs end whose names begin with ``held``."""
    return threading.Event()


@pytest.fixture
def runtime(go: threading.Event) -> FakeRuntime:
    def held(job: FakeContainer) -> None:
        while not (go.is_set() or job.terminated.wait(0.01)):
            pass

    def broken(job: FakeContainer) -> int:
        job.print("it broke")
        return 3

    return FakeRuntime({"held*": held, "broken*": broken, "train*": train, "*": evaluate})


def processing(name: str, **more: Any) -> dict[str, Any]:
    return {"ProcessingJobName": name, **processing_step()["Arguments"], **more}


def training(name: str, **more: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": r"loss: ([0-9.]+)"}],
        },
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 30,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **more,
    }


def test_a_training_job(sagemaker: Any, aws: Clients, bucket: str) -> None:
    tags = [{"Key": "team", "Value": "lab"}]
    arn = sagemaker.create_training_job(**training("train-1", Tags=tags))["TrainingJobArn"]
    waiter = sagemaker.get_waiter("training_job_completed_or_stopped")
    waiter.wait(TrainingJobName="train-1", WaiterConfig=QUICK)
    found = sagemaker.describe_training_job(TrainingJobName="train-1")
    assert (found["TrainingJobArn"], found["TrainingJobStatus"]) == (arn, "Completed")
    assert found["SecondaryStatus"] == "Completed"
    assert found["FinalMetricDataList"][0]["Value"] == 0.25
    uri = found["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == "s3://bucket/models/train-1/output/model.tar.gz"
    body = aws("s3").get_object(Bucket=bucket, Key=uri.removeprefix("s3://bucket/"))["Body"]
    with tarfile.open(fileobj=io.BytesIO(body.read())) as archive:
        assert archive.getnames() == ["weights"]
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == tags
    done = {"Name": "TrainingJobStatus", "Operator": "Equals", "Value": "Completed"}
    (hit,) = sagemaker.search(Resource="TrainingJob", SearchExpression={"Filters": [done]})[
        "Results"
    ]
    assert hit["TrainingJob"]["TrainingJobArn"] == arn


def test_a_processing_job(sagemaker: Any, aws: Clients, bucket: str) -> None:
    sagemaker.create_processing_job(**processing("evaluation"))
    waiter = sagemaker.get_waiter("processing_job_completed_or_stopped")
    waiter.wait(ProcessingJobName="evaluation", WaiterConfig=QUICK)
    assert aws("s3").head_object(Bucket=bucket, Key="evaluation/evaluation.json")


def test_one_that_fails(sagemaker: Any, bucket: str) -> None:
    sagemaker.create_processing_job(**processing("broken"))
    with pytest.raises(Exception, match="Failed"):
        sagemaker.get_waiter("processing_job_completed_or_stopped").wait(
            ProcessingJobName="broken", WaiterConfig=QUICK
        )
    found = sagemaker.describe_processing_job(ProcessingJobName="broken")
    assert found["FailureReason"] == "AlgorithmError: it broke, exit code: 3"
    sagemaker.delete_processing_job(ProcessingJobName="broken")
    assert sagemaker.list_processing_jobs()["ProcessingJobSummaries"] == []


def test_stopped_then_deleted(sagemaker: Any, bucket: str) -> None:
    arn = sagemaker.create_training_job(**training("held"))["TrainingJobArn"]
    found = sagemaker.describe_training_job(TrainingJobName="held")
    assert found["TrainingJobStatus"] == "InProgress"
    with pytest.raises(sagemaker.exceptions.ResourceInUse):
        sagemaker.create_training_job(**training("held"))
    with pytest.raises(sagemaker.exceptions.ResourceInUse):
        sagemaker.delete_training_job(TrainingJobName="held")
    sagemaker.stop_training_job(TrainingJobName="held")
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(
        TrainingJobName="held", WaiterConfig=QUICK
    )
    found = sagemaker.describe_training_job(TrainingJobName="held")
    assert found["TrainingJobStatus"] == found["SecondaryStatus"] == "Stopped"
    with pytest.raises(ClientError, match="is in status Stopped"):
        sagemaker.stop_training_job(TrainingJobName="held")
    sagemaker.delete_training_job(TrainingJobName="held")
    with pytest.raises(sagemaker.exceptions.ResourceNotFound):
        sagemaker.stop_training_job(TrainingJobName="held")
    with pytest.raises(ClientError, match="does not exist"):
        sagemaker.list_tags(ResourceArn=arn)


def test_lists(sagemaker: Any, bucket: str, go: threading.Event) -> None:
    for name in ("held-a", "held-b", "held-c"):
        sagemaker.create_training_job(**training(name))

    def names(**request: Any) -> list[str]:
        pages = sagemaker.get_paginator("list_training_jobs").paginate(
            **request, PaginationConfig={"PageSize": 2}
        )
        return [row["TrainingJobName"] for page in pages for row in page["TrainingJobSummaries"]]

    assert names(SortBy="Name", SortOrder="Descending") == ["held-c", "held-b", "held-a"]
    assert names(NameContains="-b") == ["held-b"]
    assert names(StatusEquals="Completed") == []
    second = sagemaker.describe_training_job(TrainingJobName="held-b")["CreationTime"]
    assert "held-c" not in names(CreationTimeBefore=second)
    go.set()
    for name in ("held-a", "held-b", "held-c"):
        sagemaker.get_waiter("training_job_completed_or_stopped").wait(
            TrainingJobName=name, WaiterConfig=QUICK
        )
    assert names(StatusEquals="Completed", SortBy="Name") == ["held-a", "held-b", "held-c"]
    assert names(LastModifiedTimeAfter=second, NameContains="held-a") == ["held-a"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"Tags": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}, "Duplicate tag keys"),
        ({"CheckpointConfig": {"S3Uri": "s3://bucket/c", "LocalPath": "/tmp/c"}}, "LocalPath"),
        ({"TrainingJobName": "no name"}, "regular expression pattern"),
    ],
)
def test_what_is_refused_leaves_no_job(
    sagemaker: Any, bucket: str, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ClientError, match=said) as caught:
        sagemaker.create_training_job(**{**training("refused"), **change})
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert sagemaker.list_training_jobs()["TrainingJobSummaries"] == []


def test_the_job_of_a_step_is_its_executions(
    sagemaker: Any, start: Callable[..., str], ended: Callable[[str], Any]
) -> None:
    ended(start(processing_step()))
    (job,) = sagemaker.list_processing_jobs()["ProcessingJobSummaries"]
    with pytest.raises(ClientError, match="StopPipelineExecution"):
        sagemaker.stop_processing_job(ProcessingJobName=job["ProcessingJobName"])


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def real_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Of a gateway whose jobs are real processes, and containers where an engine answers."""
    made = Settings(store=tmp_path / "store", runtime=request.param)
    if request.param == "docker":
        mapping = ImageMapping("python:*", request.getfixturevalue("base_image"))
        made = replace(made, images=(mapping,))
    yield made
    stop_gateway(made)


def _client(url: str, service: str) -> Any:
    return boto3.Session("any", "thing", region_name="us-east-1").client(service, endpoint_url=url)


def test_a_job_goes_on_when_its_gateway_is_killed(real_settings: Settings) -> None:
    first = ensure_gateway(real_settings)
    s3, client = _client(first.url, "s3"), _client(first.url, "sagemaker")
    s3.create_bucket(Bucket="bucket")
    script = (
        "echo begins; cd ${SAGEMAKER_BASE_DIR:-/opt/ml}/processing/output/evaluation; "
        "echo 1 > $(cat /proc/sys/kernel/random/uuid); sleep 2; echo ends"
    )
    request = processing("survives")
    request["AppSpecification"] = {
        "ImageUri": "python:3.11",
        "ContainerEntrypoint": ["sh", "-c", script],
    }
    client.create_processing_job(**request)
    log = real_settings.store / "jobs/processing-job/survives/log.txt"
    eventually(lambda: log.is_file() and "begins" in log.read_text())
    os.kill(first.pid, signal.SIGKILL)
    second = ensure_gateway(real_settings)
    client = _client(second.url, "sagemaker")
    client.get_waiter("processing_job_completed_or_stopped").wait(
        ProcessingJobName="survives", WaiterConfig={"Delay": 0.1, "MaxAttempts": 600}
    )
    found = client.describe_processing_job(ProcessingJobName="survives")
    assert found["ProcessingJobStatus"] == "Completed", found
    runs = _client(second.url, "s3").list_objects_v2(Bucket="bucket", Prefix="evaluation/")
    assert runs["KeyCount"] == 1
    assert log.read_text().split() == ["begins", "ends"]


def eventually(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = threading.Event()
    timer = threading.Timer(seconds, deadline.set)
    timer.start()
    try:
        while not (answer := what()):
            assert not deadline.wait(0.02), what
        return answer
    finally:
        timer.cancel()


def test_a_gateway_that_is_stopped_records_its_jobs(
    real_settings: Settings, lab: SimpleNamespace
) -> None:
    first = ensure_gateway(real_settings)
    request = processing("stopped")
    request["AppSpecification"] = {
        "ImageUri": "python:3.11",
        "ContainerEntrypoint": ["sh", "-c", "sleep 60"],
    }
    _client(first.url, "sagemaker").create_processing_job(**request)
    stop_gateway(real_settings)
    client = _client(ensure_gateway(real_settings).url, "sagemaker")
    found = client.describe_processing_job(ProcessingJobName="stopped")
    assert found["ProcessingJobStatus"] == "Stopped"
