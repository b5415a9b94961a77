"""Jobs of several instances: what each container finds, and what becomes of what they leave."""

from __future__ import annotations

import io
import json
import tarfile
import time
from typing import Any

import pytest

from mlops.ports import ExecutionStatus, JsonObject, StepRecord, StepStatus
from mlops.runtimes.fake import FakeContainer, FakeRuntime, Script

from .house import (
    BUCKET,
    Build,
    House,
    channel,
    processing,
    processing_input,
    processing_outputs,
    training,
)

KIND = "ml.m5.large"
OUTPUT = "/opt/ml/processing/output/o"


def of_processing(count: int) -> JsonObject:
    cluster = {"InstanceType": KIND, "InstanceCount": count, "VolumeSizeInGB": 30}
    return {"ProcessingResources": {"ClusterConfig": cluster}}


def of_training(count: int) -> JsonObject:
    return {"ResourceConfig": {"InstanceType": KIND, "InstanceCount": count, "VolumeSizeInGB": 30}}


def one(house: House, step: JsonObject) -> StepRecord:
    return house.steps(house.run(step))[step["Name"]]


def host_of(job: FakeContainer) -> str:
    assert job.job.peers is not None
    return job.job.peers.host


def files_of(house: House, uri: str) -> dict[str, str]:
    with house.objects.open(BUCKET, uri.removeprefix(f"s3://{BUCKET}/")) as file:
        content = file.read()
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        members = {member.name: tar.extractfile(member) for member in tar if member.isreg()}
        return {name: file.read().decode() for name, file in members.items() if file}


def test_each_container_finds_itself_among_the_hosts(build: Build) -> None:
    seen: dict[str, Any] = {}

    def read(job: FakeContainer) -> None:
        file = job.path("/opt/ml/config/resourceconfig.json")
        seen[host_of(job)] = json.loads(file.read_text())

    house = build(read)
    assert one(house, processing(**of_processing(3))).status is StepStatus.SUCCEEDED
    hosts = ["algo-1", "algo-2", "algo-3"]
    assert sorted(seen) == hosts
    for host, config in seen.items():
        assert (config["current_host"], config["hosts"]) == (host, hosts)
    peers = [job.peers for job in house.runtime.started]
    assert [each.host for each in peers] == hosts
    assert {each.hosts for each in peers} == {tuple(hosts)}
    assert len({each.network for each in peers}) == 1
    assert len({job.name for job in house.runtime.started}) == 3


def test_instance_groups_are_told_and_channels_go_to_theirs(build: Build) -> None:
    seen: dict[str, Any] = {}

    def read(job: FakeContainer) -> None:
        config = json.loads(job.path("/opt/ml/input/config/resourceconfig.json").read_text())
        data = job.path("/opt/ml/input/data/d")
        seen[host_of(job)] = (config, data.exists() and sorted(p.name for p in data.iterdir()))

    house = build(read)
    for name in ("a", "b", "c"):
        house.put(f"in/{name}")
    groups = [
        {"InstanceGroupName": "data", "InstanceType": "ml.c5.xlarge", "InstanceCount": 1},
        {"InstanceGroupName": "work", "InstanceType": "ml.m5.large", "InstanceCount": 2},
    ]
    each = channel("d", f"s3://{BUCKET}/in/")
    each["DataSource"]["S3DataSource"] |= {
        "InstanceGroupNames": ["work"],
        "S3DataDistributionType": "ShardedByS3Key",
    }
    resources = {"InstanceGroups": groups, "VolumeSizeInGB": 30}
    step = one(house, training(ResourceConfig=resources, InputDataConfig=[each]))
    assert step.status is StepStatus.SUCCEEDED, step.failure_reason
    assert {host: files for host, (_, files) in seen.items()} == {
        "algo-1": False,
        "algo-2": ["a", "c"],
        "algo-3": ["b"],
    }
    config = seen["algo-3"][0]
    assert (config["current_group_name"], config["current_instance_type"]) == ("work", KIND)
    assert config["instance_groups"] == [
        {"instance_group_name": "data", "instance_type": "ml.c5.xlarge", "hosts": ["algo-1"]},
        {"instance_group_name": "work", "instance_type": KIND, "hosts": ["algo-2", "algo-3"]},
    ]


