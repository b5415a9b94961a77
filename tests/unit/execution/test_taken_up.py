"""A gateway that is killed at any moment: the next one finishes what it began, nothing twice."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops.execution import ExecutionManager
from mlops.ports import ExecutionRecord, ExecutionStatus, JsonObject, PipelineRecord, StepStatus
from mlops.runtimes.fake import FakeContainer, FakeRuntime
from mlops.settings import Settings
from mlops.stores.objects import FileObjectStore
from mlops.stores.state import SqliteStateStore

from .house import (
    ACCOUNT,
    BUCKET,
    REGION,
    ROLE,
    RecordingRegistry,
    SystemClock,
    processing,
    processing_input,
    processing_outputs,
    training,
)
from .killed import Killed, Life, MortalObjects, MortalRuntime, MortalState

URI = f"s3://{BUCKET}"


class World:
    """What outlives gateways: the disk, the jobs, the registry. Gateways come and go."""

    def __init__(
        self, folder: Path, behaviour: Callable[[FakeContainer], int | None] | None = None
    ) -> None:
        self.settings = replace(
            Settings(), store=folder / ".mlops", region=REGION, account_id=ACCOUNT
        )
        self.runtime = FakeRuntime(behaviour or work)
        self.registry = RecordingRegistry()
        self.objects = FileObjectStore(self.settings.store / "objects")
        self.objects.create_bucket(BUCKET)
        self.state = SqliteStateStore(self.settings.store / "state.db")

    def gateway(self, moments: int | None = None) -> tuple[ExecutionManager, Life]:
        life = Life(moments)
        manager = ExecutionManager(
            MortalObjects(self.objects, life),  # type: ignore[arg-type]  # it passes everything on
            MortalState(self.settings.store / "state.db", life),
            MortalRuntime(self.runtime, life),  # type: ignore[arg-type]  # it has no servers
            self.registry,
            SystemClock(),
            self.settings,
            lambda: "http://127.0.0.1:9",
        )
        return manager, life

    def pipeline(self, *steps: JsonObject, **top: Any) -> PipelineRecord:
        now = SystemClock().now()
        record = PipelineRecord(
            name="p",
            arn=f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/p",
            definition=json.dumps({"Version": "2020-12-01", "Steps": list(steps), **top}),
            role_arn=ROLE,
            created_at=now,
            last_modified_at=now,
        )
        self.state.put_pipeline(record)
        return record

    def execution(self) -> ExecutionRecord | None:
        return next(iter(self.state.list_executions("p")), None)

    def starts(self) -> list[str]:
        """The steps whose jobs were started, each as often as it was."""
        return [job.labels["mlops.step"] for job in self.runtime.started]

    def keys(self, prefix: str) -> list[str]:
        return [info.key for info in self.objects.list(BUCKET, prefix)]


def work(job: FakeContainer) -> int | None:
    """What every job does: a model or an output, and a line."""
    job.print(f"detail: {job.job.labels['mlops.step']} works")
    for folder in ("/opt/ml/processing/output/out", "/opt/ml/model"):
        if job.path(folder).is_dir():
            (job.path(folder) / "made").write_text("by " + job.job.labels["mlops.step"])
    job.terminated.wait(0.005)
    return None


def killed_at(world: World, pipeline: PipelineRecord, moments: int) -> bool:
    """Start an execution in a gateway that dies; False where it has lived long enough."""
    manager, life = world.gateway(moments)
    try:
        execution = manager.start(pipeline)
        live(manager, life, execution)
    except Killed:
        pass
    manager.close()
    return life.over.is_set()


def live(manager: ExecutionManager, life: Life, execution: ExecutionRecord) -> None:
    """Until the execution has ended, or the gateway."""
    deadline = time.monotonic() + 30
    while not life.over.is_set() and manager.wait(execution.arn, 0.02) is None:
        assert time.monotonic() < deadline, "the execution does not end"


def finish(world: World, moments: int | None = None) -> ExecutionRecord | None:
    """Let the next gateway take up what is left, to the end or its own."""
    manager, life = world.gateway(moments)
    try:
        for execution in manager.recover():
            live(manager, life, execution)
    except Killed:
        pass
    manager.close()
    return world.execution()


def lab() -> tuple[JsonObject, ...]:
    condition = {
        "Name": "Gate",
        "Type": "Condition",
        "Arguments": {
            "Conditions": [
                {
                    "Type": "Equals",
                    "LeftValue": {"Get": "Steps.Train.TrainingJobStatus"},
                    "RightValue": "Completed",
                }
            ],
            "IfSteps": [
                {
                    "Name": "Register",
                    "Type": "RegisterModel",
                    "Arguments": {
                        "ModelPackageGroupName": "group",
                        "InferenceSpecification": {
                            "Containers": [
                                {
                                    "Image": "i",
                                    "ModelDataUrl": {
                                        "Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"
                                    },
                                }
                            ],
                            "SupportedContentTypes": ["text/csv"],
                            "SupportedResponseMIMETypes": ["text/csv"],
                        },
                    },
                }
            ],
            "ElseSteps": [],
        },
        "DependsOn": ["Aside"],
    }
    return (
        processing("Prepare", ProcessingOutputConfig=processing_outputs(out=f"{URI}/prepared")),
        training("Train", DependsOn=["Prepare"]),
        processing(
            "Aside",
            ProcessingInputs=[processing_input(f"{URI}/prepared/made")],
            DependsOn=["Prepare"],
        ),
        condition,
    )


def check_lab(world: World) -> None:
    execution = world.execution()
    assert execution is not None
    assert execution.status is ExecutionStatus.SUCCEEDED, execution.failure_reason
    steps = {step.name: step for step in world.state.list_steps(execution.arn)}
    assert {name: step.status for name, step in steps.items()} == dict.fromkeys(
        ("Prepare", "Train", "Aside", "Gate", "Register"), StepStatus.SUCCEEDED
    )
    assert sorted(world.starts()) == ["Aside", "Prepare", "Train"]
    assert world.keys("prepared") == ["prepared/made"]
    (model,) = world.keys("out")
    artifact = steps["Train"].outputs["ModelArtifacts"]["S3ModelArtifacts"]
    assert artifact == f"{URI}/{model}"
    assert len({request["ClientToken"] for request in world.registry.requests}) == 1
    positions = [step.position for step in world.state.list_steps(execution.arn)]
    assert len(set(positions)) == len(positions)


@pytest.mark.parametrize("share", range(4))
def test_killed_at_every_moment(tmp_path: Path, share: int) -> None:
    """The lab's shape, killed at each call to the outside in turn (a quarter in each test)."""
    moments = 1 + share
    while True:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            world = World(Path(folder))
            dies = killed_at(world, world.pipeline(*lab()), moments)
            if world.execution() is not None:
                finish(world)
                check_lab(world)
            if not dies:
                return
        moments += 4


