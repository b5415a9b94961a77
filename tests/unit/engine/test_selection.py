"""Selective execution: pipeline-semantics.md, "Parallelism, selective execution, stop, retry"."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.definition import PipelineDefinition, parse_definition
from mlops.engine import (
    ExecutionState,
    RunStatus,
    Selection,
    StepState,
    dependencies,
    steps_before,
)
from mlops.errors import UsageError

from .test_any_graph import definitions


def pipeline(*edges: str) -> PipelineDefinition:
    """``"B A"``: B waits for A."""
    steps: list[dict[str, Any]] = []
    for edge in edges:
        name, *after = edge.split()
        steps.append(
            {"Name": name, "Type": "Model", "Arguments": {"Containers": []}, "DependsOn": after}
        )
    return parse_definition(json.dumps({"Version": "2020-12-01", "Steps": steps}))


ABALONE = pipeline("Process", "Train Process", "Eval Train", "Cond Eval", "Register Cond")


def test_the_steps_before_are_reused() -> None:
    graph = dependencies(ABALONE)
    assert steps_before(graph, ["Train", "Eval"]) == ("Process",)
    assert steps_before(graph, ["Process"]) == ()
    assert steps_before(graph, ["Register"]) == ("Process", "Train", "Eval", "Cond")


def test_steps_with_others_between_them_are_refused() -> None:
    with pytest.raises(UsageError, match="between them: Eval"):
        steps_before(dependencies(ABALONE), ["Train", "Cond"])


def test_steps_that_are_not_connected_are_refused() -> None:
    graph = dependencies(pipeline("A", "B A", "C A"))
    with pytest.raises(UsageError, match="not connected: C with B"):
        steps_before(graph, ["B", "C"])
    assert steps_before(graph, ["A", "B", "C"]) == ()


def test_an_unknown_step_is_refused() -> None:
    with pytest.raises(UsageError, match="no step Nope"):
        steps_before(dependencies(ABALONE), ["Nope"])


def test_only_the_selected_steps_run() -> None:
    selection = Selection(frozenset({"Train", "Eval"}), {"Process": None})
    state = ExecutionState(ABALONE, selection=selection)
    order = []
    while not state.ended:
        (step,) = state.ready()
        state.start(step.name)
        state.succeed(step.name)
        order.append(step.name)
    assert order == ["Train", "Eval"]
    assert state.status is RunStatus.SUCCEEDED
    assert state.state("Process") is StepState.SUCCEEDED
    assert state.state("Register") is StepState.NOT_SELECTED


@settings(deadline=None)
@given(definitions(), st.data())
def test_any_selection_that_is_taken_runs_each_selected_step_once(
    definition: PipelineDefinition, data: st.DataObject
) -> None:
    graph = dependencies(definition)
    chosen = data.draw(st.sets(st.sampled_from(graph.names), min_size=1))
    try:
        before = steps_before(graph, chosen)
    except UsageError:
        return
    branch = {name: str(graph.gates[name].outcome).lower() for name in graph.gates}

    def outcome(name: str) -> str | None:
        """The outcome that lets a selected or reused step of a condition run."""
        if not definition.step(name).branches:
            return None
        wanted = {
            branch[inner]
            for inner in (*chosen, *before)
            if inner in graph.gates and graph.gates[inner].step == name
        }
        return wanted.pop() if wanted else "true"

    state = ExecutionState(
        definition, selection=Selection(frozenset(chosen), {n: outcome(n) for n in before})
    )
    ran: list[str] = []
    while not state.ended:
        for step in state.ready():
            state.start(step.name)
        name = state.running()[0]
        state.succeed(name, outcome(name))
        ran.append(name)
    assert set(ran) <= chosen
    assert len(ran) == len(set(ran))
    assert {name for name in chosen if state.state(name) is StepState.SKIPPED} == chosen - set(ran)