@pytest.mark.parametrize("sharded", [True, False])
def test_sharded_by_key_gives_each_a_part(build: Build, sharded: bool) -> None:
    seen: dict[str, list[str]] = {}

    def read(job: FakeContainer) -> None:
        folder = job.path("/opt/ml/processing/input/data")
        seen[host_of(job)] = sorted(file.name for file in folder.iterdir())

    house = build(read)
    for name in "abcde":
        house.put(f"in/{name}")
    kind = "ShardedByS3Key" if sharded else "FullyReplicated"
    each = processing_input(f"s3://{BUCKET}/in", S3DataDistributionType=kind)
    one(house, processing(ProcessingInputs=[each], **of_processing(2)))
    whole = ["a", "b", "c", "d", "e"]
    assert seen == (
        {"algo-1": ["a", "c", "e"], "algo-2": ["b", "d"]}
        if sharded
        else {"algo-1": whole, "algo-2": whole}
    )


def test_a_host_may_get_no_object(build: Build) -> None:
    house = build()
    house.put("in/a")
    each = processing_input(f"s3://{BUCKET}/in", S3DataDistributionType="ShardedByS3Key")
    step = one(house, processing(ProcessingInputs=[each], **of_processing(2)))
    assert step.status is StepStatus.SUCCEEDED, step.failure_reason


def test_a_manifest_is_an_input_of_both_kinds_of_job(build: Build) -> None:
    seen: list[str] = []

    def read(job: FakeContainer) -> None:
        for folder in ("/opt/ml/processing/input/data", "/opt/ml/input/data/data"):
            if job.path(folder).exists():
                seen.append(job.path(folder + "/sub/a").read_text())

    house = build(read)
    house.put("in/sub/a", "it")
    uri = house.put("m", json.dumps([{"prefix": f"s3://{BUCKET}/in/"}, "sub/a"]))
    each = processing_input(uri, S3DataType="ManifestFile")
    given = channel("data", uri)
    given["DataSource"]["S3DataSource"]["S3DataType"] = "ManifestFile"
    house.run(processing(ProcessingInputs=[each]), training(InputDataConfig=[given]))
    assert seen == ["it", "it"]


def test_what_all_instances_write_is_uploaded(build: Build) -> None:
    def write(job: FakeContainer) -> None:
        job.path(f"{OUTPUT}/sub").mkdir(parents=True, exist_ok=True)
        job.path(f"{OUTPUT}/sub/{host_of(job)}").write_text("own")
        job.path(f"{OUTPUT}/same").write_text(host_of(job))

    house = build(write)
    outputs = processing_outputs(o=f"s3://{BUCKET}/out")
    step = one(house, processing(ProcessingOutputConfig=outputs, **of_processing(2)))
    assert step.status is StepStatus.SUCCEEDED, step.failure_reason
    assert house.object_keys("out") == ["out/same", "out/sub/algo-1", "out/sub/algo-2"]
    assert house.text(f"s3://{BUCKET}/out/same") == "algo-1"


def test_a_model_is_put_together_from_all_instances(build: Build) -> None:
    def write(job: FakeContainer) -> None:
        for place in ("model", "output/data"):
            job.path(f"/opt/ml/{place}/part-{host_of(job)}").write_text("x")

    house = build(write)
    step = one(house, training(**of_training(2)))
    model = step.outputs["ModelArtifacts"]["S3ModelArtifacts"]
    both = {"part-algo-1": "x", "part-algo-2": "x"}
    assert files_of(house, model) == both
    assert files_of(house, model.replace("model.tar.gz", "output.tar.gz")) == both


