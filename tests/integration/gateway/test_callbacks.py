"""A pipeline that asks through a queue, as boto3 sees it: sqs and sagemaker over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest


def ask(url: str) -> dict[str, Any]:
    """What SDK v2's CallbackStep compiles to."""
    return {
        "Name": "Ask",
        "Type": "Callback",
        "Arguments": {"model": {"Get": "Execution.PipelineExecutionId"}},
        "SqsQueueUrl": url,
        "OutputParameters": [{"OutputName": "verdict", "OutputType": "String"}],
    }


@pytest.fixture
def sqs(aws: Callable[..., Any]) -> Any:
    return aws("sqs")


@pytest.fixture
def queue(sqs: Any) -> str:
    url: str = sqs.create_queue(QueueName="approvals")["QueueUrl"]
    return url


def read(sqs: Any, queue: str) -> dict[str, Any]:
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20)["Messages"]
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    body: dict[str, Any] = json.loads(message["Body"])
    return body


def test_an_answer_lets_the_pipeline_go_on(
    sagemaker: Any, sqs: Any, queue: str, start: Callable[..., str], ended: Callable[..., Any]
) -> None:
    arn = start(ask(queue))
    message = read(sqs, queue)
    assert message["arguments"] == {"model": arn.rpartition("/")[2]}
    answer = sagemaker.send_pipeline_execution_step_success(
        CallbackToken=message["token"],
        OutputParameters=[{"Name": "verdict", "Value": "good"}],
    )
    assert answer["PipelineExecutionArn"] == arn
    assert ended(arn)["PipelineExecutionStatus"] == "Succeeded"
    (step,) = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)[
        "PipelineExecutionSteps"
    ]
    assert step["Metadata"]["Callback"] == {
        "CallbackToken": message["token"],
        "SqsQueueUrl": queue,
        "OutputParameters": [{"Name": "verdict", "Value": "good"}],
    }


def test_a_failure_fails_it(
    sagemaker: Any, sqs: Any, queue: str, start: Callable[..., str], ended: Callable[..., Any]
) -> None:
    arn = start(ask(queue))
    sagemaker.send_pipeline_execution_step_failure(
        CallbackToken=read(sqs, queue)["token"], FailureReason="it is bad"
    )
    assert ended(arn)["PipelineExecutionStatus"] == "Failed"
    (step,) = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)[
        "PipelineExecutionSteps"
    ]
    assert "it is bad" in step["FailureReason"]


def test_errors_are_the_clients_exceptions(sagemaker: Any, sqs: Any, lab: SimpleNamespace) -> None:
    with pytest.raises(sagemaker.exceptions.ResourceNotFound):
        sagemaker.send_pipeline_execution_step_failure(CallbackToken="0123456789")
    with pytest.raises(sqs.exceptions.QueueDoesNotExist) as caught:
        sqs.get_queue_url(QueueName="none")
    code = caught.value.response["Error"]["Code"]
    assert code == "AWS.SimpleQueueService.NonExistentQueue"
