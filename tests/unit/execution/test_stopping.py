"""StopPipelineExecution: jobs are stopped side by side, everything is recorded as Stopped."""

from __future__ import annotations

import threading
import time

import pytest

from mlops.errors import ServiceError
from mlops.ports import ExecutionStatus, StepStatus
from mlops.runtimes.fake import FakeContainer, FakeRuntime

from .house import BUCKET, Build, processing, processing_outputs, training


def started(runtime: FakeRuntime, count: int) -> None:
    deadline = time.monotonic() + 10
    while len(runtime.started) < count:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def obedient(job: FakeContainer) -> int:
    job.terminated.wait(30)
    return 143


def test_everything_that_runs_is_stopped_side_by_side(build: Build) -> None:
    both_asked = threading.Barrier(2, timeout=10)

    def meet(job: FakeContainer) -> int:
        job.terminated.wait(30)
        both_asked.wait()
        return 143

    house = build(meet)
    execution = house.start(processing("A"), training("B"), processing("Never", DependsOn=["A"]))
    started(house.runtime, 2)
    stopping = house.manager.stop(execution.arn)
    assert stopping.status in (ExecutionStatus.STOPPING, ExecutionStatus.STOPPED)
    ended = house.end_of(execution)
    assert ended.status is ExecutionStatus.STOPPED
    assert ended.failure_reason is None
    steps = house.steps(execution)
    assert {name: step.status for name, step in steps.items()} == {
        "A": StepStatus.STOPPED,
        "B": StepStatus.STOPPED,
    }
    assert steps["A"].outputs["ProcessingJobStatus"] == "Stopped"
    assert steps["B"].outputs["SecondaryStatus"] == "Stopped"


def test_the_record_says_stopping_until_the_jobs_have_ended(build: Build) -> None:
    go = threading.Event()

    def slow(job: FakeContainer) -> int:
        go.wait(10)
        return 143

    house = build(slow)
    execution = house.start(processing())
    started(house.runtime, 1)
    assert house.manager.stop(execution.arn).status is ExecutionStatus.STOPPING
    assert house.steps(execution)["Process"].status is StepStatus.STOPPING
    assert house.manager.stop(execution.arn).status is ExecutionStatus.STOPPING  # again: no harm
    go.set()
    house.end_of(execution)
    statuses = [event.data["status"] for event in house.state.events_after(execution.arn, 0)]
    assert statuses == ["Executing", "Executing", "Stopping", "Stopping", "Stopped", "Stopped"]


def test_a_stopped_training_keeps_what_it_saved(build: Build) -> None:
    def train(job: FakeContainer) -> int:
        job.terminated.wait(30)
        job.path("/opt/ml/model/best").write_text("w")
        return 143

    house = build(train)
    execution = house.start(training())
    started(house.runtime, 1)
    house.manager.stop(execution.arn)
    house.end_of(execution)
    step = house.steps(execution)["Train"]
    assert house.object_keys() == [f"out/{step.job_name}/output/model.tar.gz"]


def test_a_stopped_processing_uploads_nothing(build: Build) -> None:
    def process(job: FakeContainer) -> int:
        job.path("/opt/ml/processing/output/o/half").write_text("x")
        job.terminated.wait(30)
        return 143

    house = build(process)
    outputs = processing_outputs(o=f"s3://{BUCKET}/o")
    execution = house.start(processing(ProcessingOutputConfig=outputs))
    started(house.runtime, 1)
    house.manager.stop(execution.arn)
    assert house.end_of(execution).status is ExecutionStatus.STOPPED
    assert house.object_keys() == []


def test_a_job_that_succeeds_while_being_stopped_has_succeeded(build: Build) -> None:
    release = threading.Event()

    def finish(job: FakeContainer) -> int:
        release.wait(10)
        return 0

    house = build(finish)
    execution = house.start(processing(), processing("Next", DependsOn=["Process"]))
    started(house.runtime, 1)
    threading.Timer(0.05, release.set).start()
    house.manager.stop(execution.arn)
    assert house.end_of(execution).status is ExecutionStatus.STOPPED
    steps = house.steps(execution)
    assert list(steps) == ["Process"]
    assert steps["Process"].status in (StepStatus.STOPPED, StepStatus.SUCCEEDED)


def test_stopping_at_any_moment_ends_the_execution(build: Build) -> None:
    """Stops come while threads start, jobs are made, records are written."""
    house = build(obedient)
    for pause in (0, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01):
        execution = house.start(processing("A"), training("B"))
        time.sleep(pause)
        house.manager.stop(execution.arn)
        assert house.end_of(execution).status is ExecutionStatus.STOPPED
        for step in house.steps(execution).values():
            assert step.status is StepStatus.STOPPED, step.failure_reason
            assert step.ended_at is not None


def test_an_ended_execution_stays_as_it_is(build: Build) -> None:
    house = build()
    execution = house.run(processing())
    assert house.manager.stop(execution.arn) == execution


def test_an_unknown_execution_is_not_found(build: Build) -> None:
    with pytest.raises(ServiceError, match="does not exist") as caught:
        build().manager.stop("arn:none")
    assert caught.value.code == "ResourceNotFound"


def test_stopping_one_execution_leaves_the_other(build: Build) -> None:
    go = threading.Event()

    def wait(job: FakeContainer) -> int:
        while not job.terminated.wait(0.005):
            if go.is_set():
                return 0
        return 143

    house = build(wait)
    first, second = (house.start(processing(), name=name) for name in ("a", "b"))
    started(house.runtime, 2)
    house.manager.stop(first.arn)
    assert house.end_of(first).status is ExecutionStatus.STOPPED
    go.set()
    assert house.end_of(second).status is ExecutionStatus.SUCCEEDED
