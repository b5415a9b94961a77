"""A state that is brought to where another one stands cannot be told from it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.definition import PipelineDefinition, parse_definition
from mlops.engine import ExecutionState, PastStep, StepState, dependencies, replay
from mlops.errors import ImpossibleMove

from .test_any_graph import definitions, outcome_of

patient = settings(deadline=None)


class Recorded:
    """An execution, driven by chance, and what records would say of its steps."""

    def __init__(self, definition: PipelineDefinition, limit: int | None) -> None:
        self.definition = definition
        self.limit = limit
        self.state = ExecutionState(definition, max_parallel_steps=limit)
        self.past: dict[str, PastStep] = {}
        self.stopping = False

    def move(self, data: st.DataObject) -> None:
        for step in self.state.ready():
            self.state.start(step.name)
            self.past[step.name] = PastStep(step.name, StepState.RUNNING)
        moves = ["succeed"] * 4 + ["fail", "stop"]
        name = data.draw(st.sampled_from(self.state.running()))
        match data.draw(st.sampled_from(moves)):
            case "succeed":
                outcome = outcome_of(self.definition, name, data)
                self.state.succeed(name, outcome)
                self.past[name] = PastStep(name, StepState.SUCCEEDED, outcome)
            case "fail":
                self.state.fail(name, "no")
                self.past[name] = PastStep(
                    name, StepState.FAILED, reason="no", while_stopping=self.stopping
                )
            case "stop" if self.stopping:
                self.state.stopped(name)
                self.past[name] = PastStep(name, StepState.STOPPED)
            case "stop":
                self.state.stop_requested()
                self.stopping = True

    def again(self) -> ExecutionState:
        state = ExecutionState(self.definition, max_parallel_steps=self.limit)
        replay(state, self.past.values(), stopping=self.stopping)
        return state


def picture(definition: PipelineDefinition, state: ExecutionState) -> dict[str, Any]:
    return {
        "states": {name: state.state(name) for name in dependencies(definition).names},
        "ready": [step.name for step in state.ready()],
        "running": set(state.running()),
        "status": state.status,
        "reason": state.failure_reason,
        "failures": set(state.failures.items()),
    }


@patient
@given(definitions(), st.none() | st.integers(1, 3), st.data())
def test_replayed_after_any_move(
    definition: PipelineDefinition, limit: int | None, data: st.DataObject
) -> None:
    recorded = Recorded(definition, limit)
    while not recorded.state.ended:
        recorded.move(data)
        assert picture(definition, recorded.again()) == picture(definition, recorded.state)


@patient
@given(definitions(), st.data())
def test_killed_after_every_move_it_ends_in_the_same_state_each_step_run_once(
    definition: PipelineDefinition, data: st.DataObject
) -> None:
    outcomes = {
        name: data.draw(st.sampled_from(["true", "false"]))
        for name in dependencies(definition).names
        if definition.step(name).branches
    }

    def run(*, killed: bool) -> tuple[dict[str, StepState], list[str]]:
        recorded, started = Recorded(definition, None), list[str]()
        while not recorded.state.ended:
            for step in recorded.state.ready():
                recorded.state.start(step.name)
                recorded.past[step.name] = PastStep(step.name, StepState.RUNNING)
                started.append(step.name)
            name = recorded.state.running()[0]
            recorded.state.succeed(name, outcomes.get(name))
            recorded.past[name] = PastStep(name, StepState.SUCCEEDED, outcomes.get(name))
            if killed:
                recorded.state = recorded.again()
        states = {name: recorded.state.state(name) for name in dependencies(definition).names}
        return states, started

    states, started = run(killed=True)
    assert states == run(killed=False)[0]
    assert len(started) == len(set(started))


def test_a_past_that_cannot_be_is_refused() -> None:
    steps = [
        {"Name": "A", "Type": "Model", "Arguments": {"Containers": []}},
        {"Name": "B", "Type": "Model", "Arguments": {"Containers": []}, "DependsOn": ["A"]},
    ]
    definition = parse_definition(json.dumps({"Version": "2020-12-01", "Steps": steps}))
    with pytest.raises(ImpossibleMove):
        replay(ExecutionState(definition), [PastStep("B", StepState.SUCCEEDED)])
