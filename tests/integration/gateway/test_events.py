"""EventBridge through boto3: SageMaker's changes reach queues and functions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

Aws = Callable[..., Any]


@pytest.fixture
def events(aws: Aws) -> Any:
    return aws("events")


@pytest.fixture
def queue(aws: Aws) -> Queue:
    return Queue(aws("sqs"))


class Queue:
    """An SQS queue, and what has come to it."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.url = client.create_queue(QueueName="events")["QueueUrl"]
        attributes = client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        self.arn = attributes["Attributes"]["QueueArn"]
        self.seen: list[Any] = []

    def until(self, enough: Callable[[list[Any]], bool]) -> list[Any]:
        deadline = time.monotonic() + 60
        while not enough(self.seen):
            assert time.monotonic() < deadline, self.seen
            answer = self._client.receive_message(
                QueueUrl=self.url, WaitTimeSeconds=1, MaxNumberOfMessages=10
            )
            for message in answer.get("Messages", []):
                self.seen.append(json.loads(message["Body"]))
                self._client.delete_message(
                    QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"]
                )
        return self.seen


def listen(events: Any, queue: Queue, pattern: Any, **target: Any) -> str:
    arn: str = events.put_rule(Name="r", EventPattern=json.dumps(pattern))["RuleArn"]
    events.put_targets(Rule="r", Targets=[{"Id": "q", "Arn": queue.arn, **target}])
    return arn


def test_a_pipelines_life_is_told(
    events: Any, queue: Queue, aws: Aws, lab: SimpleNamespace
) -> None:
    listen(events, queue, {"source": ["aws.sagemaker"]})
    aws("s3").create_bucket(Bucket="bucket")
    sagemaker = aws("sagemaker")
    sagemaker.create_pipeline(
        PipelineName="p", PipelineDefinition=lab.definition(), RoleArn=lab.role
    )
    arn = sagemaker.start_pipeline_execution(PipelineName="p")["PipelineExecutionArn"]

    def ended(seen: list[Any]) -> bool:
        return any(e["detail"].get("currentPipelineExecutionStatus") == "Succeeded" for e in seen)

    seen = queue.until(ended)
    first = seen[0]
    assert {key: first[key] for key in ("version", "source", "account", "region")} == {
        "version": "0",
        "source": "aws.sagemaker",
        "account": lab.account,
        "region": "us-east-1",
    }
    kinds = {event["detail-type"] for event in seen}
    assert {
        "SageMaker Model Building Pipeline Execution Status Change",
        "SageMaker Model Building Pipeline Execution Step Status Change",
        "SageMaker Processing Job State Change",
    } <= kinds
    (last,) = [e for e in seen if e["detail"].get("currentPipelineExecutionStatus") == "Succeeded"]
    assert last["detail"]["previousPipelineExecutionStatus"] == "Executing"
    assert last["detail"]["pipelineExecutionArn"] == arn
    assert last["resources"][1] == arn
    steps = [e["detail"] for e in seen if "currentStepStatus" in e["detail"]]
    done = [step for step in steps if step["currentStepStatus"] == "Succeeded"]
    job = next(step for step in done if step["stepType"] == "Processing")
    assert ":processing-job/" in job["metadata"]["processingJob"]["arn"]
    assert job["previousStepStatus"] == "Executing"
    assert job["stepEndTime"] >= job["stepStartTime"]