def test_killed_again_and_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    killed_at(world, world.pipeline(*lab()), 9)
    lives = 0
    while True:
        execution = finish(world, 11)
        assert execution is not None
        if execution.status.ended:
            break
        lives += 1
        assert lives < 200
    assert lives > 2
    check_lab(world)


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[str, list[str]]]:
    count = draw(st.integers(1, 6))
    return [
        (
            f"S{number}",
            [f"S{n}" for n in sorted(draw(st.sets(st.integers(0, number - 1), max_size=2)))]
            if number
            else [],
        )
        for number in range(count)
    ]


class AtOnce:
    """Jobs that do their work, and how many there were at most at one moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0

    def __call__(self, job: FakeContainer) -> int | None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            return work(job)
        finally:
            with self._lock:
                self._now -= 1


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(), st.integers(3, 120), st.none() | st.integers(1, 2))
def test_any_graph_killed_at_any_moment_ends_in_the_same_state(
    graph: list[tuple[str, list[str]]], moments: int, limit: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        at_once = AtOnce()
        world = World(Path(folder), at_once)
        pipeline = world.pipeline(*(processing(name, DependsOn=after) for name, after in graph))
        killed_at(world, replace(pipeline, max_parallel_steps=limit), moments)
        execution = finish(world) if world.execution() is not None else None
        if execution is None:
            return
        assert execution.status is ExecutionStatus.SUCCEEDED, execution.failure_reason
        steps = world.state.list_steps(execution.arn)
        assert {step.name for step in steps} == {name for name, _ in graph}
        assert all(step.status is StepStatus.SUCCEEDED for step in steps)
        assert sorted(world.starts()) == sorted(name for name, _ in graph)
        place = {step.name: step.position for step in steps}
        assert all(place[name] > place[before] for name, after in graph for before in after)
        assert limit is None or at_once.most <= limit


# --- what a gateway finds ----------------------------------------------------------------------


def running(world: World, *steps: JsonObject, wait_for: str) -> ExecutionRecord:
    """An execution whose gateway is killed while the job of `wait_for` runs."""
    manager, life = world.gateway()
    execution = manager.start(world.pipeline(*steps))
    while wait_for not in world.starts():
        time.sleep(0.002)
    time.sleep(0.05)
    life.over.set()
    manager.close()
    return execution


def slow(job: FakeContainer) -> int | None:
    """Waits for the file `go` in the store's folder."""
    go = next(each for each in job.job.folder.parents if each.name == ".mlops") / "go"
    while not go.exists():
        if job.terminated.wait(0.005):
            return 143
    return work(job)


