"""SQS as far as callbacks need it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops.clock import SystemClock
from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.services import QueueService
from mlops.settings import Settings
from mlops.stores.state import SqliteStateStore

URL = "http://127.0.0.1:4566"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SqliteStateStore]:
    store = SqliteStateStore(tmp_path / "state.db")
    yield store
    store.close()


@pytest.fixture
def queues(state: SqliteStateStore) -> QueueService:
    service = QueueService(state, Settings(), SystemClock(), URL)
    service.handle("CreateQueue", {"QueueName": "q"})
    return service


def send(queues: QueueService, *bodies: str) -> None:
    for body in bodies:
        queues.send_message({"QueueUrl": f"{URL}/000000000000/q", "MessageBody": body})


def receive(queues: QueueService, **more: int) -> list[JsonObject]:
    answer = queues.handle("ReceiveMessage", {"QueueUrl": "x/q", **more})
    messages: list[JsonObject] = answer.get("Messages", [])
    return messages


def test_a_message_comes_once_until_its_time_is_over(queues: QueueService) -> None:
    send(queues, "one", "two")
    first, second = receive(queues, MaxNumberOfMessages=10, VisibilityTimeout=0)
    assert (first["Body"], second["Body"]) == ("one", "two")
    (again,) = receive(queues, VisibilityTimeout=60)
    assert (again["MessageId"], again["Body"]) == (first["MessageId"], "one")
    assert [each["Body"] for each in receive(queues, MaxNumberOfMessages=10)] == ["two"]
    assert receive(queues) == []


def test_a_deleted_message_is_gone(queues: QueueService) -> None:
    send(queues, "one")
    (message,) = receive(queues)
    request = {"QueueUrl": "x/q", "ReceiptHandle": message["ReceiptHandle"]}
    assert queues.handle("DeleteMessage", request) == {}
    queues.handle("DeleteMessage", request)  # again: SQS says nothing
    attributes = queues.handle(
        "GetQueueAttributes", {"QueueUrl": "x/q", "AttributeNames": ["All"]}
    )["Attributes"]
    assert attributes["ApproximateNumberOfMessages"] == "0"
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "0"
    assert attributes["QueueArn"].endswith(":q")


def test_visibility_can_be_changed(queues: QueueService) -> None:
    send(queues, "one")
    (message,) = receive(queues, VisibilityTimeout=60)
    request = {"QueueUrl": "x/q", "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
    queues.handle("ChangeMessageVisibility", request)
    assert len(receive(queues)) == 1
    with pytest.raises(ServiceError, match="not in flight"):
        queues.handle("ChangeMessageVisibility", request)


def test_messages_survive_the_gateway(queues: QueueService, state: SqliteStateStore) -> None:
    send(queues, "one")
    receive(queues)
    after = QueueService(state, Settings(), SystemClock(), URL)
    assert [each["Body"] for each in receive(after)] == ["one"]


def test_purge_and_delete(queues: QueueService) -> None:
    send(queues, "one")
    queues.handle("PurgeQueue", {"QueueUrl": "x/q"})
    assert receive(queues) == []
    assert queues.handle("ListQueues", {})["QueueUrls"] == [f"{URL}/000000000000/q"]
    queues.handle("DeleteQueue", {"QueueUrl": "x/q"})
    assert queues.handle("ListQueues", {}) == {}
    with pytest.raises(ServiceError, match="does not exist") as caught:
        queues.handle("GetQueueUrl", {"QueueName": "q"})
    assert caught.value.code == "QueueDoesNotExist"


@pytest.mark.parametrize(
    ("operation", "request_", "code"),
    [
        ("CreateQueue", {"QueueName": "a.fifo"}, "InvalidParameterValue"),
        ("CreateQueue", {"QueueName": "a", "Attributes": {"Policy": "x"}}, "InvalidAttributeName"),
        (
            "CreateQueue",
            {"QueueName": "q", "Attributes": {"VisibilityTimeout": "7"}},
            "QueueNameExists",
        ),
        ("SendMessage", {"QueueUrl": "x/q", "MessageBody": ""}, "InvalidParameterValue"),
        ("SendMessage", {"QueueUrl": "x/none", "MessageBody": "m"}, "QueueDoesNotExist"),
        ("SendMessage", {"QueueUrl": "x/q"}, "ValidationException"),
        ("ReceiveMessage", {"QueueUrl": "x/q", "MaxNumberOfMessages": 11}, "InvalidParameterValue"),
        ("DeleteMessage", {"QueueUrl": "x/q", "ReceiptHandle": "x"}, "ReceiptHandleIsInvalid"),
        ("TagQueue", {}, "NotImplemented"),
        ("Nothing", {}, "UnknownOperationException"),
    ],
)
def test_refusals(queues: QueueService, operation: str, request_: JsonObject, code: str) -> None:
    with pytest.raises(ServiceError) as caught:
        queues.handle(operation, request_)
    assert caught.value.code == code
