"""What an execution that is taken up again goes on from: pure.

Two ways lead here. A gateway was killed: the next one finds the records of the steps, and the jobs
that went on without it (`of_interrupted`). A person retries an execution that has failed or was
stopped: what has succeeded stays, the rest runs anew (`of_retried`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from mlops.definition import DependencyGraph, PipelineDefinition
from mlops.engine import PastStep, Selection, StepState
from mlops.ports import (
    Event,
    ExecutionRecord,
    ExecutionStatus,
    JsonObject,
    RunningJob,
    StepRecord,
    StepStatus,
)

_STATES = {
    StepStatus.STARTING: StepState.RUNNING,
    StepStatus.EXECUTING: StepState.RUNNING,
    StepStatus.STOPPING: StepState.RUNNING,
    StepStatus.STOPPED: StepState.STOPPED,
    StepStatus.FAILED: StepState.FAILED,
    StepStatus.SUCCEEDED: StepState.SUCCEEDED,
}


@dataclass(frozen=True, slots=True)
class Past:
    """A step that an earlier gateway started, as a later one takes it up."""

    record: StepRecord
    jobs: Mapping[str, RunningJob]
    """Its jobs that were found, by their names."""

    @property
    def started_at(self) -> datetime:
        return self.record.started_at

    @property
    def described(self) -> JsonObject:
        return self.record.outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What has happened of an execution before its driver begins; nothing of a new one."""

    steps: tuple[StepRecord, ...] = ()
    """Those that count, in the order of their start."""
    jobs: Mapping[str, Mapping[str, RunningJob]] = field(default_factory=dict)
    """By step, by name: the jobs of an earlier gateway that were found."""
    attempts: Mapping[str, int] = field(default_factory=dict)
    """Of steps that run anew: how many attempts at them were made before."""
    next_position: int = 0
    stopping: bool = False
    failed_while_stopping: frozenset[str] = frozenset()

    @property
    def reused(self) -> tuple[StepRecord, ...]:
        """The steps whose outputs another execution lends."""
        return tuple(step for step in self.steps if step.reused_from is not None)

    def selection(self, execution: ExecutionRecord) -> Selection | None:
        """The part of the pipeline that `execution` runs; None for all of it."""
        if execution.selective is None:
            return None
        names = (each["StepName"] for each in execution.selective["SelectedSteps"])
        return Selection(frozenset(names), {step.name: outcome(step) for step in self.reused})

    def past(self, definition: PipelineDefinition) -> Iterator[PastStep]:
        """The moves that the engine has to make up for."""
        for step in self.steps:
            if step.reused_from is None:
                conditional = bool(definition.step(step.name).branches)
                yield PastStep(
                    step.name,
                    _STATES[step.status],
                    outcome(step) if conditional else None,
                    step.failure_reason or "",
                    step.name in self.failed_while_stopping,
                )


NEW = History()


def outcome(step: StepRecord) -> str | None:
    """A condition step's; None for every other."""
    value = step.outputs.get("Outcome") if step.type == "Condition" else None
    return value if isinstance(value, str) else None


def of_new(reused: Sequence[StepRecord]) -> History:
    """The history of a new execution, for which another one lends the steps `reused`."""
    steps = tuple(replace(step, position=number) for number, step in enumerate(reused))
    return History(steps=steps, next_position=len(steps))


def of_interrupted(
    execution: ExecutionRecord,
    steps: Sequence[StepRecord],
    events: Sequence[Event],
    jobs: Mapping[str, Mapping[str, RunningJob]],
) -> History:
    """The history of an execution whose gateway was killed."""
    return History(
        steps=tuple(steps),
        jobs=jobs,
        next_position=_next_position(steps),
        stopping=execution.status is ExecutionStatus.STOPPING,
        failed_while_stopping=_failed_while_stopping(events),
    )


def of_retried(steps: Sequence[StepRecord], graph: DependencyGraph) -> History:
    """The history of an execution that has ended and is to go on from what did not succeed.

    What ran only because another step had failed runs anew, or not at all, as that one does.
    """
    again: dict[str, int] = {}
    for step in steps:  # in the order of their start: those that it waited for come before it
        if step.status is not StepStatus.SUCCEEDED or again.keys() & graph.after[step.name]:
            again[step.name] = step.attempts
    return History(
        steps=tuple(step for step in steps if step.name not in again),
        attempts=again,
        next_position=_next_position(steps),
    )


def _next_position(steps: Sequence[StepRecord]) -> int:
    return max((step.position for step in steps), default=-1) + 1


def _failed_while_stopping(events: Sequence[Event]) -> frozenset[str]:
    """Steps that failed after the execution had begun to stop, for the last time."""
    failed: set[str] = set()
    stopping = False
    for event in events:
        if event.kind == "execution":
            stopping = event.data["status"] == ExecutionStatus.STOPPING
        elif event.data["status"] == StepStatus.FAILED:
            (failed.add if stopping else failed.discard)(event.data["name"])
    return frozenset(failed)
