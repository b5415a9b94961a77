"""Retry policies at work: attempts, their names, folders and logs, and what is told of them."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from mlops.errors import ExitStatusLost, RuntimeUnavailable, ServiceError
from mlops.execution.stopping import StopSignal
from mlops.ports import ExecutionStatus, JobSpec, JsonObject, StepStatus
from mlops.runtimes.fake import FakeRuntime, Script

from .house import IMAGE, ROLE, SUCCEEDS, Build, House, processing, training

LOST = "SageMaker.JOB_INTERNAL_ERROR"


class Failing(FakeRuntime):
    """Refuses the first jobs, then runs them."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__(Script(log="ran\n"))
        self.errors = list(errors)
        self.asked: list[JobSpec] = []

    def start(self, job: JobSpec) -> Any:
        self.asked.append(job)
        if self.errors:
            job.log.parent.mkdir(parents=True, exist_ok=True)
            job.log.write_text(f"attempt {len(self.asked)}\n", encoding="utf-8")
            raise self.errors.pop(0)
        return super().start(job)


class Pauses:
    """Remembers the pauses instead of making them."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, stop: StopSignal, seconds: float) -> bool:
        self.seconds.append(seconds)
        return stop.requested


def retried(step: JsonObject, *types: str, **members: Any) -> JsonObject:
    policy = {"ExceptionType": list(types), "IntervalSeconds": 4, "BackoffRate": 2.0}
    return step | {"RetryPolicies": [policy | (members or {"MaxAttempts": 4})]}


def notes(house: House, execution: Any) -> list[str]:
    events = house.state.events_after(execution.arn, 0)
    return [event.data["note"] for event in events if event.data.get("note")]


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


def test_each_attempt_has_its_own_job_name_folder_and_log(build: Build, pauses: Pauses) -> None:
    runtime = Failing(ExitStatusLost("first"), ExitStatusLost("second"))
    house = build(runtime, pause=pauses)
    execution = house.run(retried(training(), LOST))
    step = house.steps(execution)["Train"]
    assert (execution.status, step.status) == (ExecutionStatus.SUCCEEDED, StepStatus.SUCCEEDED)
    assert step.attempts == 3
    assert pauses.seconds == [4, 8]
    assert len({job.name for job in runtime.asked}) == 3
    assert len({job.folder for job in runtime.asked}) == 3
    logs = [job.log.read_text(encoding="utf-8") for job in runtime.asked]
    assert logs == ["attempt 1\n", "attempt 2\n", "ran\n"]
    assert step.job_name == runtime.asked[-1].name
    assert step.log == str(runtime.asked[-1].log.relative_to(house.settings.store))


def test_the_job_of_an_attempt_that_failed_is_still_known(build: Build, pauses: Pauses) -> None:
    runtime = Failing(ExitStatusLost("first"))
    house = build(runtime, pause=pauses)
    execution = house.run(retried(training(), LOST))
    (former,) = house.state.list_resources("former-training-job")
    assert former.name == runtime.asked[0].name
    assert former.document["described"]["TrainingJobStatus"] == "Failed"
    assert former.document["described"]["FailureReason"] == "InternalServerError: first"
    assert (house.settings.store / former.document["log"]).read_text() == "attempt 1\n"
    assert house.steps(execution)["Train"].job_name == runtime.asked[1].name


def test_a_person_is_told_of_every_retry(build: Build, pauses: Pauses) -> None:
    house = build(Failing(ExitStatusLost("its supervisor died")), pause=pauses)
    execution = house.run(retried(processing(), LOST))
    reason = "InternalServerError: its supervisor died"
    assert notes(house, execution) == [f"attempt 2 of 5 in 4 s: {LOST}: {reason}"]


def test_after_the_last_attempt_the_step_has_failed(build: Build, pauses: Pauses) -> None:
    house = build(Failing(*[ExitStatusLost(str(n)) for n in range(9)]), pause=pauses)
    execution = house.run(retried(training(), LOST, MaxAttempts=2))
    step = house.steps(execution)["Train"]
    assert (step.status, step.attempts) == (StepStatus.FAILED, 3)
    assert step.failure_reason == "InternalServerError: 2"
    assert pauses.seconds == [4, 8]


def test_the_users_own_failure_matches_no_policy(build: Build, pauses: Pauses) -> None:
    house = build(Script(exit_status=1), pause=pauses)
    names = ("Step.SERVICE_FAULT", LOST, "SageMaker.CAPACITY_ERROR", "SageMaker.RESOURCE_LIMIT")
    step = house.steps(house.run(retried(training(), *names)))["Train"]
    assert (step.status, step.attempts, pauses.seconds) == (StepStatus.FAILED, 1, [])


def test_an_engine_that_does_not_answer_is_a_capacity_error(build: Build, pauses: Pauses) -> None:
    house = build(Failing(RuntimeUnavailable("no engine answers")), pause=pauses)
    execution = house.run(retried(training(), "SageMaker.CAPACITY_ERROR"))
    assert execution.status is ExecutionStatus.SUCCEEDED


def test_a_throttled_call_is_tried_again_without_a_policy(build: Build, pauses: Pauses) -> None:
    house = build(SUCCEEDS, pause=pauses)
    answers = [ServiceError("ThrottlingException", "Rate exceeded", status=400)]
    create = house.registry.create_model

    def throttled(request: JsonObject) -> JsonObject:
        if answers:
            raise answers.pop()
        return create(request)

    house.registry.create_model = throttled  # type: ignore[method-assign]  # one answer, once
    arguments = {"PrimaryContainer": {"Image": IMAGE}, "ExecutionRoleArn": ROLE}
    execution = house.run({"Name": "Model", "Type": "Model", "Arguments": arguments})
    assert execution.status is ExecutionStatus.SUCCEEDED
    assert pauses.seconds == [1]


def test_a_stop_ends_a_waiting_retry_at_once(build: Build) -> None:
    waiting = threading.Event()

    def pause(stop: StopSignal, seconds: float) -> bool:
        waiting.set()
        return stop.wait(seconds)

    house = build(Failing(ExitStatusLost("lost")), pause=pause)
    execution = house.start(retried(training(), LOST, MaxAttempts=1, IntervalSeconds=3600))
    assert waiting.wait(5)
    house.manager.stop(execution.arn)
    ended = house.end_of(execution, timeout=5)
    step = house.steps(ended)["Train"]
    assert (ended.status, step.status) == (ExecutionStatus.STOPPED, StepStatus.STOPPED)
    assert len(house.runtime.asked) == 1
