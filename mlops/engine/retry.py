"""Whether a step that failed is tried again, and when. Pure.

SageMaker's documentation, "Retry Policy for Pipeline Steps", names five exception types; the SDK's
``sagemaker.workflow.retry`` has the same. What of this house's failures each one stands for:

``Step.SERVICE_FAULT``
    "An internal server error or transient error happens when calling downstream services": an
    operation answers with a 5xx status, or a store fails (not: a bucket or key that is missing).
    Tried again by default.
``Step.THROTTLING``
    "Throttling exceptions can occur while calling the downstream services": an operation answers
    429 or with a throttling code. Tried again by default.
``SageMaker.JOB_INTERNAL_ERROR``
    "The SageMaker AI job returns InternalServerError": the job ended and nobody knows how
    (its container was removed, its supervisor died), or this project itself failed.
``SageMaker.CAPACITY_ERROR``
    "EC2 InsufficientCapacityErrors": there is nothing to run the job on, the engine does not
    answer.
``SageMaker.RESOURCE_LIMIT``
    "You can exceed the resource limit quota": a ResourceLimitExceeded answer; the disk is full, or
    the machine gives no more memory, processes or files.

Everything else matches none: the user's own code (AlgorithmError), a request that the service
refuses, an image that is not there, a job out of its own memory or time.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Sequence
from dataclasses import dataclass

from mlops.definition import RetryPolicy
from mlops.definition.retry import MAX_EXPIRE_MINUTES
from mlops.errors import (
    DiskFull,
    ExitStatusLost,
    InvalidKey,
    MlopsError,
    NoSuchBucket,
    NoSuchKey,
    RuntimeUnavailable,
    ServiceError,
    StoreError,
)

SERVICE_FAULT = "Step.SERVICE_FAULT"
THROTTLING = "Step.THROTTLING"
JOB_INTERNAL_ERROR = "SageMaker.JOB_INTERNAL_ERROR"
CAPACITY_ERROR = "SageMaker.CAPACITY_ERROR"
RESOURCE_LIMIT = "SageMaker.RESOURCE_LIMIT"

DEFAULT_POLICIES = (
    RetryPolicy(exception_types=(SERVICE_FAULT,), max_attempts=5),
    RetryPolicy(exception_types=(THROTTLING,), max_attempts=5),
)
"""The service retries these two by itself (SDK: ``StepRetryPolicy``) and does not say how often:
the intervals are a policy's defaults, the attempts those of the documentation's examples."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE)
_NOT_IMPLEMENTED = 501
_TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, slots=True)
class Retry:
    """The next attempt: its number from 2, how many there can be, and the seconds until then."""

    attempt: int
    attempts: int | None
    """None where the policy ends by time."""
    seconds: float

    def __str__(self) -> str:
        of = "" if self.attempts is None else f" of {self.attempts}"
        return f"attempt {self.attempt}{of} in {self.seconds:g} s"


def exception_type(error: BaseException) -> str | None:
    """What a retry policy calls a failure; None where no policy can name it.

    A refusal that was made of an operation's error answer (``raise … from``) counts as that.
    """
    if isinstance(error.__cause__, ServiceError):
        error = error.__cause__
    match error:
        case ServiceError():
            return _service_error_type(error)
        case DiskFull():
            return RESOURCE_LIMIT
        case OSError():
            return RESOURCE_LIMIT if error.errno in _FULL else JOB_INTERNAL_ERROR
        case MemoryError():
            return RESOURCE_LIMIT
        case RuntimeUnavailable():
            return CAPACITY_ERROR
        case ExitStatusLost():
            return JOB_INTERNAL_ERROR
        case NoSuchBucket() | NoSuchKey() | InvalidKey():
            return None
        case StoreError():
            return SERVICE_FAULT
        case MlopsError():
            return None
    return JOB_INTERNAL_ERROR


def _service_error_type(error: ServiceError) -> str | None:
    if error.status == _TOO_MANY_REQUESTS or "Throttl" in error.code:
        return THROTTLING
    if error.code.startswith("ResourceLimitExceeded"):
        return RESOURCE_LIMIT
    faulty = error.status >= 500 and error.status != _NOT_IMPLEMENTED
    return SERVICE_FAULT if faulty else None


def _pause(policy: RetryPolicy, retries: int) -> float:
    try:
        pause = policy.interval_seconds * policy.backoff_rate**retries
    except OverflowError:
        pause = math.inf
    return min(pause, MAX_EXPIRE_MINUTES * 60)


def next_retry(
    policies: Sequence[RetryPolicy], failures: Sequence[str | None], seconds: float
) -> Retry | None:
    """The next attempt of a step, or None where it has failed for good.

    A policy counts the failures that it matches; the first one that names the last failure
    decides. MaxAttempts counts the attempts after the first; ExpireAfterMin counts from the
    step's start, and no attempt begins after it.

    Args:
        policies: the step's own, which go before the defaults.
        failures: the exception type of every attempt so far, the last one last.
        seconds: since the step's first attempt began.
    """
    last = failures[-1]
    matching = (each for each in (*policies, *DEFAULT_POLICIES) if last in each.exception_types)
    policy = next(matching, None)
    if policy is None:
        return None
    made = sum(failure in policy.exception_types for failure in failures) - 1
    if policy.max_attempts is not None and made >= policy.max_attempts:
        return None
    pause = _pause(policy, made)
    minutes = policy.expire_after_minutes
    if minutes is not None and seconds + pause > minutes * 60:
        return None
    total = None if policy.max_attempts is None else len(failures) - made + policy.max_attempts
    return Retry(len(failures) + 1, total, pause)
