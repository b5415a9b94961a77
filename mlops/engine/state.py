"""The state machine of one execution: it says what runs next, and takes what became of it.

Pure: no clock, no threads, no IO. The driver owns those, and calls from one thread at a time.

    waiting ──► ready ──► running ──► succeeded
       │                     ├──────► failed
       └──► skipped          └──────► stopped

In a selective execution, the steps that lend their outputs have succeeded from the beginning, and
those that are not selected never leave ``not selected``.

A step is ready once all steps that it waits for have succeeded; a step nested in a condition step
waits for that one too, and needs its outcome. The branch that is not taken is skipped, and so is
everything that waits for a skipped step.

The first failure, and a request to stop, keep every further step from starting. Steps that run go
on after a failure until they end by themselves; after a request to stop the driver stops them.

A failure that another step waits for (``DependsOn`` with the trigger ``Failed`` or ``Any``, which
SDK v3 writes) is answered and halts nothing: what waits for a success is skipped, the rest goes on,
and the execution ends as CompletedWithFailures (SDK v3, sagemaker/mlops/workflow/
step_dependency.py). A step that waits for a failure is skipped where there is none. No step starts
after a request to stop, not even one with the trigger ``Stopped``; nor because one was skipped.

Each move costs the edges of the step it concerns, so a whole execution costs steps plus edges.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from enum import StrEnum

from mlops.definition import DependencyGraph, PipelineDefinition, Step, Trigger
from mlops.engine.selection import Selection
from mlops.errors import ImpossibleMove, UsageError

FAILURE_REASON = "Step failure: One or multiple steps failed."
"""What the service says of every execution that failed."""


class StepState(StrEnum):
    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    SKIPPED = "skipped"
    NOT_SELECTED = "not selected"
    """Of a selective execution: neither runs nor lends its outputs."""


class RunStatus(StrEnum):
    """The values of the service's ``PipelineExecutionStatus``."""

    EXECUTING = "Executing"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    FAILED = "Failed"
    SUCCEEDED = "Succeeded"
    COMPLETED_WITH_FAILURES = "CompletedWithFailures"

    @property
    def ended(self) -> bool:
        return self not in (self.EXECUTING, self.STOPPING)


def dependencies(definition: PipelineDefinition) -> DependencyGraph:
    """Which step waits for which: ``DependsOn``, references, and nesting. Without cycles."""
    return definition.graph


