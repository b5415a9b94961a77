"""Batch transform through boto3: jobs, and the steps of pipelines, on servers without a model."""

from __future__ import annotations

import gzip
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from mlops.runtimes.fake import FakeContainer, FakeRuntime
from mlops.runtimes.fake_model import FakeModelServer, Reply

from .conftest import ROLE, Account
from .test_steps import ended

ROWS = "1,10\n2,20\n3,30\n"


class Model:
    """Doubles the last cell of each row; counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes, dict[str, str]]] = []
        self.failures: dict[bytes, int] = {}
        """By the beginning of a body: how often it is answered with 500."""
        self.hold: threading.Event | None = None

    def __call__(self, container: FakeContainer, body: bytes, headers: Any) -> Reply:
        self.asked.append((container.job.name, body, dict(headers)))
        if self.hold is not None:
            self.hold.wait(30)
        for start, left in self.failures.items():
            if body.startswith(start) and left:
                self.failures[start] -= 1
                return Reply(b"out of order", status=500)
        if b"bad" in body:
            return Reply(b"row 1, column x: 'bad' is no number", status=400)
        lines = [line.split(b",") for line in body.splitlines()]
        return Reply(b"".join(b"%d\n" % (2 * int(cells[-1])) for cells in lines))


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def server(model: Model) -> FakeModelServer:
    return FakeModelServer(model)


@pytest.fixture
def batch(account: Account) -> Batch:
    account.s3.create_bucket(Bucket="rows")
    account.model("m", Environment={"KIND": "model", "SHARED": "model"})
    return Batch(account)


class Batch:
    """Transform jobs of model ``m`` from ``s3://rows/in`` to ``s3://rows/out``."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def put(self, **files: str | bytes) -> None:
        for name, content in files.items():
            key = f"in/{name.replace('__', '/')}.csv"
            self.account.s3.put_object(Bucket="rows", Key=key, Body=content)

    def request(self, **changes: Any) -> dict[str, Any]:
        """`changes` that are members of the input or the output go there."""
        source = {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://rows/in"}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        }
        target = {"S3OutputPath": "s3://rows/out", "Accept": "text/csv", "AssembleWith": "Line"}
        for place in (source, target):
            place.update({key: changes.pop(key) for key in list(changes) if key in place})
        if "CompressionType" in changes:
            source["CompressionType"] = changes.pop("CompressionType")
        instances = changes.pop("InstanceCount", 1)
        return {
            "ModelName": "m",
            "TransformInput": source,
            "TransformOutput": target,
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": instances},
            **changes,
        }

    def start(self, name: str = "job", **changes: Any) -> str:
        self.account.sagemaker.create_transform_job(
            TransformJobName=name, **self.request(**changes)
        )
        return name

    def run(self, name: str = "job", **changes: Any) -> dict[str, Any]:
        return self.end_of(self.start(name, **changes))

    def end_of(self, name: str = "job") -> dict[str, Any]:
        waiter = self.account.sagemaker.get_waiter("transform_job_completed_or_stopped")
        try:
            waiter.wait(TransformJobName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 2000})
        except WaiterError as error:
            if "Max attempts" in str(error):
                raise
        found: dict[str, Any] = self.account.sagemaker.describe_transform_job(TransformJobName=name)
        return found

    def outputs(self) -> dict[str, str]:
        found = self.account.s3.list_objects_v2(Bucket="rows", Prefix="out/").get("Contents", [])
        return {each["Key"].removeprefix("out/"): self.text(each["Key"]) for each in found}

    def text(self, key: str) -> str:
        return str(self.account.s3.get_object(Bucket="rows", Key=key)["Body"].read().decode())


def test_every_file_becomes_an_out_file(
    batch: Batch, model: Model, runtime: FakeRuntime, settings: Any
) -> None:
    batch.put(a=ROWS, sub__b="7,70")
    job = batch.run(Environment={"SHARED": "job"})
    assert job["TransformJobStatus"] == "Completed"
    assert job["TransformStartTime"] <= job["TransformEndTime"]
    assert batch.outputs() == {"a.csv.out": "20\n40\n60\n", "sub/b.csv.out": "140\n"}
    bodies = sorted(body for _, body, _ in model.asked)
    assert bodies == [ROWS.encode(), b"7,70\n"]
    assert {headers["Content-Type"] for *_, headers in model.asked} == {"text/csv"}
    assert {headers["Accept"] for *_, headers in model.asked} == {"text/csv"}
    (server,) = runtime.started
    wanted = {"KIND": "model", "SHARED": "job", "SAGEMAKER_BATCH": "true"}
    assert wanted.items() <= server.environment.items()
    assert runtime.find_servers({}) == []
    left = [path.name for path in (settings.store / "jobs/transform-job/job").rglob("*")]
    assert sorted(left) == ["algo-1", "log.txt"]
    log = (settings.store / "jobs/transform-job/job/log.txt").read_text()
    assert "MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MultiRecord" in log
    assert "detail: 2 files · 4 records" in log


