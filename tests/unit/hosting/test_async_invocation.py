"""What is decided about asynchronous invocations."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlops.errors import InvalidKey
from mlops.hosting.async_invocation import (
    MOST_BUSY_ATTEMPTS,
    MOST_LOST_ATTEMPTS,
    AsyncInvocation,
    AsyncSettings,
    Ending,
    Outcome,
    pause_before_next,
    plan_invocation,
    s3_uri,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SETTINGS = AsyncSettings("s3://b/out/", "s3://b/failures", 2)


def planned(settings: AsyncSettings = SETTINGS, **request: Any) -> AsyncInvocation:
    asked = {"EndpointName": "e", "InputLocation": "s3://b/in", **request}
    return plan_invocation(asked, settings, id="made", now=NOW)


def test_a_configuration_is_read() -> None:
    assert AsyncSettings.read({"OutputConfig": {"S3OutputPath": "s3://b"}}) == AsyncSettings(
        "s3://b", None, 4
    )
    whole = {
        "OutputConfig": {"S3OutputPath": "s3://b", "S3FailurePath": "s3://f"},
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 7},
    }
    assert AsyncSettings.read(whole) == AsyncSettings("s3://b", "s3://f", 7)


@pytest.mark.parametrize(
    ("request_", "output", "failure"),
    [
        ({}, "out/made.out", "failures/made-error.out"),
        ({"InferenceId": "i-1"}, "out/i-1.out", "failures/i-1-error.out"),
        ({"InferenceId": "../x y"}, "out/made.out", "failures/made-error.out"),
        ({"Filename": "r.json"}, "out/r.json", "failures/r.json-error.out"),
        (
            {"S3OutputPathExtension": "/day/1/", "InferenceId": "i"},
            "out/day/1/i.out",
            "failures/day/1/i-error.out",
        ),
    ],
)
def test_where_results_go(request_: dict[str, str], output: str, failure: str) -> None:
    made = planned(**request_)
    assert (made.output, made.failure) == (f"s3://b/{output}", f"s3://b/{failure}")
    assert made.inference_id == request_.get("InferenceId", "made")


def test_without_a_failure_path_there_is_no_failure_object() -> None:
    assert planned(AsyncSettings("s3://b", None, 1)).failure is None
    assert planned(AsyncSettings("s3://b", None, 1)).output == "s3://b/made.out"


def test_the_defaults_are_the_services() -> None:
    made = planned()
    assert made.expires_at - made.accepted_at == timedelta(hours=6)
    assert made.timeout_seconds == 900
    other = planned(RequestTTLSeconds=60, InvocationTimeoutSeconds=3600)
    assert not other.expired(NOW + timedelta(seconds=59))
    assert other.expired(NOW + timedelta(seconds=60))
    assert other.timeout_seconds == 3600


def test_what_is_kept_is_what_was_asked() -> None:
    made = plan_invocation(
        {"EndpointName": "e", "Body": b"1", "ContentType": "a/b", "CustomAttributes": "c"},
        SETTINGS,
        id="x",
        now=NOW,
    ).begun(NOW + timedelta(seconds=1))
    assert AsyncInvocation.from_document(json.loads(json.dumps(made.document()))) == made


def test_only_an_object_of_the_last_attempt_is_its_result() -> None:
    made = planned()
    assert not made.is_done(NOW)
    begun = made.begun(NOW)
    assert not begun.is_done(None)
    assert not begun.is_done(NOW - timedelta(milliseconds=1))
    assert begun.is_done(NOW)


@pytest.mark.parametrize(
    ("location", "uri"),
    [
        ("s3://b/a key?#", "s3://b/a key?#"),
        ("https://b.s3.amazonaws.com/a%20key", "s3://b/a key"),
        ("https://b.c.s3.eu-central-1.amazonaws.com/k/l", "s3://b.c/k/l"),
        ("https://b.s3-eu-west-1.amazonaws.com/k", "s3://b/k"),
        ("https://s3.us-east-1.amazonaws.com/b/k", "s3://b/k"),
        ("https://s3.amazonaws.com/b/k", "s3://b/k"),
    ],
)
def test_an_address_in_s3(location: str, uri: str) -> None:
    assert s3_uri(location) == uri


@pytest.mark.parametrize(
    "location",
    [
        "s3:///k",
        "https://example.com/b/k",
        "https://b.s3.example.com/k",
        "https://s3.amazonaws.com/",
    ],
)
def test_an_address_of_something_else(location: str) -> None:
    with pytest.raises(InvalidKey):
        s3_uri(location)


def test_how_long_until_the_next_attempt() -> None:
    busy, lost = Outcome(Ending.BUSY), Outcome(Ending.LOST)
    pauses = [pause_before_next(busy, attempt) for attempt in range(1, MOST_BUSY_ATTEMPTS + 1)]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, None]
    assert pause_before_next(lost, MOST_LOST_ATTEMPTS - 1) == 1
    assert pause_before_next(lost, MOST_LOST_ATTEMPTS) is None
    assert pause_before_next(Outcome(Ending.FAILED), 1) is None
