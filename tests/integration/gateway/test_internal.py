"""What the command asks of the gateway beyond AWS, through its client."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mlops.errors import (
    DefinitionError,
    GatewayUnavailable,
    ParameterError,
    ServiceError,
    UsageError,
)
from mlops.gateway.client import GatewayClient
from mlops.settings import Settings

Start = Callable[..., str]
Ended = Callable[[str], dict[str, Any]]


def follow_to_the_end(client: GatewayClient, execution_id: str) -> SimpleNamespace:
    """As `mlops run` does: every event and every log, until all has been told."""
    events: list[dict[str, Any]] = []
    logs: dict[str, str] = {}
    offsets: dict[str, int] = {}
    while True:
        news = client.follow(
            execution_id, events=events[-1]["sequence"] if events else 0, logs=offsets, wait=5
        )
        events += news["events"]
        for name, log in news["logs"].items():
            logs[name] = logs.get(name, "") + log["text"]
            offsets[name] = log["offset"]
        if news["status"] not in ("Executing", "Stopping") and not news["events"] + [*news["logs"]]:
            return SimpleNamespace(status=news["status"], events=events, logs=logs)


def test_health(client: GatewayClient, settings: Settings, start: Start) -> None:
    health = client.health()
    assert health["pid"] == os.getpid()
    assert health["url"] == client.url
    assert (health["runtime"], health["store"]) == ("fake", str(settings.store))
    assert health["executions"] == []


def test_what_runs_is_in_the_health(
    client: GatewayClient, start: Start, ended: Ended, lab: SimpleNamespace
) -> None:
    arn = start(lab.processing_step("Wait"))
    assert client.health()["executions"] == [arn]
    request = {"PipelineExecutionArn": arn, "ClientRequestToken": "s" * 32}
    client.call("StopPipelineExecution", request)
    ended(arn)
    assert client.health()["executions"] == []


def test_follow_tells_all_once(client: GatewayClient, start: Start) -> None:
    followed = follow_to_the_end(client, start().rpartition("/")[2])
    assert followed.status == "Succeeded"
    assert followed.logs["Evaluate"] == "größer als erwartet ✓\ndetail: mse 0.0125\n"
    assert [event["sequence"] for event in followed.events] == list(
        range(1, len(followed.events) + 1)
    )
    ends = [
        (event["data"]["name"], event["data"]["status"], event["data"]["detail"])
        for event in followed.events
        if event["kind"] == "step" and event["data"]["status"] == "Succeeded"
    ]
    assert ends[0] == ("Evaluate", "Succeeded", "mse 0.0125")
    assert followed.events[-1]["data"]["status"] == "Succeeded"


def test_follow_waits_no_longer_than_asked(
    client: GatewayClient, start: Start, lab: SimpleNamespace
) -> None:
    execution_id = start(lab.processing_step("Wait")).rpartition("/")[2]
    seen = {"events": 0, "logs": {}}
    while news := client.follow(execution_id, **seen, wait=0.3):
        if not news["events"] and not news["logs"]:
            break
        seen["events"] = news["events"][-1]["sequence"] if news["events"] else seen["events"]
        seen["logs"] |= {name: log["offset"] for name, log in news["logs"].items()}
    begin = time.monotonic()
    assert client.follow(execution_id, **seen, wait=0.2)["status"] == "Executing"
    assert 0.15 < time.monotonic() - begin < 2


def test_everything_a_report_needs(client: GatewayClient, start: Start, ended: Ended) -> None:
    arn = start()
    ended(arn)
    details = client.execution(arn.rpartition("/")[2])
    execution = details["execution"]
    assert (execution["arn"], execution["status"]) == (arn, "Succeeded")
    assert execution["ended_at"] >= execution["started_at"]
    evaluate, register = details["steps"]
    assert evaluate["name"] == "Evaluate"
    assert evaluate["detail"] == "mse 0.0125"
    assert 0 < evaluate["seconds"] < 20
    assert 0 <= evaluate["overhead_seconds"] <= evaluate["seconds"]
    assert evaluate["job_name"].startswith("pipelines-")
    assert (evaluate["attempts"], evaluate["cache_hit"]) == (1, False)
    assert register["type"] == "RegisterModel"
    assert details["parameters"] == {"MseThreshold": 0.03}
    assert details["definition"]["Version"] == "2020-12-01"
    assert details["metrics"] == {"mse": 0.0125, "r2": 0.98}
    assert details["plot"].startswith("<svg")
    assert details["model_package"] == {
        "arn": "arn:aws:sagemaker:us-east-1:123456789012:model-package/Diamonds/1",
        "group": "Diamonds",
        "version": 1,
        "approval_status": "Approved",
    }
    assert details["failed_logs"] == {}
    assert details["runtime"] == "fake"


def test_a_report_outlives_its_outputs(
    client: GatewayClient, start: Start, ended: Ended, aws: Callable[..., Any]
) -> None:
    arn = start()
    ended(arn)
    s3 = aws("s3")
    for name in ("evaluation.json", "plot.svg"):
        s3.delete_object(Bucket="bucket", Key=f"evaluation/{name}")
    details = client.execution(arn.rpartition("/")[2])
    assert (details["metrics"], details["plot"]) == ({}, None)


def test_the_newest_executions(client: GatewayClient, start: Start, ended: Ended) -> None:
    first = start()
    ended(first)
    second = client.call(
        "StartPipelineExecution", {"PipelineName": "Lab", "ClientRequestToken": "t" * 32}
    )["PipelineExecutionArn"]
    assert [row["arn"] for row in client.executions()] == [second, first]
    assert [row["arn"] for row in client.executions(limit=1)] == [second]
    assert client.executions(pipeline="Other") == []
    assert client.executions(pipeline="Lab", limit=1)[0]["pipeline_name"] == "Lab"
    ended(second)


def test_pages(client: GatewayClient) -> None:
    for number in range(5):
        client.call("CreateModelPackageGroup", {"ModelPackageGroupName": f"g-{number}"})
    rows = client.pages("ListModelPackageGroups", {"MaxResults": 2}, "ModelPackageGroupSummaryList")
    assert [row["ModelPackageGroupName"] for row in rows] == [f"g-{n}" for n in range(5)]


class TestErrors:
    """They arrive as what they were."""

    def test_an_aws_error(self, client: GatewayClient) -> None:
        with pytest.raises(ServiceError, match="does not exist") as caught:
            client.call("DescribePipeline", {"PipelineName": "none"})
        assert (caught.value.code, caught.value.status) == ("ResourceNotFound", 400)

    def test_a_definition(self, client: GatewayClient, lab: SimpleNamespace) -> None:
        request = {
            "PipelineName": "p",
            "PipelineDefinition": lab.definition({"Name": "A", "Type": "Juggle"}),
            "RoleArn": lab.role,
            "ClientRequestToken": "t" * 32,
        }
        with pytest.raises(DefinitionError) as caught:
            client.call("CreatePipeline", request)
        assert caught.value.problems[0].path == "Steps[0].Type"
        assert caught.value.exit_code == 2

    def test_a_parameter(self, client: GatewayClient, start: Start, ended: Ended) -> None:
        ended(start())
        request = {
            "PipelineName": "Lab",
            "ClientRequestToken": "u" * 32,
            "PipelineParameters": [{"Name": "MseTreshold", "Value": "1"}],
        }
        with pytest.raises(ParameterError, match="MseTreshold"):
            client.call("StartPipelineExecution", request)

    @pytest.mark.parametrize("name", ["none", "..", "a/b"])
    def test_an_execution_that_there_is_not(self, client: GatewayClient, name: str) -> None:
        with pytest.raises(UsageError, match="There is no execution"):
            client.execution(name)
        with pytest.raises(UsageError, match="There is no execution"):
            client.follow(name)

    def test_nothing_answers(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound and never listening: refused
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(GatewayUnavailable, match=url):
                GatewayClient(url).health()
