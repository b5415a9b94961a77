"""Rules of "Retry Policy for Pipeline Steps" of SageMaker's documentation."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from mlops.definition import RetryPolicy
from mlops.engine import exception_type, next_retry
from mlops.errors import (
    DiskFull,
    ExitStatusLost,
    ImageUnavailable,
    JobError,
    NoSuchKey,
    ResolveError,
    RuntimeUnavailable,
    ServiceError,
    StoreError,
)

LOST = "SageMaker.JOB_INTERNAL_ERROR"
FULL = "SageMaker.RESOURCE_LIMIT"


def policy(*types: str, **members: float) -> RetryPolicy:
    return RetryPolicy(exception_types=types, **members)  # type: ignore[arg-type]  # numbers


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ServiceError("InternalFailure", "x", status=500), "Step.SERVICE_FAULT"),
        (ServiceError("ServiceUnavailable", "x", status=503), "Step.SERVICE_FAULT"),
        (StoreError("the state store failed"), "Step.SERVICE_FAULT"),
        (ServiceError("ThrottlingException", "x"), "Step.THROTTLING"),
        (ServiceError("TooManyRequestsException", "x", status=429), "Step.THROTTLING"),
        (ExitStatusLost("nobody knows"), LOST),
        (KeyError("a defect of ours"), LOST),
        (RuntimeUnavailable("no engine answers"), "SageMaker.CAPACITY_ERROR"),
        (ServiceError("ResourceLimitExceeded", "x"), FULL),
        (DiskFull("full"), FULL),
        (OSError(errno.ENOSPC, "full"), FULL),
        (OSError(errno.EAGAIN, "no more processes"), FULL),
        (MemoryError(), FULL),
    ],
)
def test_what_policies_can_name(error: BaseException, expected: str) -> None:
    assert exception_type(error) == expected


@pytest.mark.parametrize(
    "error",
    [
        JobError("AlgorithmError: the user's script"),
        ServiceError("ValidationException", "refused"),
        ServiceError("NotImplemented", "not here", status=501),
        ImageUnavailable("no image"),
        NoSuchKey("no such key"),
        ResolveError("no value"),
    ],
)
def test_what_no_policy_can_name(error: BaseException) -> None:
    assert exception_type(error) is None


def test_a_refusal_counts_as_the_answer_that_it_was_made_of() -> None:
    refusal = JobError("ClientError: Failed to invoke sagemaker:CreateModel.")
    refusal.__cause__ = ServiceError("ThrottlingException", "Rate exceeded")
    assert exception_type(refusal) == "Step.THROTTLING"


def pauses(failure: Callable[[int], str], *policies: RetryPolicy, most: int = 100) -> list[float]:
    """The seconds before each retry while every attempt fails with `failure(n)`."""
    failures: list[str | None] = []
    found: list[float] = []
    while len(found) < most:
        failures.append(failure(len(failures)))
        retry = next_retry(policies, failures, sum(found))
        if retry is None:
            return found
        assert retry.attempt == len(failures) + 1
        found.append(retry.seconds)
    return found


def test_the_interval_grows_by_the_backoff_rate_until_max_attempts() -> None:
    three = policy(LOST, interval_seconds=4, backoff_rate=1.5, max_attempts=3)
    assert pauses(lambda _: LOST, three) == [4, 6, 9]


def test_defaults_are_one_second_doubled() -> None:
    assert pauses(lambda _: LOST, policy(LOST, max_attempts=4)) == [1, 2, 4, 8]


def test_no_attempt_begins_after_expire_after_min() -> None:
    assert pauses(lambda _: LOST, policy(LOST, expire_after_minutes=1)) == [1, 2, 4, 8, 16]
    assert pauses(lambda _: LOST, policy(LOST, expire_after_minutes=0)) == []


@pytest.mark.parametrize("name", ["Step.SERVICE_FAULT", "Step.THROTTLING"])
def test_two_types_are_retried_by_default_and_a_policy_overrides(name: str) -> None:
    assert pauses(lambda _: name) == [1, 2, 4, 8, 16]
    assert pauses(lambda _: name, policy(name, interval_seconds=0, max_attempts=1)) == [0]


@pytest.mark.parametrize("name", [LOST, FULL, "SageMaker.CAPACITY_ERROR"])
def test_the_others_are_not_retried_without_a_policy(name: str) -> None:
    assert pauses(lambda _: name) == []
    assert pauses(lambda _: name, policy("Step.THROTTLING", max_attempts=5)) == []


def test_a_failure_without_a_type_is_never_retried() -> None:
    assert next_retry([policy(LOST, max_attempts=5)], [None], 0.0) is None
    assert next_retry([policy(LOST, max_attempts=5)], [LOST, None], 0.0) is None


def test_each_policy_counts_its_own_failures() -> None:
    policies = (policy(LOST, max_attempts=1), policy(FULL, interval_seconds=7, max_attempts=1))
    assert pauses(lambda n: [LOST, FULL, LOST][n], *policies) == [1, 7]


def test_what_a_person_is_told() -> None:
    retry = next_retry([policy(LOST, interval_seconds=4, max_attempts=4)], [LOST], 0.0)
    assert str(retry) == "attempt 2 of 5 in 4 s"
    endless = next_retry([policy(LOST, expire_after_minutes=60)], [LOST, LOST], 0.0)
    assert str(endless) == "attempt 3 in 2 s"


def test_a_pause_is_never_too_long_to_wait_for() -> None:
    wild = policy(LOST, interval_seconds=1e300, backoff_rate=1e300, max_attempts=20)
    assert max(pauses(lambda _: LOST, wild)) == 14400 * 60
