"""The state machine of an execution, move by move."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlops.definition import PipelineDefinition, parse_definition
from mlops.engine import (
    FAILURE_REASON,
    ExecutionState,
    RunStatus,
    StepState,
    dependencies,
)
from mlops.errors import ImpossibleMove, UsageError


def step(name: str, *after: str) -> dict[str, Any]:
    return {
        "Name": name,
        "Type": "Model",
        "Arguments": {"Containers": []},
        "DependsOn": [*after],
    }


def condition(name: str, *after: str, then: Any = (), otherwise: Any = ()) -> dict[str, Any]:
    question = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}
    arguments = {"Conditions": [question], "IfSteps": [*then], "ElseSteps": [*otherwise]}
    return {"Name": name, "Type": "Condition", "Arguments": arguments, "DependsOn": [*after]}


def definition(*steps: dict[str, Any]) -> PipelineDefinition:
    return parse_definition(json.dumps({"Version": "2020-12-01", "Steps": steps}))


def state(*steps: dict[str, Any], limit: int | None = None) -> ExecutionState:
    return ExecutionState(definition(*steps), max_parallel_steps=limit)


def ready(execution: ExecutionState) -> list[str]:
    return [found.name for found in execution.ready()]


def run(execution: ExecutionState, name: str, outcome: str | None = None) -> None:
    execution.start(name)
    execution.succeed(name, outcome)


class TestOrder:
    def test_independent_steps_are_ready_at_once_in_the_documents_order(self) -> None:
        assert ready(state(step("B"), step("C"), step("A"))) == ["B", "C", "A"]

    def test_a_step_waits_for_all_its_dependencies(self) -> None:
        execution = state(step("A"), step("B"), step("C", "A", "B"))
        run(execution, "A")
        assert ready(execution) == ["B"]
        run(execution, "B")
        assert ready(execution) == ["C"]
        run(execution, "C")
        assert execution.status is RunStatus.SUCCEEDED
        assert execution.ended

    def test_a_step_that_becomes_ready_late_takes_its_place_in_the_document(self) -> None:
        execution = state(step("First"), step("Second", "First"), step("Third"), step("Fourth"))
        run(execution, "First")
        assert ready(execution) == ["Second", "Third", "Fourth"]

    def test_a_started_step_is_not_ready_any_more(self) -> None:
        execution = state(step("A"), step("B"))
        execution.start("A")
        assert ready(execution) == ["B"]
        assert execution.running() == ("A",)

    def test_the_limit_counts_what_runs(self) -> None:
        execution = state(step("A"), step("B"), step("C"), limit=2)
        assert ready(execution) == ["A", "B"]
        execution.start("B")
        assert ready(execution) == ["A"]
        execution.start("A")
        assert ready(execution) == []
        assert execution.status is RunStatus.EXECUTING
        execution.succeed("B")
        assert ready(execution) == ["C"]

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_below_one_is_refused(self, limit: int) -> None:
        with pytest.raises(UsageError, match="must be at least 1"):
            state(step("A"), limit=limit)

    def test_the_graph_has_dependencies_and_gates(self) -> None:
        graph = dependencies(definition(step("A"), condition("C", "A", then=[step("T")])))
        assert graph.after == {"A": (), "C": ("A",), "T": ("C",)}
        assert graph.before == {"A": ("C",), "C": ("T",), "T": ()}


class TestBranches:
    def test_only_the_branch_taken_runs(self) -> None:
        execution = state(condition("C", then=[step("T")], otherwise=[step("E")]))
        assert ready(execution) == ["C"]
        run(execution, "C", "true")
        assert ready(execution) == ["T"]
        assert execution.skipped() == ("E",)
        run(execution, "T")
        assert execution.status is RunStatus.SUCCEEDED

    def test_the_other_branch(self) -> None:
        execution = state(condition("C", then=[step("T")], otherwise=[step("E")]))
        run(execution, "C", "false")
        assert ready(execution) == ["E"]
        assert execution.skipped() == ("T",)

    def test_an_empty_branch_ends_the_execution(self) -> None:
        execution = state(condition("C", then=[step("T")]))
        run(execution, "C", "false")
        assert execution.status is RunStatus.SUCCEEDED

    def test_what_depends_on_a_skipped_step_is_skipped(self) -> None:
        execution = state(
            condition("C", then=[step("T")]), step("After", "T"), step("Later", "After"), step("X")
        )
        run(execution, "C", "false")
        assert execution.skipped() == ("T", "After", "Later")
        assert ready(execution) == ["X"]

    def test_a_skipped_condition_skips_both_its_branches(self) -> None:
        inner = condition("Inner", then=[step("A")], otherwise=[step("B")])
        execution = state(condition("Outer", then=[inner]), step("After", "B"))
        run(execution, "Outer", "false")
        assert execution.skipped() == ("Inner", "A", "B", "After")
        assert execution.ended

    def test_what_depends_on_the_condition_itself_runs_either_way(self) -> None:
        execution = state(condition("C", then=[step("T")]), step("After", "C"))
        run(execution, "C", "false")
        assert ready(execution) == ["After"]

    def test_a_nested_step_waits_for_its_condition_and_its_dependencies(self) -> None:
        execution = state(step("A"), condition("C", then=[step("T", "A")]))
        run(execution, "C", "true")
        assert ready(execution) == ["A"]
        run(execution, "A")
        assert ready(execution) == ["T"]

    @pytest.mark.parametrize("outcome", [None, "True", "yes", ""])
    def test_a_condition_needs_its_outcome(self, outcome: str | None) -> None:
        execution = state(condition("C"))
        execution.start("C")
        with pytest.raises(ImpossibleMove, match="the outcome true or false"):
            execution.succeed("C", outcome)
        assert execution.state("C") is StepState.RUNNING

    def test_other_steps_have_none(self) -> None:
        execution = state(step("A"))
        execution.start("A")
        with pytest.raises(ImpossibleMove, match="no branches and no outcome"):
            execution.succeed("A", "true")


class TestFailure:
    def test_what_runs_ends_and_nothing_more_starts(self) -> None:
        execution = state(step("A"), step("B"), step("C"), step("D", "A"), limit=2)
        execution.start("A")
        execution.start("B")
        execution.fail("A", "ClientError: AlgorithmError: no")
        assert execution.status is RunStatus.EXECUTING
        assert execution.failure_reason is None
        assert ready(execution) == []
        with pytest.raises(ImpossibleMove, match="starts no more steps"):
            execution.start("C")
        execution.succeed("B")
        assert execution.status is RunStatus.FAILED
        assert execution.failure_reason == FAILURE_REASON
        assert execution.failures == {"A": "ClientError: AlgorithmError: no"}
        assert execution.not_started() == ("C", "D")
        assert execution.skipped() == ()

    def test_several_failures_are_kept_in_their_order(self) -> None:
        execution = state(step("A"), step("B"))
        execution.start("A")
        execution.start("B")
        execution.fail("B", "first")
        execution.fail("A", "second")
        assert list(execution.failures.items()) == [("B", "first"), ("A", "second")]

    def test_a_fail_step_fails_the_execution(self) -> None:
        fail = {"Name": "Fail", "Type": "Fail", "Arguments": {"ErrorMessage": "too bad"}}
        execution = state(condition("C", then=[step("T")], otherwise=[fail]), step("After", "C"))
        run(execution, "C", "false")
        execution.start("Fail")
        execution.fail("Fail", "too bad")
        assert execution.status is RunStatus.FAILED
        assert execution.failure_reason == "Step failure: One or multiple steps failed."
        assert execution.not_started() == ("After",)


class TestStop:
    def test_what_runs_is_stopped_and_nothing_more_starts(self) -> None:
        execution = state(step("A"), step("B", "A"), step("C"))
        execution.start("A")
        execution.stop_requested()
        assert execution.status is RunStatus.STOPPING
        assert ready(execution) == []
        with pytest.raises(ImpossibleMove, match="starts no more steps"):
            execution.start("C")
        execution.stopped("A")
        assert execution.status is RunStatus.STOPPED
        assert execution.state("A") is StepState.STOPPED
        assert execution.not_started() == ("B", "C")
        assert execution.failure_reason is None

    def test_with_nothing_running_it_stops_at_once(self) -> None:
        execution = state(step("A"))
        execution.stop_requested()
        assert execution.status is RunStatus.STOPPED

    def test_a_step_may_still_succeed_or_fail_while_stopping(self) -> None:
        execution = state(step("A"), step("B"), step("C", "A"))
        execution.start("A")
        execution.start("B")
        execution.stop_requested()
        execution.succeed("A")
        assert ready(execution) == []
        execution.fail("B", "killed")
        assert execution.status is RunStatus.STOPPED
        assert execution.failures == {"B": "killed"}

    def test_a_failure_before_the_request_stays_a_failure(self) -> None:
        execution = state(step("A"), step("B"))
        execution.start("A")
        execution.start("B")
        execution.fail("A", "no")
        execution.stop_requested()
        assert execution.status is RunStatus.STOPPING
        execution.stopped("B")
        assert execution.status is RunStatus.FAILED

    def test_an_ended_execution_stays_as_it_is(self) -> None:
        execution = state(step("A"))
        run(execution, "A")
        execution.stop_requested()
        assert execution.status is RunStatus.SUCCEEDED

    def test_nobody_is_stopped_unasked(self) -> None:
        execution = state(step("A"))
        execution.start("A")
        with pytest.raises(ImpossibleMove, match="nobody asked"):
            execution.stopped("A")


@pytest.mark.parametrize(
    ("move", "name", "message"),
    [
        ("start", "B", "'B' cannot start: it is waiting, not ready"),
        ("start", "X", "There is no step 'X'"),
        ("succeed", "A", "'A' cannot succeed: it is ready, not running"),
        ("fail", "A", "'A' cannot fail: it is ready, not running"),
        ("stopped", "A", "'A' cannot stop: it is ready, not running"),
    ],
)
def test_impossible_moves(move: str, name: str, message: str) -> None:
    execution = state(step("A"), step("B", "A"))
    arguments = (name, "why") if move == "fail" else (name,)
    with pytest.raises(ImpossibleMove) as caught:
        getattr(execution, move)(*arguments)
    assert caught.value.what.startswith(message)


def test_starting_beyond_the_limit_is_impossible() -> None:
    execution = state(step("A"), step("B"), limit=1)
    execution.start("A")
    with pytest.raises(ImpossibleMove, match="1 steps run already"):
        execution.start("B")


def test_no_step_ends_twice() -> None:
    execution = state(step("A"))
    run(execution, "A")
    with pytest.raises(ImpossibleMove, match="it is succeeded, not running"):
        execution.succeed("A")
    with pytest.raises(ImpossibleMove, match="it is succeeded, not ready"):
        execution.start("A")
