"""kill -9 of the process that drives an execution: the next one finishes it, nothing runs twice."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mlops.ports import ContainerRuntime, ExecutionStatus, JsonObject, StepStatus
from mlops.runtimes.process_runtime import ProcessRuntime
from mlops.settings import ImageMapping, Settings

from ...unit.execution.house import BUCKET, House, processing, processing_outputs
from .conftest import PYTHON_IMAGE, open_house

PROGRAM = Path(__file__).with_name("killed_gateway.py")

# Each run of the job leaves a file of its own: a second one would be seen.
SCRIPT = (
    "echo begins; cd ${SAGEMAKER_BASE_DIR:-/opt/ml}/processing/output/runs; "
    "echo once > $(cat /proc/sys/kernel/random/uuid); sleep $0; echo ends"
)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def job(name: str, seconds: float, **more: object) -> JsonObject:
    command = ["sh", "-c", SCRIPT, str(seconds)]
    return processing(
        name,
        AppSpecification={"ImageUri": PYTHON_IMAGE, "ContainerEntrypoint": command},
        ProcessingOutputConfig=processing_outputs(runs=f"s3://{BUCKET}/{name}"),
        **more,
    )


def definition(seconds: float) -> str:
    steps = [
        job("First", 0.1),
        job("Left", seconds, DependsOn=["First"]),
        job("Right", seconds / 2, DependsOn=["First"]),
        job("Last", 0.1, DependsOn=["Left", "Right"]),
    ]
    return json.dumps({"Version": "2020-12-01", "Steps": steps})


@contextmanager
def gateway(kind: str, store: Path, text: str) -> Iterator[str]:
    """A gateway's process, killed at the end; the ARN of its execution."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), kind, str(store), text], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        with process.stdout:
            yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "docker":
        request.getfixturevalue("docker_engine")
        request.getfixturevalue("base_image")
    return str(request.param)


def houses(kind: str, store: Path) -> Iterator[House]:
    """The gateway after all that were killed, in this process."""
    mapping = ImageMapping("python:*", "mlops-test-base:local")
    settings = replace(Settings(), store=store, images=(mapping,))
    runtime: ContainerRuntime = ProcessRuntime(settings)
    if kind == "docker":
        from mlops.runtimes.docker_runtime import DockerRuntime

        runtime = DockerRuntime(settings)
    yield from open_house(settings, runtime)


def make_bucket(store: Path) -> None:
    for _ in houses("process", store):
        """Opening a house makes its bucket."""


def check_finished(house: House, arn: str) -> None:
    execution = house.state.get_execution(arn)
    assert execution is not None
    ended = house.manager.wait(arn, 60)
    assert ended is not None
    steps = house.steps(execution)
    assert ended.status is ExecutionStatus.SUCCEEDED, [s.failure_reason for s in steps.values()]
    assert {name: step.status for name, step in steps.items()} == dict.fromkeys(
        ("First", "Left", "Right", "Last"), StepStatus.SUCCEEDED
    )
    for name, step in steps.items():
        assert len(house.object_keys(f"{name}/")) == 1, f"{name} ran more than once"
        log = (house.settings.store / (step.log or "")).read_text()
        assert log == "begins\nends\n", f"the log of {name}"
    assert not house.runtime.find_jobs({"mlops.execution": execution.id})
    assert not list(house.settings.store.glob("runtime/*/*"))


def test_killed_while_jobs_run(tmp_path: Path, kind: str) -> None:
    store = tmp_path / ".mlops"
    make_bucket(store)
    with gateway(kind, store, definition(2.0)) as arn:
        logs = [store / "executions" / arn.rpartition("/")[2] / n / "log.txt" for n in ("Left",)]
        wait_until(lambda: all(log.exists() and log.read_text() for log in logs))
    time.sleep(1.5)  # Right ends while there is no gateway
    for house in houses(kind, store):
        (found,) = house.manager.recover()
        assert found.arn == arn
        check_finished(house, arn)


def test_killed_again_and_again(tmp_path: Path, kind: str) -> None:
    store = tmp_path / ".mlops"
    make_bucket(store)
    text = definition(1.0)
    chance = random.Random(tmp_path.name + kind)
    for _ in range(4):
        with gateway(kind, store, text) as arn:
            time.sleep(chance.uniform(0.0, 0.8))
    for house in houses(kind, store):
        house.manager.recover()
        check_finished(house, arn)
        # The house is as good as new.
        again = house.run(job("Again", 0.0))
        assert again.status is ExecutionStatus.SUCCEEDED


def test_a_stop_that_was_asked_for_is_kept(tmp_path: Path, kind: str) -> None:
    store = tmp_path / ".mlops"
    make_bucket(store)
    with gateway(kind, store, definition(60.0)) as arn:
        log = store / "executions" / arn.rpartition("/")[2] / "Left" / "log.txt"
        wait_until(lambda: log.exists() and "begins" in log.read_text())
    for house in houses(kind, store):
        record = house.state.get_execution(arn)
        assert record is not None
        house.state.put_execution(replace(record, status=ExecutionStatus.STOPPING))
        house.manager.recover()
        ended = house.manager.wait(arn, 60)
        assert ended is not None
        assert ended.status is ExecutionStatus.STOPPED
        steps = house.steps(ended)
        assert steps["First"].status is StepStatus.SUCCEEDED
        assert steps["Left"].status is StepStatus.STOPPED
        assert not house.runtime.find_jobs({"mlops.execution": ended.id})
