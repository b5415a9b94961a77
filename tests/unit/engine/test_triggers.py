"""Steps that wait for another end of a step than its success: ``DependsOn`` as SDK v3 writes it.

The rule (SDK 3.27, sagemaker/mlops/workflow/step_dependency.py): an entry ``{"Step", "Trigger"}``
lets the step run on Failed, Stopped or Any; "a pipeline whose steps run on a failed upstream step
ends in the CompletedWithFailures status instead of Failed".
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlops.definition import Trigger, parse_definition
from mlops.engine import ExecutionState, PastStep, RunStatus, StepState, replay
from mlops.errors import DefinitionError


def step(name: str, *after: Any) -> dict[str, Any]:
    return {
        "Name": name,
        "Type": "Model",
        "Arguments": {"Containers": []},
        "DependsOn": [x if isinstance(x, str) else {"Step": x[0], "Trigger": x[1]} for x in after],
    }


def state(*steps: dict[str, Any]) -> ExecutionState:
    return ExecutionState(parse_definition(json.dumps({"Version": "2020-12-01", "Steps": steps})))


def ready(execution: ExecutionState) -> list[str]:
    return [found.name for found in execution.ready()]


def failing(execution: ExecutionState, name: str) -> None:
    execution.start(name)
    execution.fail(name, "why")


def succeeding(execution: ExecutionState, name: str) -> None:
    execution.start(name)
    execution.succeed(name)


PIPELINE = (
    step("Train"),
    step("Register", "Train"),
    step("Tell", ("Train", "Failed")),
    step("Tidy", ("Train", "Any")),
    step("Other"),
    step("Late", "Other"),
)


def test_a_failure_that_is_waited_for_halts_nothing() -> None:
    execution = state(*PIPELINE)
    failing(execution, "Train")
    assert ready(execution) == ["Tell", "Tidy", "Other"]
    assert execution.skipped() == ("Register",)
    for name in ("Tell", "Tidy", "Other"):
        succeeding(execution, name)
    assert execution.status is RunStatus.EXECUTING
    succeeding(execution, "Late")
    assert execution.status is RunStatus.COMPLETED_WITH_FAILURES
    assert execution.ended
    assert execution.failure_reason is None


def test_without_a_failure_what_waits_for_one_is_skipped() -> None:
    execution = state(*PIPELINE)
    for name in ("Train", "Register", "Tidy", "Other", "Late"):
        succeeding(execution, name)
    assert execution.skipped() == ("Tell",)
    assert execution.status is RunStatus.SUCCEEDED


def test_a_failure_that_nobody_waits_for_halts_as_ever() -> None:
    execution = state(*PIPELINE)
    failing(execution, "Other")
    assert ready(execution) == []
    assert execution.status is RunStatus.FAILED


def test_what_answers_a_failure_may_fail_itself() -> None:
    execution = state(step("Train"), step("Tell", ("Train", "Failed")))
    failing(execution, "Train")
    failing(execution, "Tell")
    assert execution.status is RunStatus.FAILED


def test_a_failure_whose_answer_never_ran_is_a_failure() -> None:
    """Tell waits for Check, too, which is skipped for Train's failure."""
    execution = state(
        step("Train"), step("Check", "Train"), step("Tell", ("Train", "Failed"), "Check")
    )
    failing(execution, "Train")
    assert execution.skipped() == ("Check", "Tell")
    assert execution.status is RunStatus.FAILED


def test_nothing_starts_after_a_request_to_stop() -> None:
    execution = state(
        step("Train"), step("Tidy", ("Train", "Any")), step("S", ("Train", "Stopped"))
    )
    execution.start("Train")
    execution.stop_requested()
    execution.stopped("Train")
    assert ready(execution) == []
    assert execution.status is RunStatus.STOPPED


def test_a_replay_comes_to_the_same_state() -> None:
    execution = state(*PIPELINE)
    replay(
        execution,
        [
            PastStep("Other", StepState.SUCCEEDED),
            PastStep("Train", StepState.FAILED, reason="why"),
            PastStep("Tell", StepState.SUCCEEDED),
            PastStep("Tidy", StepState.RUNNING),
        ],
    )
    assert execution.running() == ("Tidy",)
    assert execution.failures == {"Train": "why"}
    assert ready(execution) == ["Late"]


def test_completed_is_what_a_name_alone_means() -> None:
    definition = parse_definition(
        json.dumps(
            {"Version": "2020-12-01", "Steps": [step("A"), step("B", ("A", "Completed"), "A")]}
        )
    )
    assert definition.graph.trigger("B", "A") is Trigger.COMPLETED
    assert definition.graph.after["B"] == ("A",)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"Step": "A", "Trigger": "Sometimes"}], "no trigger 'Sometimes'"),
        ([{"Trigger": "Any"}], "needs 'Step'"),
        ([{"Step": "A", "Triger": "Any"}], "no member 'Triger'"),
        (["A", {"Step": "A", "Trigger": "Any"}], "two different triggers"),
        ([{"Step": "Nowhere", "Trigger": "Any"}], "Nowhere"),
        ([7], "must be a string"),
    ],
)
def test_a_broken_entry_is_a_problem(entries: Any, message: str) -> None:
    steps = [step("A"), step("B") | {"DependsOn": entries}]
    with pytest.raises(DefinitionError, match=message):
        parse_definition(json.dumps({"Version": "2020-12-01", "Steps": steps}))
