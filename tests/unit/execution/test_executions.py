"""Whole executions through the public face."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from mlops.errors import DefinitionError, GatewayUnavailable, ParameterError, UsageError
from mlops.ports import ExecutionStatus, JsonObject, StepStatus
from mlops.runtimes.fake import FakeContainer, Script

from .house import (
    BUCKET,
    IMAGE,
    ROLE,
    Build,
    processing,
    processing_outputs,
    training,
)

REPORT = '{"regression_metrics": {"mse": {"value": 0.25}}}'


def evaluate() -> JsonObject:
    files = [{"PropertyFileName": "R", "OutputName": "evaluation", "FilePath": "evaluation.json"}]
    outputs = processing_outputs(evaluation=f"s3://{BUCKET}/evaluation")
    return processing("Evaluate", ProcessingOutputConfig=outputs, PropertyFiles=files)


def gate(then: list[JsonObject], otherwise: list[JsonObject]) -> JsonObject:
    report = {"PropertyFile": {"Get": "Steps.Evaluate.PropertyFiles.R"}}
    condition = {
        "Type": "LessThanOrEqualTo",
        "LeftValue": {"Std:JsonGet": report | {"Path": "regression_metrics.mse.value"}},
        "RightValue": {"Get": "Parameters.MseThreshold"},
    }
    arguments = {"Conditions": [condition], "IfSteps": then, "ElseSteps": otherwise}
    return {"Name": "Condition", "Type": "Condition", "Arguments": arguments}


def register() -> JsonObject:
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"}
    arguments = {
        "ModelPackageGroupName": "group",
        "ModelApprovalStatus": "Approved",
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    }
    return {"Name": "Register-RegisterModel", "Type": "RegisterModel", "Arguments": arguments}


def fail() -> JsonObject:
    values = ["Execution failed due to MSE greater than", {"Get": "Parameters.MseThreshold"}]
    message = {"Std:Join": {"On": " ", "Values": values}}
    return {"Name": "Fail", "Type": "Fail", "Arguments": {"ErrorMessage": message}}


def gated(build: Build, threshold: str) -> tuple[Any, Any]:
    writes = Script(files={"/opt/ml/processing/output/evaluation/evaluation.json": REPORT})
    house = build(writes)
    parameter = {"Name": "MseThreshold", "Type": "Float", "DefaultValue": 6.0}
    steps = (evaluate(), gate([register()], [fail()]))
    execution = house.run(*steps, Parameters=[parameter], given={"MseThreshold": threshold})
    return house, execution


def test_a_gate_that_is_met_registers(build: Build) -> None:
    house, execution = gated(build, "0.3")
    assert execution.status is ExecutionStatus.SUCCEEDED
    steps = house.steps(execution)
    assert list(steps) == ["Evaluate", "Condition", "Register-RegisterModel"]
    assert steps["Condition"].metadata == {"Condition": {"Outcome": "True"}}
    assert steps["Condition"].outputs == {"Outcome": "true"}
    registered = steps["Register-RegisterModel"]
    assert registered.metadata["RegisterModel"]["Arn"].endswith(":model-package/group/1")
    assert registered.outputs["CreationTime"] == 1767225600.0
    (request,) = house.registry.requests
    assert request["ModelPackageGroupName"] == "group"
    details = [
        event.data["detail"]
        for event in house.state.events_after(execution.arn, 0)
        if event.kind == "step" and event.data["status"] == "Succeeded"
    ]
    assert details == [None, "0.25 <= 0.3", "group/1 · Approved"]


def test_a_gate_that_is_missed_fails_with_the_message(build: Build) -> None:
    house, execution = gated(build, "0.1")
    assert execution.status is ExecutionStatus.FAILED
    assert execution.failure_reason == "Step failure: One or multiple steps failed."
    steps = house.steps(execution)
    assert list(steps) == ["Evaluate", "Condition", "Fail"]
    message = "Execution failed due to MSE greater than 0.1"
    assert steps["Fail"].failure_reason == message
    assert steps["Fail"].metadata == {"Fail": {"ErrorMessage": message}}
    assert not house.registry.requests


def test_steps_that_wait_for_nothing_run_at_once(build: Build) -> None:
    together = threading.Barrier(3, timeout=10)

    def meet(job: FakeContainer) -> None:
        together.wait()

    execution = build(meet).run(processing("A"), processing("B"), training("C"))
    assert execution.status is ExecutionStatus.SUCCEEDED


def test_max_parallel_steps_is_kept(build: Build) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def count(job: FakeContainer) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    house = build(count)
    pipeline = house.pipeline(*(processing(f"S{number}") for number in range(5)))
    execution = house.manager.start(pipeline, max_parallel_steps=2)
    assert house.end_of(execution).status is ExecutionStatus.SUCCEEDED
    assert most == 2


def test_a_failed_step_lets_running_ones_end_and_starts_no_more(build: Build) -> None:
    failed = threading.Event()

    def late(job: FakeContainer) -> None:
        failed.wait(10)
        time.sleep(0.02)

    def bad(job: FakeContainer) -> int:
        failed.set()
        return 1

    house = build({"*-Bad-*": bad, "*": late})
    execution = house.run(
        processing("Bad"), processing("Late"), processing("Never", DependsOn=["Late"])
    )
    steps = house.steps(execution)
    assert execution.status is ExecutionStatus.FAILED
    assert steps["Bad"].status is StepStatus.FAILED
    assert steps["Late"].status is StepStatus.SUCCEEDED
    assert "Never" not in steps


def test_two_executions_at_once_do_not_disturb_each_other(build: Build) -> None:
    def write(job: FakeContainer) -> None:
        job.path("/opt/ml/processing/output/o/name").write_text(job.job.environment["WHO"])

    house = build(write)
    executions = []
    for who in ("first", "second"):
        outputs = processing_outputs(o=f"s3://{BUCKET}/{who}")
        step = processing(ProcessingOutputConfig=outputs, Environment={"WHO": who})
        executions.append(house.start(step, name=who))
    for execution in executions:
        assert house.end_of(execution).status is ExecutionStatus.SUCCEEDED
    assert house.text(f"s3://{BUCKET}/first/name") == "first"
    assert house.text(f"s3://{BUCKET}/second/name") == "second"


# --- what is refused before anything is kept ---


@pytest.mark.parametrize("given", [{"N": "x"}, {"Unknown": "1"}, {}])
def test_wrong_parameters_leave_no_execution(build: Build, given: dict[str, str]) -> None:
    house = build()
    with pytest.raises(ParameterError):
        house.start(processing(), Parameters=[{"Name": "N", "Type": "Integer"}], given=given)
    assert not house.state.list_executions()


def test_a_broken_definition_leaves_no_execution(build: Build) -> None:
    house = build()
    with pytest.raises(DefinitionError, match="wait for one another"):
        house.start(processing("A", DependsOn=["B"]), processing("B", DependsOn=["A"]))
    assert not house.state.list_executions()


def test_a_limit_below_one_leaves_no_execution(build: Build) -> None:
    house = build()
    with pytest.raises(UsageError, match="at least 1"):
        house.manager.start(house.pipeline(processing()), max_parallel_steps=0)
    assert not house.state.list_executions()


def test_the_same_token_is_the_same_execution(build: Build) -> None:
    house = build()
    pipeline = house.pipeline(processing())
    first = house.manager.start(pipeline, client_request_token="t" * 32)
    again = house.manager.start(pipeline, client_request_token="t" * 32)
    other = house.manager.start(pipeline, client_request_token="u" * 32)
    assert first.arn == again.arn != other.arn


# --- records, names, events ---


def test_names_and_arns_are_the_services(build: Build) -> None:
    house = build()
    name = "A_step-with-a-name-much-longer-than-a-job-name-may-be"
    execution = house.run(processing(name))
    step = house.steps(execution)[name]
    assert execution.arn.endswith(f":pipeline/p/execution/{execution.id}")
    assert execution.display_name.startswith("execution-1")
    assert step.job_name is not None
    assert step.job_name.startswith(f"pipelines-{execution.id}-A-step-with-a-name-m-")
    assert len(step.job_name) <= 63
    assert step.metadata["ProcessingJob"]["Arn"] == (
        f"arn:aws:sagemaker:us-east-1:000000000000:processing-job/{step.job_name}"
    )


def test_events_tell_the_story_in_order(build: Build) -> None:
    house = build(Script(log="one\ndetail: 7 rows\ntwo\n", seconds=0.05))
    execution = house.run(processing("A"))
    events = house.state.events_after(execution.arn, 0)
    assert [(event.sequence, event.kind, event.data["status"]) for event in events] == [
        (1, "execution", "Executing"),
        (2, "step", "Executing"),
        (3, "step", "Succeeded"),
        (4, "execution", "Succeeded"),
    ]
    started, ended = events[1].data, events[2].data
    assert started["job_name"] == ended["job_name"]
    assert ended["detail"] == "7 rows"
    assert ended["seconds"] >= 0.05
    assert ended["log"] == f"executions/{execution.id}/A/log.txt"


def test_overhead_is_the_time_beside_the_jobs_own(build: Build) -> None:
    house = build(Script(seconds=0.3))
    step = house.steps(house.run(processing()))["Process"]
    assert step.ended_at is not None
    seconds = (step.ended_at - step.started_at).total_seconds()
    assert seconds >= 0.3
    assert step.overhead_seconds < seconds - 0.25


def test_follow_wakes_up_for_news_and_at_the_end(build: Build) -> None:
    go = threading.Event()

    def wait(job: FakeContainer) -> None:
        go.wait(10)

    house = build(wait)
    execution = house.start(processing())
    seen = 0
    while seen < 2:
        seen = house.manager.follow(execution.arn, seen, 10)[-1].sequence
    assert house.manager.follow(execution.arn, seen, 0.05) == []
    threading.Timer(0.05, go.set).start()
    assert house.manager.follow(execution.arn, seen, 10)[0].data["status"] == "Succeeded"
    house.end_of(execution)
    started = time.monotonic()
    assert house.manager.follow(execution.arn, 99, 10) == []
    assert time.monotonic() - started < 5


def test_active_counts_what_runs(build: Build) -> None:
    go = threading.Event()

    def wait(job: FakeContainer) -> None:
        go.wait(10)

    house = build(wait)
    execution = house.start(processing())
    assert house.manager.active() == 1
    go.set()
    house.end_of(execution)
    assert house.manager.active() == 0


# --- Model steps, and refusals of the service ---


def test_a_model_gets_a_name_and_is_made(build: Build) -> None:
    house = build()
    arguments = {"PrimaryContainer": {"Image": IMAGE}, "ExecutionRoleArn": ROLE}
    execution = house.run({"Name": "M", "Type": "Model", "Arguments": arguments})
    step = house.steps(execution)["M"]
    (request,) = house.registry.requests
    assert request["ModelName"] == step.job_name == step.outputs["ModelName"]
    assert step.metadata == {"Model": {"Arn": step.outputs["ModelArn"]}}


def test_a_refused_registration_fails_in_the_services_words(build: Build) -> None:
    house = build()
    house.registry.refusal = "Invalid model data"
    step = house.steps(house.run(register()))["Register-RegisterModel"]
    assert step.metadata == {}
    assert step.failure_reason == (
        "ClientError: Failed to invoke sagemaker:CreateModelPackage. "
        "Error Details: Invalid model data"
    )


def test_an_invalid_request_never_reaches_the_registry(build: Build) -> None:
    house = build()
    broken = register()
    broken["Arguments"]["ModelApprovalStatus"] = "Perhaps"
    step = house.steps(house.run(broken))["Register-RegisterModel"]
    assert step.status is StepStatus.FAILED
    assert "Member must satisfy enum value set" in (step.failure_reason or "")
    assert not house.registry.requests


# --- a missing value ---


def test_a_report_without_the_metric_fails_the_condition(build: Build) -> None:
    house = build(Script(files={"/opt/ml/processing/output/evaluation/evaluation.json": "{}"}))
    parameter = {"Name": "MseThreshold", "Type": "Float", "DefaultValue": 6.0}
    execution = house.run(evaluate(), gate([], []), Parameters=[parameter])
    step = house.steps(execution)["Condition"]
    assert step.status is StepStatus.FAILED
    assert (step.failure_reason or "").startswith("ClientError: s3://bucket/evaluation/")


def test_a_missing_report_fails_the_condition(build: Build) -> None:
    house = build()
    parameter = {"Name": "MseThreshold", "Type": "Float", "DefaultValue": 6.0}
    execution = house.run(evaluate(), gate([], []), Parameters=[parameter])
    assert "evaluation.json" in (house.steps(execution)["Condition"].failure_reason or "")


def test_closing_stops_everything_and_starts_no_more(build: Build) -> None:
    house = build(Script(seconds=30))
    pipeline = house.pipeline(processing())
    execution = house.manager.start(pipeline)
    house.manager.close()
    record = house.state.get_execution(execution.arn)
    assert record is not None
    assert record.status is ExecutionStatus.STOPPED
    with pytest.raises(GatewayUnavailable):
        house.manager.start(pipeline)
