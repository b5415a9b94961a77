"""Bringing a new state of an execution to where an earlier one stood. Pure.

Not every move that was made need be known, nor in which order: what the steps' records say is
enough. A step that has succeeded, or has failed as another one waited for, then one that runs, then
one that has failed, and a request to stop last, is an order in which they can all have happened.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlops.engine.state import ExecutionState, StepState


@dataclass(frozen=True, slots=True)
class PastStep:
    """Where a step stood that had started."""

    name: str
    state: StepState
    """RUNNING, SUCCEEDED, FAILED or STOPPED."""
    outcome: str | None = None
    """``true`` or ``false`` of a condition step that has succeeded."""
    reason: str = ""
    while_stopping: bool = False
    """Of one that has failed: only after somebody had asked to stop."""


def replay(state: ExecutionState, past: Iterable[PastStep], *, stopping: bool = False) -> None:
    """Move `state`, which is new, to where the steps of `past` stand.

    Args:
        past: in the order of their start.
        stopping: whether somebody has asked to stop.

    Raises:
        ImpossibleMove: no execution of this definition can have come to stand there.
    """
    steps = tuple(past)
    others: list[PastStep] = []
    for step in steps:
        answered = step.state is StepState.FAILED and not step.while_stopping
        if step.state is StepState.SUCCEEDED:
            state.start(step.name)
            if stopping and step is steps[-1] and not others:
                state.stop_requested()  # while the last one ran, or there would be nothing to stop
            state.succeed(step.name, step.outcome)
        elif answered and state.goes_on_after_failure(step.name):
            state.start(step.name)
            state.fail(step.name, step.reason)
        else:
            others.append(step)
    for step in others:
        state.start(step.name)
    failed = [step for step in others if step.state is StepState.FAILED]
    for step in failed:
        if not step.while_stopping:
            state.fail(step.name, step.reason)
    if stopping:
        state.stop_requested()
    for step in failed:
        if step.while_stopping:
            state.fail(step.name, step.reason)
    for step in others:
        if step.state is StepState.STOPPED:
            state.stopped(step.name)
