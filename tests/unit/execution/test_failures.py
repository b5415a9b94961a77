"""The words of a failure."""

from __future__ import annotations

import errno

import pytest

from mlops.errors import (
    ExitStatusLost,
    ImageUnavailable,
    NoSuchKey,
    ResolveError,
    RuntimeUnavailable,
)
from mlops.execution.failures import (
    StepFailure,
    job_failure_reason,
    reason_for,
    refused,
    step_failure_reason,
)
from mlops.ports import JobOutcome


def test_what_the_container_said_wins_over_its_log() -> None:
    assert job_failure_reason(JobOutcome(2), " bad row\n", ["noise"]) == (
        "AlgorithmError: bad row, exit code: 2"
    )
    assert job_failure_reason(JobOutcome(2), "", ["a", "b"]) == (
        "AlgorithmError: a\nb, exit code: 2"
    )
    assert job_failure_reason(JobOutcome(1), "", []) == "AlgorithmError: , exit code: 1"


def test_out_of_memory_has_the_services_advice() -> None:
    reason = job_failure_reason(JobOutcome(137, out_of_memory=True), "", ["Killed"])
    assert reason.startswith("ClientError: Please use an instance type with more memory")
    assert step_failure_reason(reason) == reason


def test_a_steps_reason_names_the_clients_error() -> None:
    assert step_failure_reason("AlgorithmError: x") == "ClientError: AlgorithmError: x"
    assert step_failure_reason("InternalServerError: x") == "InternalServerError: x"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StepFailure("as it is"), "as it is"),
        (
            refused("CreateModel", "no"),
            "ClientError: Failed to invoke sagemaker:CreateModel. Error Details: no",
        ),
        (ImageUnavailable("no image"), "ClientError: no image"),
        (NoSuchKey("no key", next_step="put it"), "ClientError: no key\n  next:  put it"),
        (ResolveError("no value"), "ClientError: no value"),
        (RuntimeUnavailable("no engine"), "InternalServerError: no engine"),
        (ExitStatusLost("lost"), "InternalServerError: lost"),
        (KeyError("x"), "InternalServerError: KeyError: 'x'"),
        (OSError(errno.EIO, "I/O error"), "InternalServerError: OSError: [Errno 5] I/O error"),
    ],
)
def test_every_error_becomes_a_reason(error: Exception, reason: str) -> None:
    assert reason_for(error) == reason


def test_a_full_disk_says_what_to_do() -> None:
    reason = reason_for(OSError(errno.ENOSPC, "No space left on device", "/store/x"))
    assert reason.startswith("InternalServerError: The disk is full")
    assert "/store/x" in reason
    assert "mlops clean" in reason
