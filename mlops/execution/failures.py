"""How a step fails, in the service's words.

Seen in public answers of the service: ``ClientError: Failed to invoke sagemaker:CreateTrainingJob.
Error Details: …`` when the job is refused, ``ClientError: AlgorithmError: …, exit code: 1`` when it
ran and failed. Where the service would say "internal error", the reason says what happened here.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Sequence
from pathlib import Path

from mlops.errors import (
    DiskFull,
    EnvironmentLacks,
    ExitStatusLost,
    ImageUnavailable,
    JobError,
    MlopsError,
)
from mlops.ports import JobOutcome

LONGEST_JOB_REASON = 1024  # botocore sagemaker FailureReason, ExitMessage
FULL_BELOW_BYTES = 1024 * 1024
OUT_OF_MEMORY = (
    "Please use an instance type with more memory, "
    "or reduce the size of job data processed on an instance."
)


class StepFailure(JobError):
    """Ends a step as Failed; ``str(error)`` is the failure reason that the listing shows."""


class Refused(StepFailure):
    """The service did not accept the request: the job never started. `details` says why."""

    def __init__(self, operation: str, details: str) -> None:
        self.details = details
        super().__init__(
            f"ClientError: Failed to invoke sagemaker:{operation}. Error Details: {details}"
        )


def refused(operation: str, details: object) -> Refused:
    """The refusal of `operation`."""
    return Refused(operation, str(details))


def job_failure_reason(outcome: JobOutcome, said: str, log_tail: Sequence[str]) -> str:
    """A failed job's own ``FailureReason``; `said` is what the container wrote about it."""
    ending = f", exit code: {outcome.exit_status}"
    if outcome.out_of_memory:
        return f"ClientError: {OUT_OF_MEMORY}{ending}"
    text = (said.strip() or "\n".join(log_tail)).removeprefix("AlgorithmError:").strip()
    room = LONGEST_JOB_REASON - len("AlgorithmError: ") - len(ending)
    # The end of an error text says what went wrong, its beginning only where.
    return f"AlgorithmError: {text[-room:]}{ending}"


def full_disk_hint(folder: Path) -> str:
    """What a failed job may not have been able to say: the log did not fit either."""
    if shutil.disk_usage(folder).free >= FULL_BELOW_BYTES:
        return ""
    return f" (the disk of {folder} is full: free some space; 'mlops clean' removes old executions)"


def step_failure_reason(job_reason: str) -> str:
    """The step's reason for a job that failed for `job_reason`."""
    return f"ClientError: {job_reason}" if job_reason.startswith("AlgorithmError:") else job_reason


def reason_for(error: BaseException) -> str:
    """The failure reason for an error of any kind that ended a step."""
    if isinstance(error, StepFailure):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        full = DiskFull(
            "The disk is full",
            where=error.filename,
            next_step="free some space ('mlops clean' removes old executions) and run again",
        )
        return f"InternalServerError: {full}"
    internal = isinstance(error, (EnvironmentLacks, ExitStatusLost))
    if isinstance(error, MlopsError):
        user_can_mend = isinstance(error, ImageUnavailable) or not internal
        return f"{'ClientError' if user_can_mend else 'InternalServerError'}: {error}"
    return f"InternalServerError: {type(error).__name__}: {error}"
