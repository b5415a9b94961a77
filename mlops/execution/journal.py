"""What is written of an execution: its record, its steps' records, its events.

A turn of the driver is one ``Change``, written in one transaction: a listing never shows a step
that has ended in an execution that has not heard of it, and one commit to disk (0.4 ms) serves
several records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from mlops.errors import DiskFull, StoreError
from mlops.execution.reserve import DiskReserve
from mlops.ports import (
    CacheEntry,
    Clock,
    ExecutionRecord,
    JsonObject,
    ResourceRecord,
    StateStore,
    StepRecord,
)

EXECUTION = "execution"
STEP = "step"


@dataclass(slots=True)
class Change:
    """What is to be written together."""

    execution: ExecutionRecord | None = None
    steps: dict[str, StepRecord] = field(default_factory=dict)
    events: list[tuple[str, JsonObject]] = field(default_factory=list)
    cache_entries: list[CacheEntry] = field(default_factory=list)
    former_jobs: list[ResourceRecord] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(
            self.execution or self.steps or self.events or self.cache_entries or self.former_jobs
        )

    def put_execution(self, execution: ExecutionRecord) -> None:
        self.execution = execution
        self.events.append((EXECUTION, execution_event(execution)))

    def put_former_job(self, job: ResourceRecord | None) -> None:
        """Keep the job of an attempt that another one follows (``former_jobs``), if it made one."""
        if job is not None:
            self.former_jobs.append(job)

    def put_step(self, step: StepRecord, event: JsonObject | None) -> None:
        self.steps[step.name] = step
        if event is not None:
            self.events.append((STEP, event))


class Journal:
    """Writes changes, and tells who waits for them."""

    def __init__(
        self,
        state: StateStore,
        clock: Clock,
        reserve: DiskReserve,
        changed: Callable[[], None],
    ) -> None:
        self._state = state
        self._reserve = reserve
        self._clock = clock
        self._changed = changed

    def create(self, execution: ExecutionRecord, steps: Sequence[StepRecord] = ()) -> None:
        """Write a new execution, once there is room to record how it ends.

        `steps` have succeeded from the beginning: another execution lends them.

        Raises:
            MlopsError: the store could not; nothing is written.
        """
        self._reserve.hold()
        with self._state.transaction():
            self._state.put_execution(execution)
            self._append(execution.arn, EXECUTION, execution_event(execution))
            for step in steps:
                self._state.put_step(step)
                detail = f"reused from {(step.reused_from or '').rpartition('/')[2]}"
                event = step_event(step, step.started_at, detail=detail)
                self._append(execution.arn, STEP, event)
        self._changed()

    def write(self, execution_arn: str, change: Change) -> None:
        """Write a change; it is on disk when this returns.

        Raises:
            MlopsError: the store could not, or the execution has been deleted with its pipeline;
                nothing of the change is written.
        """
        if not change:
            return
        try:
            self._write(execution_arn, change)
        except DiskFull:
            if not self._reserve.release():
                raise
            self._write(execution_arn, change)
        self._changed()

    def _write(self, execution_arn: str, change: Change) -> None:
        with self._state.transaction():
            if change.execution is not None:
                self._state.put_execution(self._with_updates(change.execution))
            for step in change.steps.values():
                self._state.put_step(step)
            for entry in change.cache_entries:
                self._state.put_cache_entry(entry)
            for job in change.former_jobs:
                self._state.put_resource(job)
            for kind, data in change.events:
                self._append(execution_arn, kind, data)

    def _append(self, execution_arn: str, kind: str, data: JsonObject) -> None:
        self._state.append_event(execution_arn, self._clock.now(), kind, data)

    def _with_updates(self, execution: ExecutionRecord) -> ExecutionRecord:
        """`execution` with what UpdatePipelineExecution has changed since the driver read it."""
        stored = self._state.get_execution(execution.arn)
        if stored is None:
            raise StoreError(f"The execution {execution.id} has been deleted while it ran")
        return replace(execution, display_name=stored.display_name, description=stored.description)

    def knows(self, execution_arn: str) -> bool:
        """False once the execution has been deleted with its pipeline."""
        return self._state.get_execution(execution_arn) is not None


def execution_event(execution: ExecutionRecord) -> JsonObject:
    return {"status": str(execution.status), "failure_reason": execution.failure_reason}


def step_event(step: StepRecord, now: datetime, **more: object) -> JsonObject:
    """A step as an event shows it; `more` adds ``detail``, ``log_tail`` and the like."""
    seconds = ((step.ended_at or now) - step.started_at).total_seconds()
    return {
        "name": step.name,
        "type": step.type,
        "status": str(step.status),
        "failure_reason": step.failure_reason,
        "seconds": round(seconds, 3),
        "overhead_seconds": round(step.overhead_seconds, 3),
        "job_name": step.job_name,
        "detail": None,
        "log": step.log,
        "cache_hit": step.cache_hit,
        "attempts": step.attempts,
        **more,
    }