def test_a_package_that_is_approved_reaches_the_rule_for_it(
    events: Any, queue: Queue, aws: Aws
) -> None:
    pattern = {
        "detail-type": ["SageMaker Model Package State Change"],
        "detail": {"ModelPackageGroupName": ["g"], "ModelApprovalStatus": ["Approved"]},
    }
    listen(events, queue, pattern, InputPath="$.detail")
    sagemaker = aws("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName="g")
    arn = sagemaker.create_model_package(
        ModelPackageGroupName="g", ModelApprovalStatus="PendingManualApproval"
    )["ModelPackageArn"]
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    (detail,) = queue.until(bool)
    assert detail["ModelPackageArn"] == arn
    assert detail["ModelPackageVersion"] == 1


def test_events_of_ones_own(events: Any, queue: Queue) -> None:
    listen(
        events,
        queue,
        {"source": ["mine"], "detail": {"n": [{"numeric": [">", 1]}]}},
        InputTransformer={
            "InputPathsMap": {"n": "$.detail.n"},
            "InputTemplate": '{"got": <n>, "rule": "<aws.events.rule-name>"}',
        },
    )
    entry = {"Source": "mine", "DetailType": "Thing"}
    answer = events.put_events(
        Entries=[
            {**entry, "Detail": '{"n": 1}'},
            {**entry, "Detail": '{"n": 2}'},
            {**entry, "Detail": "no json"},
            {**entry, "Source": "aws.sagemaker", "Detail": "{}"},
        ]
    )
    assert answer["FailedEntryCount"] == 2
    assert [entry.get("ErrorCode") for entry in answer["Entries"]] == [
        None,
        None,
        "MalformedDetail",
        "NotAuthorizedForSourceException",
    ]
    assert queue.until(bool) == [{"got": 2, "rule": "r"}]


def test_rules_are_kept_listed_and_switched(events: Any, queue: Queue) -> None:
    arn = listen(events, queue, {"source": ["mine"]})
    events.put_rule(Name="other", EventPattern='{"source": ["x"]}', State="DISABLED")
    assert [rule["Name"] for rule in events.list_rules()["Rules"]] == ["other", "r"]
    page = events.list_rules(Limit=1)
    assert events.list_rules(NextToken=page["NextToken"])["Rules"][0]["Name"] == "r"
    assert events.list_rules(NamePrefix="o")["Rules"][0]["State"] == "DISABLED"
    events.disable_rule(Name="r")
    events.put_events(Entries=[{"Source": "mine", "DetailType": "off", "Detail": "{}"}])
    events.enable_rule(Name="r")
    events.put_events(Entries=[{"Source": "mine", "DetailType": "on", "Detail": "{}"}])
    assert [event["detail-type"] for event in queue.until(bool)] == ["on"]
    assert events.list_targets_by_rule(Rule="r")["Targets"] == [{"Id": "q", "Arn": queue.arn}]
    assert events.list_rule_names_by_target(TargetArn=queue.arn)["RuleNames"] == ["r"]
    events.tag_resource(ResourceARN=arn, Tags=[{"Key": "a", "Value": "b"}])
    assert events.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    events.untag_resource(ResourceARN=arn, TagKeys=["a"])
    assert events.describe_rule(Name="r")["Arn"] == arn
    assert events.describe_event_bus()["Name"] == "default"
    assert [bus["Name"] for bus in events.list_event_buses()["EventBuses"]] == ["default"]
    with pytest.raises(ClientError, match="it has targets"):
        events.delete_rule(Name="r")
    failed = events.remove_targets(Rule="r", Ids=["q", "none"])["FailedEntries"]
    assert [each["TargetId"] for each in failed] == ["none"]
    events.delete_rule(Name="r")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        events.describe_rule(Name="r")


def test_a_target_that_is_not_there_has_its_events_in_the_dead_letter_queue(
    events: Any, queue: Queue
) -> None:
    events.put_rule(Name="r", EventPattern='{"source": ["mine"]}')
    events.put_targets(
        Rule="r",
        Targets=[
            {
                "Id": "f",
                "Arn": "arn:aws:lambda:us-east-1:000000000000:function:none",
                "RetryPolicy": {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60},
                "DeadLetterConfig": {"Arn": queue.arn},
                "Input": '{"lost": true}',
            }
        ],
    )
    events.put_events(Entries=[{"Source": "mine", "DetailType": "x", "Detail": "{}"}])
    assert queue.until(bool) == [{"lost": True}]


def test_a_pattern_is_tried(events: Any) -> None:
    event = json.dumps({"source": "a", "id": "1", "detail": {}})
    assert events.test_event_pattern(EventPattern='{"source": ["a"]}', Event=event)["Result"]
    assert not events.test_event_pattern(EventPattern='{"source": ["b"]}', Event=event)["Result"]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"EventPattern": '{"source": "a"}'}, "InvalidEventPatternException"),
        ({"ScheduleExpression": "rate(1 hour)"}, "ValidationException"),
        ({}, "ValidationException"),
        ({"EventPattern": '{"source": ["a"]}', "EventBusName": "x"}, "ResourceNotFoundException"),
    ],
)
def test_rules_that_are_refused(events: Any, request_: dict[str, str], code: str) -> None:
    with pytest.raises(ClientError) as caught:
        events.put_rule(Name="r", **request_)
    assert caught.value.response["Error"]["Code"] == code
    assert events.list_rules()["Rules"] == []


def test_targets_that_are_refused(events: Any, queue: Queue) -> None:
    events.put_rule(Name="r", EventPattern='{"source": ["mine"]}')
    with pytest.raises(ClientError, match="Lambda functions and SQS queues"):
        events.put_targets(
            Rule="r", Targets=[{"Id": "1", "Arn": "arn:aws:sns:us-east-1:000000000000:topic"}]
        )
    six = [{"Id": str(number), "Arn": queue.arn} for number in range(6)]
    with pytest.raises(ClientError, match="LimitExceededException"):
        events.put_targets(Rule="r", Targets=six)
    assert "Targets" not in events.list_targets_by_rule(Rule="r")
