"""The service's look-up rules of step caching ("Caching pipeline steps"), and content mode."""

from __future__ import annotations

import io
import tarfile
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlops.ports import ExecutionRecord, ExecutionStatus, JsonObject, StepRecord
from mlops.runtimes.fake import FakeContainer, Script

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

RESULT = "/opt/ml/processing/output/result/result.txt"
WRITES = Script(files={RESULT: "result", "/opt/ml/model/weights": "1"})
RUN_FOLDER = {
    "Std:Join": {
        "On": "/",
        "Values": [f"s3://{BUCKET}/runs", {"Get": "Execution.PipelineExecutionId"}, "result"],
    }
}


def cached(step: JsonObject, expire_after: str | None = "P30D") -> JsonObject:
    age = {} if expire_after is None else {"ExpireAfter": expire_after}
    return step | {"CacheConfig": {"Enabled": True, **age}}


def etl(uri: str = f"s3://{BUCKET}/in", **changes: Any) -> JsonObject:
    return processing(
        "ETL",
        ProcessingInputs=[processing_input(uri)],
        ProcessingOutputConfig=processing_outputs(result=RUN_FOLDER),
        **changes,
    )


def train() -> JsonObject:
    uri = {"Get": "Steps.ETL.ProcessingOutputConfig.Outputs['result'].S3Output.S3Uri"}
    return training("Train", InputDataConfig=[channel("train", uri)])


@pytest.fixture
def house(build: Build) -> House:
    house = build(WRITES)
    house.put("in/rows.csv")
    return house


def run(house: House, *steps: JsonObject, mode: str | None = None, name: str = "p") -> Any:
    pipeline = house.pipeline(*steps, name=name)
    return house.end_of(house.manager.start(pipeline, cache_mode=mode))


def jobs(house: House) -> int:
    return len(house.runtime.started)


def etl_of(house: House, execution: ExecutionRecord) -> StepRecord:
    assert execution.status is ExecutionStatus.SUCCEEDED
    return house.steps(execution)["ETL"]


def hits(house: House, execution: ExecutionRecord) -> bool:
    return etl_of(house, execution).cache_hit


def test_a_hit_is_the_earlier_run_and_runs_no_job(house: House) -> None:
    first = run(house, cached(etl()))
    made = jobs(house)
    second = run(house, cached(etl()))
    source, step = etl_of(house, first), etl_of(house, second)
    assert jobs(house) == made
    assert (step.cache_hit, step.cached_from) == (True, first.arn)
    assert (step.outputs, step.metadata) == (source.outputs, source.metadata)
    assert (step.job_name, step.log) == (None, None), "no job ran"
    last = house.state.events_after(second.arn, 0)[-2].data
    assert (last["detail"], last["cache_hit"]) == (f"cached from {first.id}", True)


def test_without_a_cache_config_every_run_is_a_run(house: House) -> None:
    run(house, etl())
    assert not hits(house, run(house, etl()))
    run(house, cached(etl()))
    off = etl() | {"CacheConfig": {"Enabled": False, "ExpireAfter": "P30D"}}
    assert not hits(house, run(house, off))


def test_what_follows_a_hit_has_the_keys_of_the_earlier_run(house: House) -> None:
    first = run(house, cached(etl()), cached(train()))
    second = run(house, cached(etl()), cached(train()))
    assert {step.cached_from for step in house.steps(second).values()} == {first.arn}
    artifacts = house.steps(second)["Train"].outputs["ModelArtifacts"]["S3ModelArtifacts"]
    assert house.steps(first)["Train"].job_name in artifacts


def test_the_source_of_a_hit_is_the_run_that_made_the_outputs(house: House) -> None:
    first = run(house, cached(etl()))
    run(house, cached(etl()))
    assert etl_of(house, run(house, cached(etl()))).cached_from == first.arn


def test_a_pipeline_finds_its_own_runs_only(house: House) -> None:
    run(house, cached(etl()), name="one")
    assert not hits(house, run(house, cached(etl()), name="two"))


def test_keys_are_addresses_not_contents(house: House) -> None:
    run(house, cached(etl()))
    house.put("in/rows.csv", "changed behind the same address")
    assert hits(house, run(house, cached(etl())))
    house.put("elsewhere/rows.csv")
    assert not hits(house, run(house, cached(etl(f"s3://{BUCKET}/elsewhere"))))


@pytest.mark.parametrize(
    ("changes", "hit"),
    [
        ({"Environment": {"A": "1"}}, False),
        ({"RoleArn": "arn:aws:iam::000000000000:role/another"}, True),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 60}}, True),
    ],
)
def test_only_the_documented_attributes_count(
    house: House, changes: dict[str, Any], hit: bool
) -> None:
    run(house, cached(etl()))
    assert hits(house, run(house, cached(etl(**changes)))) is hit


def test_a_failed_run_is_no_source(build: Build) -> None:
    fails = [True]

    def behave(job: FakeContainer) -> int:
        return 1 if fails.pop(0) else WRITES(job)

    house = build(behave)
    house.put("in/rows.csv")
    assert run(house, cached(etl())).status is ExecutionStatus.FAILED
    fails += [False, False]
    assert not hits(house, run(house, cached(etl())))


