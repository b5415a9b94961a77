"""The rules of an execution one by one, each test named after its rule.

They stand in the order of "SageMaker pipeline definition: what an engine has to honour": caching,
retry, parallelism and its neighbours, statuses, names and messages. Whole families of cases are in
the other files of this folder and of ``tests/unit/engine``; here each rule is met once.
"""

from __future__ import annotations

import json
import re
import threading
from datetime import timedelta
from typing import Any

import pytest

from mlops.definition import parse_definition
from mlops.definition.duration import parse_duration
from mlops.engine import exception_type
from mlops.errors import DefinitionError, ServiceError
from mlops.ports import ExecutionStatus, JsonObject, StepStatus
from mlops.runtimes.fake import FakeRuntime, Script

from .house import BUCKET, Build, House, channel, processing, training

MODEL = Script(files={"/opt/ml/model/weights": "1"})
FAILS = Script(log="ValueError: no\n", exit_status=1)


def cached(step: JsonObject, age: str = "P30D") -> JsonObject:
    return step | {"CacheConfig": {"Enabled": True, "ExpireAfter": age}}


def jobs(house: House) -> int:
    return len(house.runtime.started)


class TestCaching:
    def test_it_is_opt_in_per_step(self, build: Build) -> None:
        house = build(MODEL)
        for _ in range(2):
            house.run(training("Plain"), cached(training("Opted")))
        assert jobs(house) == 3

    def test_it_is_per_pipeline(self, build: Build) -> None:
        house = build(MODEL)
        house.run(cached(training()), name="one")
        house.run(cached(training()), name="two")
        assert jobs(house) == 2

    def test_successful_runs_only(self, build: Build) -> None:
        house = build(FAILS)
        for _ in range(2):
            house.run(cached(training()))
        assert jobs(house) == 2

    def test_the_newest_match_counts_and_is_named(self, build: Build) -> None:
        """A hit carries ``CacheHitResult.SourcePipelineExecutionArn``."""
        house = build(MODEL)
        house.run(cached(training()))
        newer = house.manager.start(house.pipeline(cached(training())), cache_mode="off")
        house.end_of(newer)
        third = house.run(cached(training()))
        assert house.steps(third)["Train"].cached_from == newer.arn

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("P30D", 2_592_000),
            ("30d", 2_592_000),
            ("T16m", 960),
            ("30dT5h", 2_610_000),
            ("PT1H", 3600),
        ],
    )
    def test_expire_after_takes_every_documented_form(self, text: str, seconds: int) -> None:
        assert parse_duration(text) == timedelta(seconds=seconds)

    @pytest.mark.parametrize(
        ("changes", "hits"),
        [
            ({"HyperParameters": {"a": "2"}}, False),
            ({"Environment": {"A": "1"}}, False),
            ({"InputDataConfig": [channel("t", f"s3://{BUCKET}/other")]}, False),
            ({"OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/elsewhere"}}, True),
            ({"StoppingCondition": {"MaxRuntimeInSeconds": 60}}, True),
        ],
    )
    def test_the_keys_are_the_documented_attributes_and_nothing_else(
        self, build: Build, changes: dict[str, Any], hits: bool
    ) -> None:
        house = build(MODEL)
        house.put("t/x")
        house.put("other/x")
        first: dict[str, Any] = {"InputDataConfig": [channel("t", f"s3://{BUCKET}/t")]}
        house.run(cached(training(**first)))
        again = house.run(cached(training(**first | changes)))
        assert (house.steps(again)["Train"].cached_from is not None) is hits

    def test_keys_hold_uris_and_not_contents(self, build: Build) -> None:
        """The trap: a changed file behind the same URI hits."""
        house = build(MODEL)
        step = cached(training(InputDataConfig=[channel("t", house.put("t/x", "old"))]))
        house.run(step)
        house.put("t/x", "new")
        house.run(step)
        assert jobs(house) == 1