class ExecutionState:
    """Where one execution stands.

    An execution that was interrupted is restored by replaying its moves on a new state.

    Args:
        definition: what to run.
        max_parallel_steps: ``MaxParallelExecutionSteps``; None lets every ready step start.
        selection: the part that runs; None for all.

    Raises:
        UsageError: ``max_parallel_steps`` is below 1.
    """

    def __init__(
        self,
        definition: PipelineDefinition,
        *,
        max_parallel_steps: int | None = None,
        selection: Selection | None = None,
    ) -> None:
        if max_parallel_steps is not None and max_parallel_steps < 1:
            raise UsageError(
                f"MaxParallelExecutionSteps is {max_parallel_steps}, it must be at least 1",
                next_step="give a number from 1, or none to let all ready steps run",
            )
        self._definition = definition
        self._graph = dependencies(definition)
        self._limit = max_parallel_steps
        names = self._graph.names
        self._order = {name: position for position, name in enumerate(names)}
        self._states = dict.fromkeys(names, StepState.WAITING)
        self._unmet = {name: len(self._graph.after[name]) for name in names}
        self._ready: list[int] = []  # positions, sorted: the order of the document decides
        self._running: dict[str, None] = {}  # in the order of their start
        self._reasons: dict[str, str] = {}
        self._stop_requested = False
        self._failed = False
        if selection is not None:
            self._select(selection)
        for name in names:
            self._make_ready_if_met(name)

    def _select(self, selection: Selection) -> None:
        for name in self._graph.names:
            if name not in selection.selected and name not in selection.reused:
                self._states[name] = StepState.NOT_SELECTED
        for name in selection.reused:
            self._states[name] = StepState.SUCCEEDED
        for name, outcome in selection.reused.items():
            self._skip_branch_not_taken(name, outcome)
            self._tell_those_that_wait(name, Trigger.COMPLETED)

    # --- What the driver asks ---------------------------------------------------------------

    def ready(self) -> tuple[Step, ...]:
        """The steps to start now, in the order of the document, as many as may run at once."""
        if self._failed or self._stop_requested:
            return ()
        free = None if self._limit is None else self._limit - len(self._running)
        names = self._graph.names
        return tuple(self._definition.step(names[position]) for position in self._ready[:free])

    @property
    def status(self) -> RunStatus:
        halted = self._failed or self._stop_requested
        if self._running or (self._ready and not halted):
            return RunStatus.STOPPING if self._stop_requested else RunStatus.EXECUTING
        if self._failed:
            return RunStatus.FAILED
        if self._stop_requested:
            return RunStatus.STOPPED
        if not self._reasons:
            return RunStatus.SUCCEEDED
        answered = all(self._was_answered(name) for name in self._reasons)
        return RunStatus.COMPLETED_WITH_FAILURES if answered else RunStatus.FAILED

    @property
    def ended(self) -> bool:
        return self.status.ended

    @property
    def failure_reason(self) -> str | None:
        """The execution's, once it has failed; a step's own is in ``failures``."""
        return FAILURE_REASON if self.status is RunStatus.FAILED else None

    @property
    def failures(self) -> dict[str, str]:
        """The failed steps, in the order of their failure, and why."""
        return dict(self._reasons)

    def running(self) -> tuple[str, ...]:
        """In the order of their start. After ``stop_requested`` these are stopping."""
        return tuple(self._running)

    def skipped(self) -> tuple[str, ...]:
        """The steps of branches not taken and what waits for them, in the document's order."""
        return self._in(StepState.SKIPPED)

    def not_started(self) -> tuple[str, ...]:
        """The steps that neither started nor were skipped, in the document's order."""
        return self._in(StepState.WAITING, StepState.READY)

    def state(self, name: str) -> StepState:
        """Raises:
        ImpossibleMove: there is no such step.
        """
        try:
            return self._states[name]
        except KeyError:
            raise ImpossibleMove(f"There is no step {name!r} in this execution") from None

    # --- What the driver tells ---------------------------------------------------------------

    def start(self, name: str) -> None:
        """A ready step starts.

        Raises:
            ImpossibleMove: it is not ready, nothing may start any more, or too many run already.
        """
        self._expect(name, StepState.READY, "start")
        if self._failed or self._stop_requested:
            raise ImpossibleMove(f"{name!r} cannot start: the execution starts no more steps")
        if self._limit is not None and len(self._running) >= self._limit:
            raise ImpossibleMove(f"{name!r} cannot start: {self._limit} steps run already")
        del self._ready[bisect_left(self._ready, self._order[name])]
        self._states[name] = StepState.RUNNING
        self._running[name] = None

    def succeed(self, name: str, outcome: str | None = None) -> None:
        """A running step succeeded. A condition step has the outcome ``true`` or ``false``.

        Raises:
            ImpossibleMove: it does not run, or the outcome does not fit the step.
        """
        self._expect(name, StepState.RUNNING, "succeed")
        branches = self._definition.step(name).branches
        if branches and outcome not in ("true", "false"):
            raise ImpossibleMove(f"{name!r} has the outcome true or false, not {outcome!r}")
        if not branches and outcome is not None:
            raise ImpossibleMove(f"{name!r} has no branches and no outcome, not {outcome!r}")
        self._end(name, StepState.SUCCEEDED)
        self._skip_branch_not_taken(name, outcome)
        self._tell_those_that_wait(name, Trigger.COMPLETED)

    def fail(self, name: str, reason: str) -> None:
        """A running step failed: unless a step waits for that, nothing more starts.

        What runs ends by itself.

        Raises:
            ImpossibleMove: it does not run.
        """
        self._expect(name, StepState.RUNNING, "fail")
        self._end(name, StepState.FAILED)
        self._reasons[name] = reason
        if self._stop_requested:
            return  # it failed because it was being stopped: that makes no failed execution
        if self.goes_on_after_failure(name):
            self._tell_those_that_wait(name, Trigger.FAILED)
        else:
            self._failed = True

    def goes_on_after_failure(self, name: str) -> bool:
        """Whether a step waits for the failure of this one, and is still to run."""
        return any(
            self._graph.trigger(later, name).accepts(Trigger.FAILED)
            and self._states[later] is StepState.WAITING
            for later in self._graph.before[name]
        )

    def stop_requested(self) -> None:
        """Nothing more starts; the driver stops what runs. No effect on an ended execution."""
        if not self.ended:
            self._stop_requested = True

    def stopped(self, name: str) -> None:
        """A running step was stopped.

        Raises:
            ImpossibleMove: it does not run, or nobody asked to stop.
        """
        self._expect(name, StepState.RUNNING, "stop")
        if not self._stop_requested:
            raise ImpossibleMove(f"{name!r} cannot have been stopped: nobody asked for it")
        self._end(name, StepState.STOPPED)

    # --- Inside ------------------------------------------------------------------------------

    def _expect(self, name: str, wanted: StepState, move: str) -> None:
        if (state := self.state(name)) is not wanted:
            raise ImpossibleMove(f"{name!r} cannot {move}: it is {state}, not {wanted}")

    def _end(self, name: str, state: StepState) -> None:
        self._states[name] = state
        del self._running[name]

    def _make_ready_if_met(self, name: str) -> None:
        if self._unmet[name] == 0 and self._states[name] is StepState.WAITING:
            self._states[name] = StepState.READY
            insort(self._ready, self._order[name])

    def _tell_those_that_wait(self, name: str, end: Trigger) -> None:
        for later in self._graph.before[name]:
            if self._graph.trigger(later, name).accepts(end):
                self._unmet[later] -= 1
                self._make_ready_if_met(later)
            else:
                self._skip([later])

    def _was_answered(self, name: str) -> bool:
        """Whether a step ran that waited for the failure of this one."""
        return any(
            self._graph.trigger(later, name).accepts(Trigger.FAILED)
            and self._states[later] in (StepState.SUCCEEDED, StepState.FAILED)
            for later in self._graph.before[name]
        )

    def _skip_branch_not_taken(self, name: str, outcome: str | None) -> None:
        for taken, steps in self._definition.step(name).branches.items():
            if taken is not (outcome == "true"):
                self._skip(step.name for step in steps)

    def _skip(self, names: Iterable[str]) -> None:
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if self._states[name] is StepState.WAITING:
                self._states[name] = StepState.SKIPPED
                waiting.extend(self._graph.before[name])

    def _in(self, *states: StepState) -> tuple[str, ...]:
        return tuple(name for name in self._graph.names if self._states[name] in states)