def test_results_that_became_links_are_refused(build: Build, tmp_path: Any) -> None:
    (tmp_path / "outside").mkdir()

    def link(job: FakeContainer) -> None:
        if host_of(job) == "algo-1":
            job.path("/opt/ml/model").rmdir()
            job.path("/opt/ml/model").symlink_to(tmp_path / "outside")
        else:
            job.path("/opt/ml/model/weights").write_text("x")

    step = one(build(link), training(**of_training(2)))
    assert "/opt/ml/model of algo-1 has become a symbolic link" in (step.failure_reason or "")
    assert list((tmp_path / "outside").iterdir()) == []


def test_an_instance_that_fails_ends_the_job(build: Build) -> None:
    def fail(job: FakeContainer) -> int:
        if host_of(job) == "algo-2":
            job.print("it broke")
            job.path("/opt/ml/output/failure").write_text("the second is broken")
            return 3
        job.terminated.wait(20)
        return 143

    started = time.monotonic()
    step = one(build(fail), training(**of_training(3)))
    assert time.monotonic() - started < 10
    assert step.status is StepStatus.FAILED
    assert step.failure_reason == (
        "ClientError: AlgorithmError: the second is broken, exit code: 3"
    )


def test_an_instance_that_cannot_start_ends_the_others(build: Build) -> None:
    runtime = FakeRuntime({"*-algo-1": Script(seconds=20)})
    started = time.monotonic()
    step = one(build(runtime), training(**of_training(2)))
    assert time.monotonic() - started < 10
    assert "No behaviour for job" in (step.failure_reason or "")


def test_the_time_limit_is_for_all(build: Build) -> None:
    limit = {"StoppingCondition": {"MaxRuntimeInSeconds": 1}}
    step = one(build(Script(seconds=30)), training(**limit, **of_training(2)))
    assert step.outputs["TrainingJobStatus"] == "Stopped"
    assert "MaxRuntimeInSeconds of 1" in (step.failure_reason or "")


def test_a_person_stops_all(build: Build) -> None:
    house = build(Script(seconds=30, log="running\n"))
    execution = house.start(training(**of_training(2)))
    log = house.settings.store / "executions" / execution.id / "Train/log.txt"
    while not log.exists() or log.read_text().count("running") < 2:
        time.sleep(0.01)
    house.manager.stop(execution.arn)
    assert house.end_of(execution).status is ExecutionStatus.STOPPED
    assert house.steps(execution)["Train"].status is StepStatus.STOPPED


def test_one_log_has_the_lines_of_all_with_their_hosts(build: Build) -> None:
    def say(job: FakeContainer) -> None:
        job.print(f"loss: {1 if host_of(job) == 'algo-1' else 2}")
        job.write("no line end")

    house = build(say)
    algorithm = training()["Arguments"]["AlgorithmSpecification"] | {
        "MetricDefinitions": [{"Name": "loss", "Regex": "^loss: ([0-9.]+)"}]
    }
    step = one(house, training(AlgorithmSpecification=algorithm, **of_training(2)))
    log = (house.settings.store / (step.log or "")).read_text().splitlines()
    assert sorted(log) == [
        "[algo-1] loss: 1",
        "[algo-1] no line end",
        "[algo-2] loss: 2",
        "[algo-2] no line end",
    ]
    assert step.outputs["FinalMetricDataList"][0]["Value"] in (1, 2)


def test_the_detail_of_several_is_one(build: Build) -> None:
    house = build(lambda job: job.print("detail: 7 rows"))
    execution = house.run(processing(**of_processing(2)))
    details = [event.data.get("detail") for event in house.state.events_after(execution.arn, 0)]
    assert "7 rows" in details


def test_a_continuous_output_of_each_goes_to_s3(build: Build) -> None:
    def write(job: FakeContainer) -> None:
        job.path(f"{OUTPUT}/{host_of(job)}").write_text("x")

    house = build(write)
    outputs = processing_outputs(o=f"s3://{BUCKET}/out")
    outputs["Outputs"][0]["S3Output"]["S3UploadMode"] = "Continuous"
    one(house, processing(ProcessingOutputConfig=outputs, **of_processing(2)))
    assert house.object_keys("out") == ["out/algo-1", "out/algo-2"]
