"""CloudWatch Logs of real jobs, through boto3: groups, streams, events, tokens, patterns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mlops.runtimes.fake import FakeContainer, FakeRuntime

from .conftest import processing_step
from .test_direct_jobs import QUICK, evaluate, processing, training

Clients = Callable[..., Any]
GROUP = "/aws/sagemaker/ProcessingJobs"


@pytest.fixture
def told() -> threading.Event:
    """Set once the slow job has said its first line."""
    return threading.Event()


@pytest.fixture
def runtime(told: threading.Event) -> FakeRuntime:
    def count(job: FakeContainer) -> None:
        for number in range(5):
            job.print(f"line {number} größer")

    def slow(job: FakeContainer) -> None:
        job.print("first")
        told.set()
        job.terminated.wait(60)
        job.print("last words")

    return FakeRuntime({"slow*": slow, "count*": count, "*": evaluate})


@pytest.fixture
def logs(aws: Clients) -> Any:
    return aws("logs")


@pytest.fixture
def stream(sagemaker: Any, logs: Any, bucket: str) -> str:
    """The stream of a job that has said five lines and ended."""
    sagemaker.create_processing_job(**processing("count"))
    sagemaker.get_waiter("processing_job_completed_or_stopped").wait(
        ProcessingJobName="count", WaiterConfig=QUICK
    )
    (found,) = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix="count/")[
        "logStreams"
    ]
    name: str = found["logStreamName"]
    return name


def messages(answer: dict[str, Any]) -> list[str]:
    return [event["message"].split()[1] for event in answer["events"]]


def test_forwards_to_the_end_and_no_further(logs: Any, stream: str) -> None:
    assert stream.startswith("count/algo-1-")
    where = {"logGroupName": GROUP, "logStreamName": stream, "limit": 2}
    first = logs.get_log_events(**where, startFromHead=True)
    second = logs.get_log_events(**where, nextToken=first["nextForwardToken"])
    third = logs.get_log_events(**where, nextToken=second["nextForwardToken"])
    end = logs.get_log_events(**where, nextToken=third["nextForwardToken"])
    assert [messages(each) for each in (first, second, third, end)] == [
        ["0", "1"],
        ["2", "3"],
        ["4"],
        [],
    ]
    assert first["events"][0]["message"] == "line 0 größer"
    assert end["nextForwardToken"] == third["nextForwardToken"]
    back = logs.get_log_events(**where, nextToken=third["nextBackwardToken"])
    assert messages(back) == ["2", "3"]


def test_the_latest_come_first_unless_asked_otherwise(logs: Any, stream: str) -> None:
    where = {"logGroupName": GROUP, "logStreamName": stream, "limit": 2}
    latest = logs.get_log_events(**where)
    before = logs.get_log_events(**where, nextToken=latest["nextBackwardToken"])
    assert (messages(latest), messages(before)) == (["3", "4"], ["1", "2"])
    moment = latest["events"][0]["timestamp"]
    assert messages(logs.get_log_events(**where, endTime=moment)) == []
    assert messages(logs.get_log_events(**where, startTime=moment)) == ["3", "4"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("line größer", ["0", "1", "2", "3", "4"]),
        ('"line 3"', ["3"]),
        ("?3 ?4", ["3", "4"]),
        ("line -3 -4", ["0", "1", "2"]),
    ],
)
def test_filtered_in_pages(logs: Any, stream: str, pattern: str, found: list[str]) -> None:
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=GROUP, filterPattern=pattern, PaginationConfig={"PageSize": 2}
    )
    events = [event for page in pages for event in page["events"]]
    assert messages({"events": events}) == found
    assert len({event["eventId"] for event in events}) == len(found)


def test_a_job_that_runs_is_followed(
    sagemaker: Any, logs: Any, bucket: str, told: threading.Event
) -> None:
    sagemaker.create_training_job(**training("slow"))
    assert told.wait(60)
    group = "/aws/sagemaker/TrainingJobs"
    (stream,) = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime")["logStreams"]
    where = {"logGroupName": group, "logStreamName": stream["logStreamName"]}
    seen = logs.get_log_events(**where, startFromHead=True)
    assert [event["message"] for event in seen["events"]] == ["first"]
    sagemaker.stop_training_job(TrainingJobName="slow")
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(
        TrainingJobName="slow", WaiterConfig=QUICK
    )
    more = logs.get_log_events(**where, nextToken=seen["nextForwardToken"])
    assert [event["message"] for event in more["events"]] == ["last words"]
    assert more["events"][0]["timestamp"] >= seen["events"][0]["timestamp"]


def test_the_logs_of_steps(
    logs: Any, start: Callable[..., str], ended: Callable[[str], Any]
) -> None:
    ended(start(processing_step("Evaluate")))
    assert [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]] == [GROUP]
    (event,) = logs.filter_log_events(logGroupName=GROUP, filterPattern="detail")["events"]
    assert event["message"] == "detail: mse 0.0125"


def test_what_is_not_there_and_what_is_not_taken(logs: Any, stream: str) -> None:
    missing = logs.exceptions.ResourceNotFoundException
    for group in ("/aws/sagemaker/Endpoints/none", "/aws/lambda/..", "any"):
        with pytest.raises(missing, match="log group"):
            logs.describe_log_streams(logGroupName=group)
    with pytest.raises(missing, match="log stream"):
        logs.get_log_events(logGroupName=GROUP, logStreamName="none/algo-1-1")
    invalid = logs.exceptions.InvalidParameterException
    with pytest.raises(invalid):
        logs.filter_log_events(logGroupName=GROUP, filterPattern="{ $.a = 1 }")
    with pytest.raises(invalid):
        logs.get_log_events(logGroupName=GROUP, logStreamName=stream, nextToken="x")
    with pytest.raises(invalid):
        logs.describe_log_streams(logGroupName="no group: by its name")
    with pytest.raises(ClientError, match="does not answer logs StartQuery"):
        logs.start_query(logGroupName=GROUP, startTime=0, endTime=1, queryString="fields @message")
