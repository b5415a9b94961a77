"""Processing steps: what their containers find, what is kept of what they leave."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlops.aws_model import find_problems
from mlops.ports import ExecutionStatus, JsonObject, StepRecord, StepStatus
from mlops.runtimes.fake import FakeContainer, FakeRuntime, Script

from .house import (
    BUCKET,
    IMAGE,
    Build,
    House,
    processing,
    processing_input,
    processing_outputs,
)

INPUT = "/opt/ml/processing/input"
OUTPUT = "/opt/ml/processing/output"


def one(house: House, step: JsonObject) -> StepRecord:
    return house.steps(house.run(step))[step["Name"]]


def failure(house: House, **changes: Any) -> str:
    step = one(house, processing(**changes))
    assert step.status is StepStatus.FAILED
    return step.failure_reason or ""


# --- what the container finds ---


def test_the_container_is_the_jobs(build: Build) -> None:
    house = build()
    arguments = ["--rate", "0.1"]
    application = {"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", "s.py"]}
    step = one(
        house,
        processing(
            AppSpecification=application | {"ContainerArguments": arguments},
            Environment={"MINE": "yes", "COUNT": 3},
        ),
    )
    (job,) = house.runtime.started
    assert (job.image, job.command, job.arguments) == (
        IMAGE,
        ("python3", "s.py"),
        ("--rate", "0.1"),
    )
    assert job.environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert job.environment["AWS_REGION"] == job.environment["AWS_DEFAULT_REGION"] == "us-east-1"
    assert job.environment["PROCESSING_JOB_NAME"] == step.job_name == job.name
    assert (job.environment["MINE"], job.environment["COUNT"]) == ("yes", "3")
    assert job.labels["mlops.store"] == str(house.settings.store)
    assert job.labels["mlops.step"] == "Process"


def test_the_config_files_are_sagemakers(build: Build) -> None:
    seen: dict[str, Any] = {}

    def read(job: FakeContainer) -> None:
        for name in ("processingjobconfig", "resourceconfig"):
            seen[name] = json.loads(job.path(f"/opt/ml/config/{name}.json").read_text())

    house = build(read)
    house.put("in/a.csv")
    step = one(house, processing(ProcessingInputs=[processing_input(f"s3://{BUCKET}/in")]))
    assert seen["resourceconfig"]["current_host"] == "algo-1"
    assert seen["resourceconfig"]["hosts"] == ["algo-1"]
    config = seen["processingjobconfig"]
    assert config["ProcessingJobName"] == step.job_name
    assert config["ProcessingInputs"][0]["S3Input"]["LocalPath"] == f"{INPUT}/data"
    assert config["ProcessingResources"]["ClusterConfig"]["InstanceType"] == "ml.m5.large"


def test_a_folder_and_a_file_are_inputs(build: Build) -> None:
    seen = {}

    def read(job: FakeContainer) -> None:
        seen["folder"] = job.path(f"{INPUT}/folder/sub/b.csv").read_text()
        seen["file"] = job.path(f"{INPUT}/file/a.csv").read_text()
        seen["names"] = [file.name for file in job.path(f"{INPUT}/file").iterdir()]

    house = build(read)
    house.put("in/a.csv", "a")
    house.put("in/sub/b.csv", "b")
    inputs = [
        processing_input(f"s3://{BUCKET}/in/", "folder"),
        processing_input(f"s3://{BUCKET}/in/a.csv", "file"),
    ]
    assert one(house, processing(ProcessingInputs=inputs)).status is StepStatus.SUCCEEDED
    assert seen == {"folder": "b", "file": "a", "names": ["a.csv"]}


@pytest.mark.parametrize("key", ["in", "in/a.csv"])
def test_writing_into_an_input_does_not_change_the_store(build: Build, key: str) -> None:
    def write(job: FakeContainer) -> None:
        file = job.path(f"{INPUT}/data/a.csv")
        file.write_text("changed")
        (file.parent / "new").write_text("new")

    house = build(write)
    uri = house.put("in/a.csv", "as it was")
    step = one(house, processing(ProcessingInputs=[processing_input(f"s3://{BUCKET}/{key}")]))
    assert step.status is StepStatus.SUCCEEDED
    assert house.text(uri) == "as it was"
    assert house.object_keys() == ["in/a.csv"]


def test_an_input_within_an_input_shows_both(build: Build) -> None:
    seen = {}

    def read(job: FakeContainer) -> None:
        seen["outer"] = job.path(f"{INPUT}/data/a.csv").read_text()
        seen["inner"] = job.path(f"{INPUT}/data/code/run.py").read_text()
        job.path(f"{INPUT}/data/code/run.py").write_text("changed")

    house = build(read)
    house.put("in/a.csv", "a")
    code = house.put("code/run.py", "code")
    inputs = [
        processing_input(f"s3://{BUCKET}/code", "data/code"),
        processing_input(f"s3://{BUCKET}/in", "data"),
    ]
    assert one(house, processing(ProcessingInputs=inputs)).status is StepStatus.SUCCEEDED
    assert seen == {"outer": "a", "inner": "code"}
    assert house.text(code) == "code"


def test_app_managed_inputs_are_the_applications_own(build: Build) -> None:
    house = build()
    each = processing_input(f"s3://{BUCKET}/nothing-here") | {"AppManaged": True}
    assert one(house, processing(ProcessingInputs=[each])).status is StepStatus.SUCCEEDED
    assert house.runtime.started[0].mounts == ()


# --- what is kept ---


def test_outputs_go_to_s3_and_later_steps_read_them(build: Build) -> None:
    def run(job: FakeContainer) -> None:
        if "-First-" in job.job.name:
            folder = job.path(f"{OUTPUT}/o/deep")
            folder.mkdir()
            (folder / "x.csv").write_text("1")
        else:
            job.print(job.path(f"{INPUT}/data/deep/x.csv").read_text())

    house = build(run)
    outputs = processing_outputs(o=f"s3://{BUCKET}/runs/o")
    reference = {"Get": "Steps.First.ProcessingOutputConfig.Outputs['o'].S3Output.S3Uri"}
    execution = house.run(
        processing("First", ProcessingOutputConfig=outputs),
        processing("Second", ProcessingInputs=[processing_input(reference)]),
    )
    assert execution.status is ExecutionStatus.SUCCEEDED
    assert house.text(f"s3://{BUCKET}/runs/o/deep/x.csv") == "1"
    log = house.settings.store / (house.steps(execution)["Second"].log or "")
    assert log.read_text() == "1\n"


def test_a_finished_jobs_folder_is_cleared_and_its_log_kept(build: Build) -> None:
    house = build(Script(log="hello\n", files={f"{OUTPUT}/junk": "x"}))
    execution = house.run(processing())
    folder = house.settings.store / "executions" / execution.id / "Process"
    assert [file.name for file in folder.iterdir()] == ["log.txt"]


def test_the_describe_answer_is_the_steps_outputs(build: Build) -> None:
    step = one(build(Script(files={"/opt/ml/output/message": "all good"})), processing())
    outputs = step.outputs
    assert outputs["ProcessingJobStatus"] == "Completed"
    assert outputs["ProcessingJobName"] == step.job_name
    assert outputs["ProcessingJobArn"] == step.metadata["ProcessingJob"]["Arn"]
    assert outputs["ExitMessage"] == "all good"
    assert outputs["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}
    assert outputs["CreationTime"] <= outputs["ProcessingStartTime"]


def test_the_describe_answer_has_botocores_shape(build: Build) -> None:
    house = build(Script(files={f"{OUTPUT}/o/x": "x", "/opt/ml/output/message": "m"}))
    uri = house.put("in/a.csv")
    for house_, status in ((house, "Completed"), (build(Script(1)), "Failed")):
        outputs = processing_outputs(o=f"s3://{BUCKET}/o")
        step = one(
            house_,
            processing(
                ProcessingInputs=[processing_input(uri)],
                ProcessingOutputConfig=outputs,
                Environment={"A": "b"},
                Tags=[{"Key": "k", "Value": "v"}],
            ),
        )
        assert step.outputs["ProcessingJobStatus"] == status
        assert not find_problems("sagemaker", "DescribeProcessingJob", step.outputs, output=True)


def test_https_addresses_are_refused(build: Build) -> None:
    reason = failure(build(), ProcessingInputs=[processing_input("https://s3.aws.com/b/k")])
    assert reason.startswith("ClientError: 'https://s3.aws.com/b/k' is no S3 address")


def test_a_link_that_leads_out_of_the_job_is_not_uploaded(build: Build) -> None:
    def link(job: FakeContainer) -> None:
        job.path(f"{OUTPUT}/o/secret").symlink_to("/etc/hostname")

    outputs = processing_outputs(o=f"s3://{BUCKET}/o")
    house = build(link)
    reason = failure(house, ProcessingOutputConfig=outputs)
    assert "secret is a symbolic link to /etc/hostname, which is not below /opt/ml" in reason
    assert house.object_keys() == []


def test_a_missing_output_bucket_is_named(build: Build) -> None:
    house = build(Script(files={f"{OUTPUT}/o/x": "x"}))
    outputs = processing_outputs(o="s3://no-such-bucket/o")
    reason = failure(house, ProcessingOutputConfig=outputs)
    assert "The specified bucket does not exist: no-such-bucket" in reason


def test_continuous_outputs_are_in_s3_while_the_job_runs_and_when_it_fails(
    build: Build,
) -> None:
    house: House

    def write(job: FakeContainer) -> int:
        folder = job.path(f"{OUTPUT}/o")
        (folder / "early").write_text("early")
        while "o/early" not in house.object_keys():
            assert not job.terminated.wait(0.01)
        (folder / "early").write_text("early, and more")
        (folder / "late").write_text("late")
        return 1

    house = build(write, sync_seconds=0.02)
    outputs = processing_outputs(o=f"s3://{BUCKET}/o")
    outputs["Outputs"][0]["S3Output"]["S3UploadMode"] = "Continuous"
    failure(house, ProcessingOutputConfig=outputs)
    assert house.object_keys() == ["o/early", "o/late"]
    assert house.text(f"s3://{BUCKET}/o/early") == "early, and more"


def test_a_failed_job_that_cannot_be_synced_says_both(build: Build) -> None:
    outputs = processing_outputs(o="s3://no-such-bucket/o")
    outputs["Outputs"][0]["S3Output"]["S3UploadMode"] = "Continuous"
    house = build(Script(2, "the cause\n", {f"{OUTPUT}/o/x": "x"}))
    reason = failure(house, ProcessingOutputConfig=outputs)
    assert "the cause, exit code: 2 (besides: " in reason
    assert "no-such-bucket" in reason


# --- failures ---


def test_the_message_file_is_the_reason(build: Build) -> None:
    script = Script(1, "noise\n", {"/opt/ml/output/message": "Row 7 has 9 columns, not 10"})
    house = build(script)
    step = one(house, processing())
    assert step.failure_reason == (
        "ClientError: AlgorithmError: Row 7 has 9 columns, not 10, exit code: 1"
    )
    assert step.outputs["ProcessingJobStatus"] == "Failed"
    assert step.outputs["FailureReason"] == step.failure_reason.removeprefix("ClientError: ")
    assert step.metadata["ProcessingJob"]["Arn"]


def test_without_a_message_the_last_log_lines_are_the_reason(build: Build) -> None:
    house = build(Script(3, "".join(f"line {number}\n" for number in range(50))))
    execution = house.run(processing())
    step = house.steps(execution)["Process"]
    assert (step.failure_reason or "").endswith("line 48\nline 49, exit code: 3")
    event = house.state.events_after(execution.arn, 0)[2].data
    assert event["log_tail"] == [f"line {number}" for number in range(30, 50)]
    assert (house.settings.store / event["log"]).is_file()


def test_a_failed_jobs_folder_stays_as_evidence_and_uploads_nothing(build: Build) -> None:
    house = build(Script(1, files={f"{OUTPUT}/o/x": "x"}))
    outputs = processing_outputs(o=f"s3://{BUCKET}/o")
    execution = house.run(processing(ProcessingOutputConfig=outputs))
    folder = house.settings.store / "executions" / execution.id / "Process"
    assert (folder / "ml/processing/output/o/x").read_text() == "x"
    assert house.object_keys() == []


def test_an_image_that_is_not_there_fails_the_step(build: Build) -> None:
    step = one(build(FakeRuntime(images=[])), processing())
    assert (step.failure_reason or "").startswith(f"ClientError: There is no image {IMAGE}")
    assert step.outputs["ProcessingJobStatus"] == "Failed"


def test_an_input_without_objects_is_named(build: Build) -> None:
    for uri in (f"s3://{BUCKET}/none", "s3://no-such-bucket/none"):
        reason = failure(build(), ProcessingInputs=[processing_input(uri)])
        assert reason.startswith(f'ClientError: No S3 objects found under S3 URL "{uri}"')


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"S3InputMode": "Pipe"}, "S3InputMode Pipe does not run locally yet"),
        ({"S3CompressionType": "Gzip"}, "can only be used with S3InputMode Pipe"),
        ({"LocalPath": "/data"}, "must begin with /opt/ml/processing/"),
        ({"LocalPath": None}, "must begin with /opt/ml/processing/"),  # as if it were not there
        ({"LocalPath": "/opt/ml/processing/../x"}, "must begin with /opt/ml/processing/"),
        ({"S3DataType": "Prefix"}, "enum value set: [ManifestFile, S3Prefix]"),
        ({"S3Uri": 7}, "Member must be a string"),
    ],
)
def test_what_an_input_cannot_be_is_refused(build: Build, changes: JsonObject, words: str) -> None:
    house = build()
    each = processing_input(f"s3://{BUCKET}/in", **changes)
    step = one(house, processing(ProcessingInputs=[each]))
    reason = step.failure_reason or ""
    assert reason.startswith(
        "ClientError: Failed to invoke sagemaker:CreateProcessingJob. Error Details: "
    )
    assert words in reason
    assert step.metadata == {}
    assert house.runtime.started == []


def test_a_dataset_definition_is_refused(build: Build) -> None:
    definition = {"DatasetDefinition": {"LocalPath": "/opt/ml/processing/input/x"}}
    reason = failure(build(), ProcessingInputs=[{"InputName": "x", **definition}])
    assert "queries Athena or Redshift, does not run locally yet" in reason
    assert "write the query's result to S3 and give it an S3Input" in reason


def test_feature_store_outputs_are_refused(build: Build) -> None:
    output = {"OutputName": "f", "FeatureStoreOutput": {"FeatureGroupName": "g"}}
    reason = failure(build(), ProcessingOutputConfig={"Outputs": [output]})
    assert "FeatureStoreOutput does not run locally yet" in reason


def test_a_time_limit_ends_the_job(build: Build) -> None:
    house = build(Script(seconds=30))
    step = one(house, processing(StoppingCondition={"MaxRuntimeInSeconds": 1}))
    assert step.status is StepStatus.FAILED
    assert "MaxRuntimeInSeconds of 1" in (step.failure_reason or "")
    assert step.outputs["ProcessingJobStatus"] == "Stopped"
