"""What becomes of executions whose gateway died and that cannot be taken up again: pure.

Mostly they can (``resuming``). Where the runtime does not answer any more, or the records are none
that this version understands, they are ended and recorded, and can be retried by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from mlops.execution.journal import Change, step_event
from mlops.ports import ExecutionRecord, ExecutionStatus, StepRecord, StepStatus

_CAUSE = "The gateway ended while this ran: it was killed, or the machine went down."


def abandoned(
    execution: ExecutionRecord,
    steps: Sequence[StepRecord],
    problem: str,
    now: datetime,
) -> Change:
    """The records of an interrupted execution: Failed, or Stopped where that was asked for.

    `problem` says why it cannot be taken up.
    """
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
    reason = (
        f"{_CAUSE} It could not be taken up again: {problem} "
        f"`mlops executions resume {execution.id}` tries once more."
    )
    change.put_execution(
        replace(
            execution,
            status=ExecutionStatus.STOPPED if stopping else ExecutionStatus.FAILED,
            failure_reason=None if stopping else reason,
            last_modified_at=now,
        )
    )
    return change
