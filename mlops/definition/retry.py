"""Retry policies: when a step that failed is tried again.

SDK: ``sagemaker.workflow.retry``; the limits are its own (``MAX_ATTEMPTS_CAP``,
``MAX_EXPIRE_AFTER_MIN``).
"""

from __future__ import annotations

from dataclasses import dataclass

from mlops.definition.fields import Fields
from mlops.definition.problems import suggestion

EXCEPTION_TYPES = (
    "Step.SERVICE_FAULT",
    "Step.THROTTLING",
    "SageMaker.JOB_INTERNAL_ERROR",
    "SageMaker.CAPACITY_ERROR",
    "SageMaker.RESOURCE_LIMIT",
)
MAX_ATTEMPTS = 20
MAX_EXPIRE_MINUTES = 14400


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """An entry of a step's ``RetryPolicies``; one of the last two fields is set."""

    exception_types: tuple[str, ...]
    interval_seconds: float = 1
    backoff_rate: float = 2.0
    max_attempts: int | None = None
    expire_after_minutes: int | None = None


def read_retry_policy(fields: Fields) -> RetryPolicy:
    fields.only(
        ("ExceptionType", "IntervalSeconds", "BackoffRate", "MaxAttempts", "ExpireAfterMin"),
        "A retry policy",
    )
    types = fields.strings("ExceptionType")
    if fields.require("ExceptionType", "A retry policy"):
        _check_types(fields, types)
    attempts = fields.integer("MaxAttempts", least=1, most=MAX_ATTEMPTS)
    minutes = fields.integer("ExpireAfterMin", least=0, most=MAX_EXPIRE_MINUTES)
    if (fields.get("MaxAttempts") is None) == (fields.get("ExpireAfterMin") is None):
        fields.problems.add(
            fields.location, "A retry policy needs exactly one of MaxAttempts and ExpireAfterMin"
        )
    interval = fields.number("IntervalSeconds", least=0)
    rate = fields.number("BackoffRate", least=0)
    return RetryPolicy(
        exception_types=types,
        interval_seconds=1 if interval is None else interval,
        backoff_rate=2.0 if rate is None else rate,
        max_attempts=attempts,
        expire_after_minutes=minutes,
    )


def _check_types(fields: Fields, types: tuple[str, ...]) -> None:
    if fields.get("ExceptionType") == []:
        fields.refuse("ExceptionType", "A retry policy needs at least one exception type")
    for name in types:
        if name not in EXCEPTION_TYPES:
            fields.refuse(
                "ExceptionType",
                f"There is no exception type {name!r}" + suggestion(name, EXCEPTION_TYPES),
            )
