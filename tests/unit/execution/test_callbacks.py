"""Callback steps: the message, the wait, the answer, and a gateway that goes meanwhile."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mlops.errors import DefinitionError, ServiceError
from mlops.execution.callbacks import Callbacks
from mlops.ports import ExecutionStatus, JsonObject, StepStatus
from mlops.services import QueueService
from mlops.settings import Settings
from mlops.stores.state import SqliteStateStore

from .house import Build, House, SystemClock, processing

QUEUE = "https://sqs.us-east-1.amazonaws.com/000000000000/approvals"


def callback(name: str = "Ask", **members: Any) -> JsonObject:
    step = {
        "Name": name,
        "Type": "Callback",
        "Arguments": {"question": "may it go?"},
        "SqsQueueUrl": QUEUE,
        "OutputParameters": [
            {"OutputName": "answer", "OutputType": "String"},
            {"OutputName": "count", "OutputType": "Integer"},
        ],
    }
    return step | members


class Asked:
    """A house with a queue, and somebody who reads it."""

    def __init__(self, build: Build, folder: Path) -> None:
        state = SqliteStateStore(folder / "state.db")
        self.queues = QueueService(state, Settings(), SystemClock(), "http://127.0.0.1:4566")
        self.queues.handle("CreateQueue", {"QueueName": "approvals"})
        self.house: House = build(state=state, queues=self.queues)

    def read(self, wait: int = 10) -> JsonObject:
        request = {"QueueUrl": QUEUE, "WaitTimeSeconds": wait}
        (message,) = self.queues.handle("ReceiveMessage", request)["Messages"]
        body: JsonObject = json.loads(message["Body"])
        return body


@pytest.fixture
def asked(build: Build, tmp_path: Path) -> Asked:
    return Asked(build, tmp_path)


def test_the_message_is_the_services(asked: Asked) -> None:
    execution = asked.house.start(callback())
    message = asked.read()
    assert message["pipelineExecutionArn"] == execution.arn
    assert message["arguments"] == {"question": "may it go?"}
    assert message["token"].isalnum()
    assert len(message["token"]) == 10
    step = asked.house.steps(execution)["Ask"]
    assert step.metadata["Callback"] == {"CallbackToken": message["token"], "SqsQueueUrl": QUEUE}
    asked.house.manager.stop(execution.arn)


def test_the_answer_gives_the_output_parameters(asked: Asked) -> None:
    seen: list[str] = []
    asked.house.runtime._behaviours = {"*": lambda job: seen.append(job.job.environment["COUNT"])}
    get = {"Get": "Steps.Ask.OutputParameters['count']"}
    execution = asked.house.start(callback(), processing(Environment={"COUNT": get}))
    token = asked.read()["token"]
    arn = asked.house.manager.callbacks.succeed(token, {"answer": "yes", "count": "7"})
    assert arn == execution.arn
    assert asked.house.end_of(execution).status is ExecutionStatus.SUCCEEDED
    step = asked.house.steps(execution)["Ask"]
    assert step.outputs == {"OutputParameters": {"answer": "yes", "count": 7}}
    assert step.metadata["Callback"]["OutputParameters"] == [
        {"Name": "answer", "Value": "yes"},
        {"Name": "count", "Value": "7"},
    ]
    assert seen == ["7"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"answer": "yes"}, "has no output parameter 'count'; it has answer"),
        ({"answer": "yes", "count": "many"}, "'count' of the callback's answer is no Integer"),
    ],
)
def test_an_answer_that_lacks_a_parameter_fails_the_step(
    asked: Asked, values: dict[str, str], words: str
) -> None:
    execution = asked.house.start(callback())
    asked.house.manager.callbacks.succeed(asked.read()["token"], values)
    assert asked.house.end_of(execution).status is ExecutionStatus.FAILED
    assert words in (asked.house.steps(execution)["Ask"].failure_reason or "")


def test_a_failure_is_the_steps(asked: Asked) -> None:
    execution = asked.house.start(callback())
    asked.house.manager.callbacks.fail(asked.read()["token"], "nobody wants it")
    asked.house.end_of(execution)
    step = asked.house.steps(execution)["Ask"]
    assert step.status is StepStatus.FAILED
    assert "answered with a failure: nobody wants it" in (step.failure_reason or "")


def test_a_token_that_nobody_waits_for_is_refused(asked: Asked) -> None:
    callbacks = asked.house.manager.callbacks
    with pytest.raises(ServiceError, match="No pipeline step waits") as caught:
        callbacks.succeed("0123456789", {})
    assert caught.value.code == "ResourceNotFound"
    execution = asked.house.start(callback())
    token = asked.read()["token"]
    asked.house.manager.callbacks.succeed(token, {"answer": "yes", "count": "1"})
    asked.house.end_of(execution)
    with pytest.raises(ServiceError, match="No pipeline step waits"):
        callbacks.fail(token, None)


@pytest.mark.parametrize("answer", ["succeed", "fail"])
def test_a_stop_waits_for_the_answer_and_tells_the_queue(asked: Asked, answer: str) -> None:
    execution = asked.house.start(callback(), processing(DependsOn=["Ask"]))
    first = asked.read()
    asked.house.manager.stop(execution.arn)
    second = asked.read()
    assert second == first | {"Status": "Stopping", "status": "Stopping"}
    now = asked.house.state.get_execution(execution.arn)
    assert now is not None
    assert now.status is ExecutionStatus.STOPPING
    callbacks = asked.house.manager.callbacks
    if answer == "succeed":
        callbacks.succeed(second["token"], {"answer": "yes", "count": "1"})
    else:
        callbacks.fail(second["token"], "cleaned up")
    assert asked.house.end_of(execution).status is ExecutionStatus.STOPPED
    steps = asked.house.steps(execution)
    assert {name: step.status for name, step in steps.items()} == {"Ask": StepStatus.STOPPED}


def test_a_stop_without_the_queue_waits_for_nobody(asked: Asked) -> None:
    execution = asked.house.start(callback())
    asked.read()
    asked.queues.handle("DeleteQueue", {"QueueUrl": QUEUE})
    asked.house.manager.stop(execution.arn)
    assert asked.house.end_of(execution).status is ExecutionStatus.STOPPED


def test_a_gateway_that_leaves_waits_for_no_answer(asked: Asked) -> None:
    execution = asked.house.start(callback())
    asked.read()
    asked.house.manager.close()
    ended = asked.house.state.get_execution(execution.arn)
    assert ended is not None
    assert ended.status is ExecutionStatus.STOPPED


def test_a_queue_that_is_not_there_fails_the_step(asked: Asked) -> None:
    execution = asked.house.run(callback(SqsQueueUrl="https://sqs/1/nothing"))
    reason = asked.house.steps(execution)["Ask"].failure_reason or ""
    assert reason.startswith("ClientError: Failed to invoke sqs:SendMessage. Error Details: ")
    assert "The specified queue does not exist" in reason


def test_an_answer_that_comes_without_a_gateway_is_kept(tmp_path: Path) -> None:
    state = SqliteStateStore(tmp_path / "state.db")
    before = Callbacks(state, SystemClock())
    token, unsent = before.open("arn:execution", "Ask")
    assert unsent
    assert before.open("arn:execution", "Ask") == (token, True)
    before.sent(token)
    Callbacks(state, SystemClock()).succeed(token, {"answer": "yes"})
    after = Callbacks(state, SystemClock())
    assert after.open("arn:execution", "Ask") == (token, False)
    answer = after.wait(token, threading.Event(), 0.0)
    assert answer is not None
    assert answer.document["values"] == {"answer": "yes"}
    with pytest.raises(ServiceError, match="answered already"):
        after.fail(token, None)
    after.close(token)
    assert after.open("arn:execution", "Ask")[1]
    state.close()


def test_nobody_waits_for_ever(tmp_path: Path) -> None:
    state = SqliteStateStore(tmp_path / "state.db")
    callbacks = Callbacks(state, SystemClock())
    token, _ = callbacks.open("arn:execution", "Ask")
    started = time.monotonic()
    assert callbacks.wait(token, threading.Event(), 0.2) is None
    assert 0.15 < time.monotonic() - started < 5
    state.close()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"SqsQueueUrl": 7}, "SqsQueueUrl must be a string or a function"),
        ({"OutputParameters": [{"OutputName": "a", "OutputType": "Text"}]}, "no output type"),
        ({"RetryPolicies": []}, "RetryPolicies"),
    ],
)
def test_a_wrong_definition_is_refused(asked: Asked, members: JsonObject, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        asked.house.start(callback(**members))


def test_a_parameter_that_is_not_declared_is_refused(asked: Asked) -> None:
    get = {"Get": "Steps.Ask.OutputParameters['cuont']"}
    with pytest.raises(DefinitionError, match=r"no output parameter 'cuont'.*count"):
        asked.house.start(callback(), processing(Environment={"COUNT": get}))
