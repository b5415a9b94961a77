"""What becomes of executions whose gateway died: pure.

Their jobs cannot be taken up again (the threads that knew them are gone), so they are ended and
recorded. Resuming them from the last step that succeeded will be another plan beside this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mlops.execution.journal import Change, step_event
from mlops.ports import ExecutionRecord, ExecutionStatus, StepRecord, StepStatus

_CAUSE = "The gateway ended while this ran: it was killed, or the machine went down."
_NEXT = "Start the pipeline again."


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What the dead gateway's jobs left running, and what became of it."""

    removed: Sequence[str] = ()
    problem: str | None = None

    def sentence(self) -> str:
        if self.problem is not None:
            return f" What its jobs left running could not be ended: {self.problem}"
        return f" Its job {', '.join(self.removed)} was ended." if self.removed else ""


def abandoned(
    execution: ExecutionRecord,
    steps: Sequence[StepRecord],
    leftovers: Leftovers,
    now: datetime,
) -> Change:
    """The records of an interrupted execution: Failed, or Stopped where that was asked for."""
    stopping = execution.status is ExecutionStatus.STOPPING
    change = Change()
    for step in steps:
        if not step.status.ended:
            record = replace(
                step,
                status=StepStatus.STOPPED if stopping else StepStatus.FAILED,
                ended_at=now,
                failure_reason=None if stopping else f"InternalServerError: {_CAUSE}",
            )
            change.put_step(record, step_event(record, now))
    reason = f"{_CAUSE}{leftovers.sentence()} {_NEXT}"
    change.put_execution(
        replace(
            execution,
            status=ExecutionStatus.STOPPED if stopping else ExecutionStatus.FAILED,
            failure_reason=None if stopping else reason,
            last_modified_at=now,
        )
    )
    return change
