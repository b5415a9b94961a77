"""Training steps: what their containers find, what is kept of what they leave."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest

from mlops.aws_model import find_problems
from mlops.ports import JsonObject, StepRecord, StepStatus
from mlops.runtimes.fake import FakeContainer, Script

from .house import BUCKET, IMAGE, Build, House, channel, training


def one(house: House, **changes: Any) -> StepRecord:
    return house.steps(house.run(training(**changes)))["Train"]


def unpacked(house: House, uri: str) -> dict[str, str]:
    with house.objects.open(BUCKET, uri.removeprefix(f"s3://{BUCKET}/")) as file:
        content = file.read()
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
        return {
            member.name: member.linkname
            or (tar.extractfile(member) or io.BytesIO()).read().decode()
            for member in tar
            if not member.isdir()
        }


# --- what the container finds ---


def test_the_config_files_are_sagemakers(build: Build) -> None:
    seen: dict[str, Any] = {}

    def read(job: FakeContainer) -> None:
        for name in ("hyperparameters", "inputdataconfig", "resourceconfig"):
            seen[name] = json.loads(job.path(f"/opt/ml/input/config/{name}.json").read_text())
        seen["data"] = job.path("/opt/ml/input/data/train/a.csv").read_text()

    house = build(read)
    house.put("in/a.csv", "a")
    step = one(
        house,
        InputDataConfig=[channel("train", f"s3://{BUCKET}/in", ContentType="text/csv")],
        HyperParameters={"epochs": "3", "rate": 0.5, "units": 64, "early": True},
    )
    assert step.status is StepStatus.SUCCEEDED
    assert seen["data"] == "a"
    assert seen["hyperparameters"] == {
        "epochs": "3",
        "rate": "0.5",
        "units": "64",
        "early": "true",
    }
    assert seen["inputdataconfig"] == {
        "train": {
            "ContentType": "text/csv",
            "RecordWrapperType": "None",
            "S3DistributionType": "FullyReplicated",
            "TrainingInputMode": "File",
        }
    }
    assert seen["resourceconfig"]["current_host"] == "algo-1"
    assert seen["resourceconfig"]["current_instance_type"] == "ml.m5.large"
    assert seen["resourceconfig"]["network_interface_name"] == "eth0"


def test_the_image_is_asked_to_train(build: Build) -> None:
    house = build()
    step = one(house)
    (job,) = house.runtime.started
    assert (job.command, job.arguments) == ((), ("train",))
    assert job.environment["TRAINING_JOB_NAME"] == step.job_name
    assert job.environment["TRAINING_JOB_ARN"] == step.metadata["TrainingJob"]["Arn"]


def test_an_entrypoint_of_ones_own_takes_the_place_of_train(build: Build) -> None:
    house = build()
    algorithm = {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "ContainerEntrypoint": ["/bin/bash", "run.sh"],
        "ContainerArguments": ["--fast"],
    }
    one(house, AlgorithmSpecification=algorithm)
    (job,) = house.runtime.started
    assert (job.command, job.arguments) == (("/bin/bash", "run.sh"), ("--fast",))


# --- what is kept ---


def test_the_model_is_an_archive_where_the_service_puts_it(build: Build) -> None:
    files = {"/opt/ml/model/1/weights": "w", "/opt/ml/model/a.json": "{}"}
    house = build(Script(files=files))
    step = one(house)
    uri = f"s3://{BUCKET}/out/{step.job_name}/output/model.tar.gz"
    assert step.outputs["ModelArtifacts"] == {"S3ModelArtifacts": uri}
    assert unpacked(house, uri) == {"1/weights": "w", "a.json": "{}"}
    assert house.object_keys() == [
        uri.removeprefix(f"s3://{BUCKET}/")
    ]  # no output.tar.gz without output


def test_output_data_is_an_archive_beside_it(build: Build) -> None:
    house = build(Script(files={"/opt/ml/output/data/plot.svg": "svg"}))
    step = one(house)
    uri = f"s3://{BUCKET}/out/{step.job_name}/output/output.tar.gz"
    assert unpacked(house, uri) == {"plot.svg": "svg"}


def test_an_uncompressed_model_is_a_folder(build: Build) -> None:
    house = build(Script(files={"/opt/ml/model/1/weights": "w"}))
    output = {"S3OutputPath": f"s3://{BUCKET}/out/", "CompressionType": "NONE"}
    step = one(house, OutputDataConfig=output)
    uri = step.outputs["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == f"s3://{BUCKET}/out/{step.job_name}/output/model"
    assert house.text(f"{uri}/1/weights") == "w"


def test_the_describe_answer_is_the_steps_outputs(build: Build) -> None:
    outputs = one(build()).outputs
    assert outputs["TrainingJobStatus"] == outputs["SecondaryStatus"] == "Completed"
    assert outputs["TrainingTimeInSeconds"] == 1
    assert outputs["AlgorithmSpecification"]["TrainingImage"] == IMAGE
    assert "FinalMetricDataList" not in outputs


@pytest.mark.parametrize("exit_status", [0, 1])
def test_the_describe_answer_has_botocores_shape(build: Build, exit_status: int) -> None:
    house = build(Script(exit_status, "loss: 1\n"))
    algorithm = {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "loss", "Regex": "loss: ([0-9.]+)"}],
    }
    uri = house.put("in/a.csv")
    step = one(
        house,
        AlgorithmSpecification=algorithm,
        InputDataConfig=[channel("train", uri)],
        CheckpointConfig={"S3Uri": f"s3://{BUCKET}/c"},
        Tags=[{"Key": "k", "Value": "v"}],
    )
    assert step.outputs["TrainingJobStatus"] == ("Failed" if exit_status else "Completed")
    assert not find_problems("sagemaker", "DescribeTrainingJob", step.outputs, output=True)


def test_while_a_job_runs_its_describe_answer_says_so(build: Build) -> None:
    seen: list[StepRecord] = []
    house: House

    def look(job: FakeContainer) -> None:
        while not seen or not seen[-1].outputs:
            seen.extend(house.state.list_steps(execution.arn))

    house = build(look)
    execution = house.start(training())
    house.end_of(execution)
    outputs = seen[-1].outputs
    assert (outputs["TrainingJobStatus"], outputs["SecondaryStatus"]) == ("InProgress", "Training")
    assert seen[-1].metadata["TrainingJob"]["Arn"] == outputs["TrainingJobArn"]


def test_metrics_are_read_from_the_log(build: Build) -> None:
    log = "val_loss: 0.5\nval_loss: 0.25 loss: 1e-2\nval_loss: nothing\n"
    house = build(Script(log=log))
    algorithm = {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "MetricDefinitions": [
            {"Name": "validation", "Regex": r"val_loss: (\S+)"},
            {"Name": "absent", "Regex": "accuracy: ([0-9.]+)"},
        ],
    }
    metrics = one(house, AlgorithmSpecification=algorithm).outputs["FinalMetricDataList"]
    assert [(metric["MetricName"], metric["Value"]) for metric in metrics] == [("validation", 0.25)]


def test_checkpoints_come_from_s3_and_go_back(build: Build) -> None:
    def train(job: FakeContainer) -> None:
        folder = job.path("/opt/ml/checkpoints")
        last = int((folder / "last").read_text()) if (folder / "last").is_file() else 0
        (folder / "last").write_text(str(last + 1))
        job.print(f"detail: from {last}")

    house = build(train)
    checkpoints = {"S3Uri": f"s3://{BUCKET}/checkpoints"}
    for expected in ("1", "2"):
        assert one(house, CheckpointConfig=checkpoints).status is StepStatus.SUCCEEDED
        assert house.text(f"s3://{BUCKET}/checkpoints/last") == expected


def test_checkpoints_of_a_failed_training_are_kept(build: Build) -> None:
    house = build(Script(1, files={"/opt/ml/mine/last": "7"}))
    checkpoints = {"S3Uri": f"s3://{BUCKET}/c", "LocalPath": "/opt/ml/mine"}
    assert one(house, CheckpointConfig=checkpoints).status is StepStatus.FAILED
    assert house.text(f"s3://{BUCKET}/c/last") == "7"


# --- failures ---


def test_the_failure_file_is_the_reason(build: Build) -> None:
    said = 'AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "no rows"'
    step = one(build(Script(1, files={"/opt/ml/output/failure": said})))
    assert step.failure_reason == f"ClientError: {said}, exit code: 1"
    assert step.outputs["TrainingJobStatus"] == step.outputs["SecondaryStatus"] == "Failed"


def test_the_failure_file_decides_nothing(build: Build) -> None:
    step = one(build(Script(0, files={"/opt/ml/output/failure": "it is fine"})))
    assert step.status is StepStatus.SUCCEEDED


def test_a_long_failure_keeps_its_end(build: Build) -> None:
    step = one(build(Script(1, files={"/opt/ml/output/failure": "x" * 5000 + " the cause"})))
    reason = step.outputs["FailureReason"]
    assert len(reason) == 1024
    assert reason.endswith("the cause, exit code: 1")


def test_a_time_limit_keeps_the_model_and_fails_the_step(build: Build) -> None:
    def train(job: FakeContainer) -> None:
        job.terminated.wait(30)
        job.path("/opt/ml/model/best").write_text("saved on SIGTERM")

    house = build(train)
    step = one(house, StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert step.status is StepStatus.FAILED
    assert (step.failure_reason or "").startswith("ClientError: MaxRuntimeExceeded: ")
    assert step.outputs["TrainingJobStatus"] == "Stopped"
    assert step.outputs["SecondaryStatus"] == "MaxRuntimeExceeded"
    uri = step.outputs["ModelArtifacts"]["S3ModelArtifacts"]
    assert unpacked(house, uri) == {"best": "saved on SIGTERM"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"InputMode": "Pipe"}, "in Pipe mode does not run locally yet"),
        ({"CompressionType": "Gzip"}, "CompressionType Gzip is for Pipe mode"),
        ({"RecordWrapperType": "RecordIO"}, "RecordWrapperType RecordIO is for Pipe mode"),
        ({"DataSource": {}}, "without an S3DataSource does not run locally yet"),
        ({"ChannelName": "a b"}, "regular expression pattern"),
    ],
)
def test_what_a_channel_cannot_be_is_refused(build: Build, changes: JsonObject, words: str) -> None:
    house = build()
    house.put("in/a.csv")
    step = one(house, InputDataConfig=[channel("train", f"s3://{BUCKET}/in") | changes])
    reason = step.failure_reason or ""
    assert reason.startswith(
        "ClientError: Failed to invoke sagemaker:CreateTrainingJob. Error Details: "
    )
    assert words in reason
    assert step.metadata == {}


@pytest.mark.parametrize(
    ("source", "mode", "words"),
    [
        ({"S3DataType": "AugmentedManifestFile"}, "File", "is for Pipe mode, does not run locally"),
        ({"S3DataType": "ManifestFile"}, "FastFile", "takes an S3Prefix, not a ManifestFile"),
        ({"InstanceGroupNames": ["gpu"]}, "File", "there is no instance group 'gpu', only homo"),
    ],
)
def test_sources_that_cannot_be_are_refused(
    build: Build, source: JsonObject, mode: str, words: str
) -> None:
    each = channel("train", f"s3://{BUCKET}/in", InputMode=mode)
    each["DataSource"]["S3DataSource"] |= source
    assert words in (one(build(), InputDataConfig=[each]).failure_reason or "")


def test_fast_file_mode_runs_as_files(build: Build) -> None:
    house = build()
    house.put("in/a.csv")
    each = channel("train", f"s3://{BUCKET}/in", InputMode="FastFile")
    assert one(house, InputDataConfig=[each]).status is StepStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"AlgorithmSpecification": {"TrainingInputMode": "File"}}, "give its TrainingImage"),
        ({"CheckpointConfig": {"S3Uri": "s3://b/c", "LocalPath": "/c"}}, "begin with /opt/ml/"),
        ({"HyperParameters": {"x": "y" * 2501}}, "length less than or equal to 2500"),
    ],
)
def test_what_a_training_cannot_be_is_refused(
    build: Build, changes: JsonObject, words: str
) -> None:
    assert words in (one(build(), **changes).failure_reason or "")


@pytest.mark.parametrize("regex", ["(", "no group"])
def test_a_wrong_metric_expression_is_refused(build: Build, regex: str) -> None:
    algorithm = {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "m", "Regex": regex}],
    }
    reason = one(build(), AlgorithmSpecification=algorithm).failure_reason or ""
    assert "The regular expression of metric 'm'" in reason


def test_jobs_with_a_source_share_a_place_for_their_requirements(build: Build) -> None:
    kept: list[str] = []

    def install(job: FakeContainer) -> None:
        folder = job.path(job.job.environment["MLOPS_REQUIREMENTS_CACHE"])
        kept.append(",".join(sorted(file.name for file in folder.iterdir())))
        (folder / "installed").touch()

    house = build(install)
    parameters = {"sagemaker_submit_directory": f"s3://{BUCKET}/source.tar.gz"}
    for _ in range(2):
        assert one(house, HyperParameters=parameters).status is StepStatus.SUCCEEDED
    assert kept == ["", "installed"]


def test_a_job_without_a_source_gets_no_place_for_requirements(build: Build) -> None:
    seen: list[JsonObject] = []
    house = build(lambda job: seen.append(dict(job.job.environment)))
    one(house)
    assert "MLOPS_REQUIREMENTS_CACHE" not in seen[0]