def test_a_single_object_is_named_by_itself(batch: Batch) -> None:
    batch.put(a=ROWS, b=ROWS)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://rows/in/a.csv"}}
    batch.run(DataSource=source)
    assert list(batch.outputs()) == ["a.csv.out"]


def test_single_records_go_out_side_by_side_and_come_back_in_order(
    batch: Batch, model: Model
) -> None:
    rows = "".join(f"0,{number}\n" for number in range(200))
    batch.put(a=rows)
    job = batch.run(BatchStrategy="SingleRecord", MaxConcurrentTransforms=8, MaxPayloadInMB=1)
    assert job["TransformJobStatus"] == "Completed"
    assert batch.outputs() == {"a.csv.out": "".join(f"{2 * n}\n" for n in range(200))}
    assert sorted(body for _, body, _ in model.asked) == sorted(rows.encode().split())


def test_without_a_split_a_file_is_one_request(batch: Batch, model: Model) -> None:
    batch.put(a=ROWS)
    batch.run(SplitType="None", AssembleWith="None")
    assert [body for _, body, _ in model.asked] == [ROWS.encode()]
    assert batch.outputs() == {"a.csv.out": "20\n40\n60\n"}


def test_a_payload_of_any_size_goes_out_in_chunks(batch: Batch, model: Model) -> None:
    batch.put(a=ROWS)
    batch.run(SplitType="None", MaxPayloadInMB=0)
    ((_, _, headers),) = model.asked
    assert headers["Transfer-Encoding"] == "chunked"


def test_filters_and_join(batch: Batch, model: Model) -> None:
    batch.put(a="id1,1,10\nid2,2,20\n")
    processing = {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"}
    batch.run(DataProcessing=processing)
    assert [body for _, body, _ in model.asked] == [b"1,10\n2,20\n"]
    assert batch.outputs() == {"a.csv.out": "id1,20\nid2,40\n"}


def test_gzip_and_a_manifest(batch: Batch) -> None:
    batch.put(a=gzip.compress(ROWS.encode()), b=gzip.compress(b"5,50\n"), c=b"no gzip")
    manifest = json.dumps([{"prefix": "s3://rows/in/"}, "b.csv", "a.csv"])
    batch.account.s3.put_object(Bucket="rows", Key="manifest", Body=manifest)
    source = {"S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": "s3://rows/manifest"}}
    assert batch.run(DataSource=source, CompressionType="Gzip")["TransformJobStatus"] == "Completed"
    assert batch.outputs() == {"a.csv.out": "20\n40\n60\n", "b.csv.out": "100\n"}
    failed = batch.run("other", CompressionType="Gzip")
    assert "1 of 3 files could not be transformed; s3://rows/in/c.csv: it is no sound gzip" in str(
        failed["FailureReason"]
    )


def test_a_bad_record_costs_its_file_and_no_other(batch: Batch) -> None:
    batch.put(a=ROWS, b="1,bad\n", c=ROWS)
    job = batch.run()
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"] == (
        "ClientError: See job logs for more information: 1 of 3 files could not be transformed; "
        "s3://rows/in/b.csv: Bad HTTP status received from algorithm: 400: "
        "row 1, column x: 'bad' is no number"
    )
    assert sorted(batch.outputs()) == ["a.csv.out", "c.csv.out"]


def test_a_record_above_the_limit_is_told(batch: Batch) -> None:
    batch.put(a="1," + "0" * (1 << 20) + "\n")
    reason = batch.run(MaxPayloadInMB=1)["FailureReason"]
    assert "line 1 is larger than MaxPayloadInMB allows" in reason
    assert batch.outputs() == {}


def test_a_server_that_fails_is_asked_again(batch: Batch, model: Model) -> None:
    batch.put(a=ROWS)
    model.failures = {b"1,10": 2}
    assert batch.run()["TransformJobStatus"] == "Completed"
    assert len(model.asked) == 3
    model.failures = {b"1,10": 2}
    job = batch.run("other", ModelClientConfig={"InvocationsMaxRetries": 1})
    assert job["FailureReason"].startswith("AlgorithmError: See job logs")
    assert "500: out of order" in job["FailureReason"]


def test_several_instances_share_the_files(batch: Batch, model: Model) -> None:
    batch.put(a="1,1\n", b="2,2\n", c="3,3\n")
    batch.run(InstanceCount=2)
    assert len(batch.outputs()) == 3
    by_server = {name: set[bytes]() for name, *_ in model.asked}
    for name, body, _ in model.asked:
        by_server[name].add(body)
    assert by_server == {"job-algo-1": {b"1,1\n", b"3,3\n"}, "job-algo-2": {b"2,2\n"}}


def test_a_job_is_stopped(batch: Batch, model: Model, runtime: FakeRuntime) -> None:
    batch.put(a="".join(f"0,{number}\n" for number in range(50)))
    model.hold = threading.Event()
    batch.start(BatchStrategy="SingleRecord")
    while not model.asked:
        model.hold.wait(0.01)
    batch.account.sagemaker.stop_transform_job(TransformJobName="job")
    model.hold.set()
    assert batch.end_of()["TransformJobStatus"] == "Stopped"
    assert len(model.asked) < 50
    assert batch.outputs() == {}
    assert runtime.find_servers({}) == []