def test_a_step_that_succeeded_in_a_failed_execution_is_a_source(build: Build) -> None:
    house = build({"*-Train-*": Script(exit_status=1), "*": WRITES})
    house.put("in/rows.csv")
    first = run(house, cached(etl()), train())
    assert first.status is ExecutionStatus.FAILED
    assert etl_of(house, run(house, cached(etl()))).cached_from == first.arn


def test_the_newest_run_within_expire_after_counts(house: House) -> None:
    first = run(house, cached(etl()))
    (entry,) = [house.state.find_cache_entry(key, made_after=None) for key in keys(house)]
    assert entry is not None
    # As if it had run two days ago.
    old = {"made_at": datetime.now(UTC) - timedelta(days=2)}
    house.state.put_cache_entry(type(entry)(**{**as_dict(entry), **old}))
    assert etl_of(house, run(house, cached(etl(), "P3D"))).cached_from == first.arn
    second = run(house, cached(etl(), "P1D"))
    assert not hits(house, second)
    assert etl_of(house, run(house, cached(etl(), "P3D"))).cached_from == second.arn
    assert hits(house, run(house, cached(etl(), None))), "any age will do without ExpireAfter"


def keys(house: House) -> set[str]:
    return {row[0] for row in house.state._run("SELECT key FROM cache_entries")}


def as_dict(entry: Any) -> dict[str, Any]:
    names = ("key", "execution_arn", "step_name", "made_at", "objects")
    return {name: getattr(entry, name) for name in names}


def test_outputs_deleted_by_hand_are_no_hit_and_that_is_said(house: House) -> None:
    first = run(house, cached(etl()))
    uri = etl_of(house, first).outputs["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    house.objects.delete(BUCKET, f"{uri.removeprefix(f's3://{BUCKET}/')}/result.txt")
    second = run(house, cached(etl()))
    assert not hits(house, second)
    notes = [e.data["note"] for e in house.state.events_after(second.arn, 0) if "note" in e.data]
    gone = f"1 of 1 objects at {uri} are no longer there"
    assert notes == [f"not cached from {first.id}: {gone}"]


def test_off_runs_everything_again_and_is_the_newest_source_after(house: House) -> None:
    run(house, cached(etl()))
    second = run(house, cached(etl()), mode="off")
    assert not hits(house, second)
    assert etl_of(house, run(house, cached(etl()))).cached_from == second.arn


# --- content mode ---


def test_content_mode_notices_a_changed_file_behind_the_same_address(house: House) -> None:
    run(house, cached(etl()), mode="content")
    assert hits(house, run(house, cached(etl()), mode="content"))
    house.put("in/rows.csv", "changed")
    assert not hits(house, run(house, cached(etl()), mode="content"))


def test_content_mode_finds_the_same_content_at_another_address(house: House) -> None:
    run(house, cached(etl()), mode="content")
    house.put("elsewhere/rows.csv")
    moved = cached(etl(f"s3://{BUCKET}/elsewhere"))
    assert hits(house, run(house, moved, mode="content"))


def test_content_mode_reads_what_a_manifest_lists(house: House) -> None:
    house.put("manifest", f'[{{"prefix": "s3://{BUCKET}/in/"}}, "rows.csv"]')
    listed = processing_input(f"s3://{BUCKET}/manifest", S3DataType="ManifestFile")
    step = cached(etl() | {"Arguments": etl()["Arguments"] | {"ProcessingInputs": [listed]}})
    run(house, step, mode="content")
    assert hits(house, run(house, step, mode="content"))
    house.put("in/rows.csv", "changed")
    assert not hits(house, run(house, step, mode="content"))


def test_content_mode_takes_no_outputs_that_were_overwritten(house: House) -> None:
    first = run(house, cached(etl()), mode="content")
    uri = etl_of(house, first).outputs["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    house.put(f"{uri.removeprefix(f's3://{BUCKET}/')}/result.txt", "another")
    assert not hits(house, run(house, cached(etl()), mode="content"))


def archive(moment: int, text: str = "pass") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("train.py")
        entry.size, entry.mtime = len(text), moment
        tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def test_content_mode_ignores_the_time_of_a_build(house: House) -> None:
    def build_step(build: int, text: str = "pass") -> JsonObject:
        key = f"job-{build}/source/sourcedir.tar.gz"
        house.objects.put(BUCKET, key, archive(build, text))
        parameters = {
            "sagemaker_submit_directory": f'"s3://{BUCKET}/{key}"',
            "model_dir": f'"s3://{BUCKET}/job-{build}/model"',
        }
        data = [channel("train", f"s3://{BUCKET}/in")]
        return cached(training("ETL", HyperParameters=parameters, InputDataConfig=data))

    run(house, build_step(1), mode="content")
    assert not hits(house, run(house, build_step(2))), "as in the service"
    assert hits(house, run(house, build_step(3), mode="content"))
    assert not hits(house, run(house, build_step(4, "raise"), mode="content"))
