"""Jobs of attempts that were followed by another one: a step's record tells of its last alone.

SageMaker's Describe and List operations know every job, so the job of an attempt that failed is
kept as a ``ResourceRecord`` before the next attempt takes its place.
"""

from __future__ import annotations

from datetime import datetime

from mlops.ports import JsonObject, ResourceRecord, StepRecord

FORMER = "former-"
"""Before the kind of a job, as in its ARN, the kind of such a record: ``former-training-job``."""


def former_job(step: StepRecord, described: JsonObject, now: datetime) -> ResourceRecord | None:
    """What to keep of the job of an attempt; None of one that made no job.

    `described` is its Describe answer; `step` is the step's record while it still tells of it.
    """
    arn = next((value for key, value in described.items() if key.endswith("JobArn")), None)
    if not isinstance(arn, str) or step.job_name is None:
        return None
    kind = arn.rpartition(":")[2].partition("/")[0]
    return ResourceRecord(
        kind=f"{FORMER}{kind}",
        name=step.job_name,
        arn=arn,
        created_at=step.started_at,
        last_modified_at=step.ended_at or now,
        status=str(step.status),
        document={"described": described, "log": step.log},
    )