def test_jobs_are_listed(batch: Batch) -> None:
    batch.put(a=ROWS)
    for name in ("one", "two"):
        batch.run(name)
    pages = batch.account.sagemaker.get_paginator("list_transform_jobs").paginate(
        StatusEquals="Completed", PaginationConfig={"PageSize": 1}
    )
    found = [each for page in pages for each in page["TransformJobSummaries"]]
    assert [each["TransformJobName"] for each in found] == ["two", "one"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ModelName": "none"}, 'Could not find model "arn:aws:sagemaker:us-east-1'),
        ({"MaxPayloadInMB": 101}, "MaxPayloadInMB cannot be greater than 100"),
        ({"MaxPayloadInMB": 20, "MaxConcurrentTransforms": 6}, "cannot exceed 100 MB"),
        ({"DataProcessing": {"InputFilter": "features"}}, "is no JSONPath"),
        ({"DataProcessing": {"JoinSource": "Input"}, "ContentType": "image/png"}, "not image/png"),
        ({"DataProcessing": {"JoinSource": "Input"}, "SplitType": "None"}, "needs SplitType Line"),
        ({"DataProcessing": {"JoinSource": "Input"}, "AssembleWith": "None"}, "AssembleWith Line"),
        ({"DataCaptureConfig": {"DestinationS3Uri": "s3://rows/c"}}, "DataCaptureConfig"),
    ],
)
def test_what_is_refused(batch: Batch, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ClientError, match="ValidationException") as caught:
        batch.start(**changes)
    assert said in str(caught.value)
    assert batch.account.sagemaker.list_transform_jobs()["TransformJobSummaries"] == []


def test_nothing_to_transform_and_no_bucket_for_it(batch: Batch) -> None:
    assert "No S3 objects found" in batch.run()["FailureReason"]
    batch.put(a=ROWS)
    reason = batch.run("other", S3OutputPath="s3://nowhere/out")["FailureReason"]
    assert "The specified bucket does not exist: nowhere" in reason


def test_a_transform_step_uses_the_model_of_a_model_step(batch: Batch, settings: Any) -> None:
    batch.put(a=ROWS)
    request = batch.request(ModelName={"Get": "Steps.Model.ModelName"})
    container = {"Image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-tensorflow:latest"}
    path = {"Get": "Steps.Batch.TransformOutput.S3OutputPath"}
    equals = {"Type": "Equals", "LeftValue": path, "RightValue": "s3://rows/out"}
    steps = [
        {
            "Name": "Model",
            "Type": "Model",
            "Arguments": {"ExecutionRoleArn": ROLE, "PrimaryContainer": container},
        },
        {"Name": "Batch", "Type": "Transform", "Arguments": request},
        {
            "Name": "Check",
            "Type": "Condition",
            "Arguments": {"Conditions": [equals], "IfSteps": [], "ElseSteps": []},
        },
    ]
    sagemaker = batch.account.sagemaker
    definition = json.dumps({"Version": "2020-12-01", "Steps": steps})
    sagemaker.create_pipeline(PipelineName="p", PipelineDefinition=definition, RoleArn=ROLE)
    arn = sagemaker.start_pipeline_execution(PipelineName="p")["PipelineExecutionArn"]
    execution, found = ended(batch.account, arn)
    assert execution["PipelineExecutionStatus"] == "Succeeded", found
    assert found["Check"]["Metadata"] == {"Condition": {"Outcome": "True"}}
    job_arn = found["Batch"]["Metadata"]["TransformJob"]["Arn"]
    job = sagemaker.describe_transform_job(TransformJobName=job_arn.rpartition("/")[2])
    assert job["TransformJobArn"] == job_arn
    assert job["ModelName"].startswith("pipelines-")
    assert batch.outputs() == {"a.csv.out": "20\n40\n60\n"}
    folder = Path(settings.store) / "executions" / arn.rpartition("/")[2] / "Batch"
    assert "detail: 1 file · 3 records" in (folder / "log.txt").read_text()


def test_a_step_whose_model_is_not_there_is_refused(batch: Batch) -> None:
    batch.put(a=ROWS)
    steps = [{"Name": "Batch", "Type": "Transform", "Arguments": batch.request(ModelName="none")}]
    definition = json.dumps({"Version": "2020-12-01", "Steps": steps})
    sagemaker = batch.account.sagemaker
    sagemaker.create_pipeline(PipelineName="p", PipelineDefinition=definition, RoleArn=ROLE)
    arn = sagemaker.start_pipeline_execution(PipelineName="p")["PipelineExecutionArn"]
    _, found = ended(batch.account, arn)
    assert found["Batch"]["FailureReason"].startswith(
        "ClientError: Failed to invoke sagemaker:CreateTransformJob. Error Details: "
    )
