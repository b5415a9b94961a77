"""Any acyclic graph, driven in any order: the promises of the state machine hold."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.definition import PipelineDefinition, parse_definition
from mlops.engine import ExecutionState, RunStatus, StepState, dependencies

patient = settings(deadline=None)
"""The machine may be busy with other things."""


@st.composite
def definitions(draw: st.DrawFn) -> PipelineDefinition:
    """Steps that depend on earlier ones, some of them nested in condition steps."""
    count = draw(st.integers(1, 14))
    top: list[dict[str, Any]] = []
    lists = [top]  # where the next step may go
    for number in range(count):
        after = draw(st.lists(st.integers(0, number - 1), max_size=3)) if number else []
        step: dict[str, Any] = {"Name": f"S{number}", "DependsOn": [f"S{n}" for n in after]}
        if draw(st.booleans()):
            step |= {"Type": "Model", "Arguments": {"Containers": []}}
            inner = []
        else:
            question = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}
            inner = [[], []]
            arguments = {"Conditions": [question], "IfSteps": inner[0], "ElseSteps": inner[1]}
            step |= {"Type": "Condition", "Arguments": arguments}
        draw(st.sampled_from(lists)).append(step)
        lists += inner
    return parse_definition(json.dumps({"Version": "2020-12-01", "Steps": top}))


def outcome_of(definition: PipelineDefinition, name: str, data: st.DataObject) -> str | None:
    if not definition.step(name).branches:
        return None
    return data.draw(st.sampled_from(["true", "false"]))


@patient
@given(definitions(), st.none() | st.integers(1, 3), st.data())
def test_each_step_runs_once_after_its_dependencies_or_is_skipped(
    definition: PipelineDefinition, limit: int | None, data: st.DataObject
) -> None:
    execution = ExecutionState(definition, max_parallel_steps=limit)
    graph = dependencies(definition)
    succeeded: dict[str, str | None] = {}
    while not execution.ended:
        for step in execution.ready():
            assert set(graph.after[step.name]) <= set(succeeded)
            execution.start(step.name)
        assert execution.ready() == () or limit is None
        running = execution.running()
        assert running, "an execution that has not ended has something to wait for"
        assert limit is None or len(running) <= limit
        name = data.draw(st.sampled_from(running))
        succeeded[name] = outcome_of(definition, name, data)
        execution.succeed(name, succeeded[name])
    assert execution.status is RunStatus.SUCCEEDED
    assert set(succeeded).isdisjoint(execution.skipped())
    assert set(succeeded) | set(execution.skipped()) == set(graph.names)
    assert set(execution.skipped()) == expected_skips(definition, succeeded)


def expected_skips(definition: PipelineDefinition, outcomes: dict[str, str | None]) -> set[str]:
    """By the rule's own words: the branch not taken, and whatever waits for a skipped step."""
    graph = dependencies(definition)
    skipped: set[str] = set()
    while True:
        more = {
            name
            for name in graph.names
            if set(graph.after[name]) & skipped
            or (
                (gate := graph.gates.get(name)) is not None
                and gate.step in outcomes
                and outcomes[gate.step] != str(gate.outcome).lower()
            )
        }
        if more <= skipped:
            return skipped
        skipped |= more


@patient
@given(definitions(), st.data())
def test_after_a_failure_or_a_stop_nothing_starts_and_the_execution_ends(
    definition: PipelineDefinition, data: st.DataObject
) -> None:
    execution = ExecutionState(definition)
    moves = data.draw(st.integers(0, 6))
    stops = data.draw(st.booleans())
    for _ in range(moves):
        for step in execution.ready():
            execution.start(step.name)
        if not execution.running():
            break
        name = data.draw(st.sampled_from(execution.running()))
        execution.succeed(name, outcome_of(definition, name, data))
    for step in execution.ready():
        execution.start(step.name)
    running = execution.running()
    if not running:
        assert execution.status is RunStatus.SUCCEEDED
        return
    if stops:
        execution.stop_requested()
    else:
        execution.fail(running[0], "no")
    for name in execution.running():
        assert execution.ready() == ()
        assert not execution.ended
        if stops:
            execution.stopped(name)
        else:
            execution.succeed(name, outcome_of(definition, name, data))
    assert execution.status is (RunStatus.STOPPED if stops else RunStatus.FAILED)
    assert execution.ready() == ()
    for name in dependencies(definition).names:
        assert execution.state(name) is not StepState.RUNNING


@patient
@given(definitions())
def test_the_order_is_always_the_same(definition: PipelineDefinition) -> None:
    def names() -> list[str]:
        execution = ExecutionState(definition, max_parallel_steps=2)
        order: list[str] = []
        while not execution.ended:
            for step in execution.ready():
                execution.start(step.name)
                order.append(step.name)
            name = execution.running()[0]
            execution.succeed(name, "true" if definition.step(name).branches else None)
        return order

    assert names() == names()