def test_what_runs_is_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path, slow)
    execution = running(world, processing("A"), wait_for="A")
    manager, _ = world.gateway()
    (found,) = manager.recover()
    assert found.arn == execution.arn
    assert manager.active() == 1
    assert manager.wait(execution.arn, 0.1) is None
    (world.settings.store / "go").touch()
    ended = manager.wait(execution.arn, 10)
    assert ended is not None
    assert ended.status is ExecutionStatus.SUCCEEDED
    (step,) = world.state.list_steps(execution.arn)
    assert step.outputs["ProcessingJobStatus"] == "Completed"
    assert world.starts() == ["A"]
    assert manager.active() == 0
    notes = [event.data.get("note") for event in world.state.events_after(execution.arn, 0)]
    assert "taken up again by a new gateway" in notes
    manager.close()


def test_a_stop_is_kept_when_the_gateway_dies(tmp_path: Path) -> None:
    world = World(tmp_path, slow)
    execution = running(world, processing("A"), processing("B", DependsOn=["A"]), wait_for="A")
    record = world.state.get_execution(execution.arn)
    assert record is not None
    world.state.put_execution(replace(record, status=ExecutionStatus.STOPPING))
    ended = finish(world)
    assert ended is not None
    assert ended.status is ExecutionStatus.STOPPED
    (step,) = world.state.list_steps(execution.arn)
    assert step.status is StepStatus.STOPPED


def test_what_was_taken_up_can_be_stopped(tmp_path: Path) -> None:
    world = World(tmp_path, slow)
    execution = running(world, processing("A"), wait_for="A")
    manager, _ = world.gateway()
    manager.recover()
    assert manager.stop(execution.arn).status is ExecutionStatus.STOPPING
    ended = manager.wait(execution.arn, 10)
    assert ended is not None
    assert ended.status is ExecutionStatus.STOPPED
    manager.close()


def test_a_lost_exit_status_fails_the_step_and_can_be_retried(tmp_path: Path) -> None:
    world = World(tmp_path, slow)
    execution = running(world, processing("Z"), processing("A", DependsOn=["Z"]), wait_for="Z")
    world.runtime.remove_leftovers({})
    (outcome,) = world.settings.store.glob("executions/*/Z/outcome.json")
    outcome.unlink()
    ended = finish(world)
    assert ended is not None
    assert ended.status is ExecutionStatus.FAILED
    (step,) = world.state.list_steps(execution.arn)
    assert "its exit status is lost" in (step.failure_reason or "")
    (world.settings.store / "go").touch()
    manager, _ = world.gateway()
    manager.retry(execution.arn)
    again = manager.wait(execution.arn, 10)
    assert again is not None
    assert again.status is ExecutionStatus.SUCCEEDED
    assert world.starts() == ["Z", "Z", "A"]
    manager.close()


def test_jobs_of_no_execution_are_ended(tmp_path: Path) -> None:
    world = World(tmp_path, slow)
    execution = running(world, processing("A"), wait_for="A")
    world.state.delete_pipeline("p")
    assert finish(world) is None
    deadline = time.monotonic() + 5
    while world.runtime.find_jobs({"mlops.execution": execution.id}):
        assert time.monotonic() < deadline
        time.sleep(0.01)