class Refusing(FakeRuntime):
    """Refuses the first jobs, then runs them."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__(MODEL)
        self.errors = list(errors)

    def start(self, job: Any) -> Any:
        if self.errors:
            raise self.errors.pop(0)
        return super().start(job)


def retried(*types: str, **more: Any) -> JsonObject:
    policy = {"ExceptionType": [*types], "IntervalSeconds": 1, "MaxAttempts": 2, **more}
    return training() | {"RetryPolicies": [policy]}


def refuses(policy: JsonObject) -> str:
    step = training() | {"RetryPolicies": [policy]}
    document = json.dumps({"Version": "2020-12-01", "Steps": [step]})
    with pytest.raises(DefinitionError) as caught:
        parse_definition(document)
    return str(caught.value)


class TestRetry:
    def test_attempt_count_is_listed(self, build: Build) -> None:
        throttled = ServiceError("ThrottlingException", "slower")
        house = build(Refusing(throttled))
        execution = house.run(retried("Step.THROTTLING"))
        assert execution.status is ExecutionStatus.SUCCEEDED
        assert house.steps(execution)["Train"].attempts == 2

    def test_a_failure_of_the_users_own_code_matches_no_type(self, build: Build) -> None:
        house = build(FAILS)
        every = (
            "Step.SERVICE_FAULT",
            "Step.THROTTLING",
            "SageMaker.JOB_INTERNAL_ERROR",
            "SageMaker.CAPACITY_ERROR",
            "SageMaker.RESOURCE_LIMIT",
        )
        execution = house.run(retried(*every))
        assert house.steps(execution)["Train"].attempts == 1

    def test_service_faults_and_throttling_are_retried_by_default(self) -> None:
        """The numbers are in tests/unit/engine/test_retry.py."""
        assert exception_type(ServiceError("InternalFailure", "x", status=500)) == (
            "Step.SERVICE_FAULT"
        )
        assert exception_type(ServiceError("ThrottlingException", "x")) == "Step.THROTTLING"

    @pytest.mark.parametrize(
        "limits",
        [
            {"MaxAttempts": 0},
            {"MaxAttempts": 21},
            {"ExpireAfterMin": 14401},
            {"MaxAttempts": 2, "ExpireAfterMin": 5},
        ],
    )
    def test_max_attempts_is_1_to_20_or_else_expire_after_min_up_to_14400(
        self, limits: JsonObject
    ) -> None:
        assert "RetryPolicies[0]" in refuses({"ExceptionType": ["Step.THROTTLING"], **limits})

    def test_an_unknown_exception_type_is_refused(self) -> None:
        assert "Step.NOPE" in refuses({"ExceptionType": ["Step.NOPE"], "MaxAttempts": 1})


class TestParallelismAndItsNeighbours:
    @pytest.mark.parametrize(("limit", "most"), [(None, 3), (1, 1), (2, 2)])
    def test_every_ready_step_runs_at_once_unless_limited(
        self, build: Build, limit: int | None, most: int
    ) -> None:
        counted, running, seen = threading.Condition(), [0], [0]

        def work(job: Any) -> None:
            with counted:
                running[0] += 1
                seen[0] = max(seen[0], running[0])
                counted.notify_all()
                counted.wait_for(lambda: seen[0] >= most, timeout=20)
            with counted:
                running[0] -= 1

        house = build(work)
        pipeline = house.pipeline(processing("A"), processing("B"), processing("C"))
        house.end_of(house.manager.start(pipeline, max_parallel_steps=limit))
        assert seen[0] == most

    def test_a_stop_goes_from_stopping_to_stopped(self, build: Build) -> None:
        house = build(Script(seconds=30))
        execution = house.start(processing())
        house.manager.stop(execution.arn)
        assert house.end_of(execution).status is ExecutionStatus.STOPPED
        told = [e.data["status"] for e in house.state.events_after(execution.arn, 0)]
        assert told[-1] == "Stopped"

    def test_a_retry_resumes_from_the_failed_step(self, build: Build) -> None:
        house = build({"*-Train-*": FAILS, "*": Script()})
        execution = house.run(processing("First"), training("Train", DependsOn=["First"]))
        assert execution.status is ExecutionStatus.FAILED
        house.end_of(house.manager.retry(execution.arn))
        attempts = {name: step.attempts for name, step in house.steps(execution).items()}
        assert attempts == {"First": 1, "Train": 2}


class TestStatusNamesAndMessages:
    def test_the_failure_reason_of_an_execution(self, build: Build) -> None:
        execution = build(FAILS).run(training())
        assert execution.failure_reason == "Step failure: One or multiple steps failed."

    def test_a_failed_algorithms_reason(self, build: Build) -> None:
        house = build(FAILS)
        reason = house.steps(house.run(training()))["Train"].failure_reason
        assert reason == "ClientError: AlgorithmError: ValueError: no, exit code: 1"

    def test_a_refused_jobs_reason_and_its_empty_metadata(self, build: Build) -> None:
        """The metadata is ``{}`` where the job never started."""
        house = build()
        step = training(ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 0})
        record = house.steps(house.run(step))["Train"]
        assert record.status is StepStatus.FAILED
        assert record.failure_reason is not None
        assert record.failure_reason.startswith(
            "ClientError: Failed to invoke sagemaker:CreateTrainingJob. Error Details: "
        )
        assert record.metadata == {}

    def test_a_fail_steps_message_is_its_reason(self, build: Build) -> None:
        house = build()
        fail = {"Name": "No", "Type": "Fail", "Arguments": {"ErrorMessage": "too low"}}
        record = house.steps(house.run(fail))["No"]
        assert record.failure_reason == "too low"
        assert record.metadata == {"Fail": {"ErrorMessage": "too low"}}

    def test_job_names_and_execution_ids(self, build: Build) -> None:
        house = build(MODEL)
        execution = house.run(training())
        assert re.fullmatch(r"[a-z0-9]{12}", execution.id)
        assert re.fullmatch(r"execution-\d{13}", execution.display_name)
        name = house.steps(execution)["Train"].job_name
        assert re.fullmatch(rf"pipelines-{execution.id}-Train-[A-Za-z0-9]{{10}}", name or "")

    def test_metadata_names_the_job(self, build: Build) -> None:
        house = build(MODEL)
        metadata = house.steps(house.run(training()))["Train"].metadata
        assert list(metadata) == ["TrainingJob"]
        assert ":training-job/pipelines-" in metadata["TrainingJob"]["Arn"]

    def test_a_condition_is_listed_with_its_outcome(self, build: Build) -> None:
        house = build()
        asks = {"Type": "Equals", "LeftValue": 1, "RightValue": 2}
        arguments = {"Conditions": [asks], "IfSteps": [processing("Never")], "ElseSteps": []}
        execution = house.run({"Name": "C", "Type": "Condition", "Arguments": arguments})
        steps = house.steps(execution)
        # A property is ``false``; the listing's ConditionOutcome is an enum of True and False.
        assert steps["C"].outputs == {"Outcome": "false"}
        assert steps["C"].metadata == {"Condition": {"Outcome": "False"}}
        assert "Never" not in steps  # the branch not taken does not run and is not listed
