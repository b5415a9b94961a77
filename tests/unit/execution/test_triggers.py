"""Executions whose steps wait for a failure (SDK v3's triggers): CompletedWithFailures, retries."""

from __future__ import annotations

import pytest

from mlops.errors import ServiceError
from mlops.ports import ExecutionStatus, StepStatus
from mlops.runtimes.fake import Script

from .house import Build, processing, training


def test_an_answered_failure_ends_as_completed_with_failures(build: Build) -> None:
    house = build({"*-Train-*": Script(exit_status=1), "*": Script()})
    told = {"Step": "Train", "Trigger": "Failed"}
    execution = house.run(
        training(),
        processing("Register", DependsOn=["Train"]),
        processing("Tell", DependsOn=[told]),
    )
    assert execution.status is ExecutionStatus.COMPLETED_WITH_FAILURES
    statuses = {name: step.status for name, step in house.steps(execution).items()}
    assert statuses == {"Train": StepStatus.FAILED, "Tell": StepStatus.SUCCEEDED}
    with pytest.raises(ServiceError, match="CompletedWithFailures"):
        house.manager.retry(execution.arn)


def test_a_retry_runs_the_answer_to_a_failure_anew(build: Build) -> None:
    """Tell ran because Train had failed; Other failed unanswered, so that it can be retried."""
    house = build({"*-Tell-*": Script(), "*": Script(exit_status=1)})
    told = {"Step": "Train", "Trigger": "Any"}
    execution = house.run(
        training(), processing("Tell", DependsOn=[told]), processing("Other", DependsOn=["Tell"])
    )
    assert execution.status is ExecutionStatus.FAILED
    again = house.end_of(house.manager.retry(execution.arn))
    assert again.status is ExecutionStatus.FAILED
    attempts = {name: step.attempts for name, step in house.steps(execution).items()}
    assert attempts == {"Train": 2, "Tell": 2, "Other": 2}
