"""SQS, as far as callbacks need it: standard queues whose messages survive the gateway.

What a receiver has taken is hidden from others in this process's memory alone: after a restart it
is there again, which "at least once" allows. Every request is checked by botocore's model of sqs.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import md5
from uuid import uuid4

from mlops import aws_model
from mlops.errors import ServiceError
from mlops.ports import Clock, JsonObject, ResourceRecord, StateStore
from mlops.services.operation import Handler
from mlops.services.validation import checked_request
from mlops.settings import Settings

QUEUE, MESSAGE = "sqs-queue", "sqs-message"
DEFAULT_VISIBILITY_SECONDS = 30
LONGEST_WAIT_SECONDS = 20
LOOK_SECONDS = 0.5
LONGEST_BODY_BYTES = 1024 * 1024  # "Amazon SQS message quotas"
MOST_MESSAGES = 10
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ATTRIBUTES = {"VisibilityTimeout": "30", "DelaySeconds": "0", "MessageRetentionPeriod": "345600"}


@dataclass(slots=True)
class _Taken:
    """A message that a receiver has."""

    handle: str
    until: float
    times: int


class QueueService:
    """The queues of one gateway. Implements `mlops.ports.QueueHost`. Thread-safe."""

    def __init__(
        self,
        state: StateStore,
        settings: Settings,
        clock: Clock,
        url: str,
        leaving: threading.Event | None = None,
    ) -> None:
        """`url` is the gateway's own, at which queues have their addresses; once `leaving` is set,
        nobody is let wait for messages.
        """
        self._leaving = leaving or threading.Event()
        self._state = state
        self._settings = settings
        self._clock = clock
        self._url = url
        self._taken: dict[str, _Taken] = {}
        self._arrived = threading.Condition()
        self._handlers: Mapping[str, Handler] = {
            "CreateQueue": self._create,
            "GetQueueUrl": self._get_url,
            "ListQueues": self._list,
            "DeleteQueue": self._delete_queue,
            "PurgeQueue": self._purge,
            "GetQueueAttributes": self._get_attributes,
            "SendMessage": self._send,
            "ReceiveMessage": self._receive,
            "DeleteMessage": self._delete,
            "ChangeMessageVisibility": self._change_visibility,
        }

    def handle(self, operation: str, request: JsonObject) -> JsonObject:
        """Answer one operation.

        Raises:
            ServiceError: as SQS answers; ``NotImplemented`` (501) for an operation not here.
        """
        handler = self._handlers.get(operation)
        if handler is None:
            known = operation in aws_model.load_service("sqs").operation_names
            raise ServiceError(
                "NotImplemented" if known else "UnknownOperationException",
                f"The local gateway does not answer sqs {operation}; it answers "
                + ", ".join(self._handlers),
                status=501 if known else 400,
            )
        return handler(checked_request("sqs", operation, request))

    def send_message(self, request: JsonObject) -> JsonObject:
        """As `mlops.ports.QueueHost.send_message`."""
        return self.handle("SendMessage", request)

    # --- queues ---

    def _create(self, request: JsonObject) -> JsonObject:
        name, attributes = request["QueueName"], request.get("Attributes", {})
        if not _NAME.fullmatch(name):
            raise ServiceError(
                "InvalidParameterValue",
                "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in "
                "length (FIFO queues are not here)",
            )
        unknown = [each for each in attributes if each not in _ATTRIBUTES]
        if unknown:
            raise ServiceError(
                "InvalidAttributeName", f"The local gateway has no queue attribute {unknown[0]}"
            )
        if not all(str(value).isdecimal() for value in attributes.values()):
            raise ServiceError("InvalidAttributeValue", "Queue attributes here are whole numbers")
        wanted = _ATTRIBUTES | attributes
        present = self._state.get_resource(QUEUE, name)
        if present is not None and present.document["attributes"] != wanted:
            raise ServiceError(
                "QueueNameExists", f"A queue already exists with the same name, {name}, and others"
            )
        if present is None:
            now = self._clock.now()
            arn = f"arn:aws:sqs:{self._settings.region}:{self._settings.account_id}:{name}"
            self._state.put_resource(
                ResourceRecord(
                    kind=QUEUE,
                    name=name,
                    arn=arn,
                    created_at=now,
                    last_modified_at=now,
                    status="Active",
                    document={"attributes": wanted},
                )
            )
        return {"QueueUrl": self._url_of(name)}

    def _get_url(self, request: JsonObject) -> JsonObject:
        return {"QueueUrl": self._url_of(self._queue(request["QueueName"]).name)}

    def _list(self, request: JsonObject) -> JsonObject:
        prefix = request.get("QueueNamePrefix", "")
        names = [record.name for record in self._state.list_resources(QUEUE)]
        found = [self._url_of(name) for name in names if name.startswith(prefix)]
        return {"QueueUrls": found} if found else {}

    def _delete_queue(self, request: JsonObject) -> JsonObject:
        queue = self._addressed(request)
        with self._arrived, self._state.transaction():
            self._clear(queue.name)
            self._state.delete_resource(QUEUE, queue.name)
        return {}

    def clear(self) -> None:
        """Delete every queue and what is in it."""
        with self._arrived, self._state.transaction():
            for queue in self._state.list_resources(QUEUE):
                self._clear(queue.name)
                self._state.delete_resource(QUEUE, queue.name)

    def _purge(self, request: JsonObject) -> JsonObject:
        queue = self._addressed(request)
        with self._arrived, self._state.transaction():
            self._clear(queue.name)
        return {}

    def _clear(self, queue: str) -> None:
        for message in self._messages(queue):
            self._taken.pop(message.name, None)
            self._state.delete_resource(_kind(queue), message.name)

    def _get_attributes(self, request: JsonObject) -> JsonObject:
        queue = self._addressed(request)
        with self._arrived:
            messages = self._messages(queue.name)
            hidden = sum(self._is_hidden(message) for message in messages)
        attributes = {
            **queue.document["attributes"],
            "QueueArn": queue.arn,
            "ApproximateNumberOfMessages": str(len(messages) - hidden),
            "ApproximateNumberOfMessagesNotVisible": str(hidden),
            "ApproximateNumberOfMessagesDelayed": "0",
            "CreatedTimestamp": _seconds(queue.created_at),
            "LastModifiedTimestamp": _seconds(queue.last_modified_at),
        }
        wanted = request.get("AttributeNames", ())
        chosen = {
            name: value for name, value in attributes.items() if "All" in wanted or name in wanted
        }
        return {"Attributes": chosen} if chosen else {}

    # --- messages ---

    def _send(self, request: JsonObject) -> JsonObject:
        queue, body = self._addressed(request), request["MessageBody"]
        for member in ("DelaySeconds", "MessageAttributes", "MessageGroupId"):
            if request.get(member):
                raise ServiceError(
                    "UnsupportedOperation", f"The local gateway's queues have no {member}"
                )
        if not 0 < len(body.encode()) <= LONGEST_BODY_BYTES:
            raise ServiceError(
                "InvalidParameterValue",
                f"One or more parameters are invalid. Reason: Message must be 1 to "
                f"{LONGEST_BODY_BYTES} bytes long.",
            )
        now, name = self._clock.now(), str(uuid4())
        with self._arrived:
            self._state.put_resource(
                ResourceRecord(
                    kind=_kind(queue.name),
                    name=name,
                    arn=queue.arn,
                    created_at=now,
                    last_modified_at=now,
                    status="Sent",
                    document={"body": body},
                )
            )
            self._arrived.notify_all()
        return {"MessageId": name, "MD5OfMessageBody": _md5(body)}

    def _receive(self, request: JsonObject) -> JsonObject:
        queue = self._addressed(request)
        count = request.get("MaxNumberOfMessages", 1)
        wait = request.get("WaitTimeSeconds", 0)
        for name, value, low, high in (
            ("MaxNumberOfMessages", count, 1, MOST_MESSAGES),
            ("WaitTimeSeconds", wait, 0, LONGEST_WAIT_SECONDS),
        ):
            if not low <= value <= high:
                raise ServiceError(
                    "InvalidParameterValue",
                    f"Value {value} for parameter {name} is invalid. Reason: Must be between "
                    f"{low} and {high}, if provided.",
                )
        default = int(queue.document["attributes"]["VisibilityTimeout"])
        hidden_for = request.get("VisibilityTimeout", default)
        wanted = {
            *request.get("AttributeNames", ()),
            *request.get("MessageSystemAttributeNames", ()),
        }
        deadline = self._clock.monotonic() + wait
        with self._arrived:
            while not (messages := self._visible(queue.name)[:count]):
                left = deadline - self._clock.monotonic()
                if left <= 0 or self._leaving.is_set():
                    return {}
                # Hidden messages show themselves again, and the gateway may be leaving.
                self._arrived.wait(min(left, LOOK_SECONDS))
                queue = self._addressed(request)
            return {"Messages": [self._take(each, hidden_for, wanted) for each in messages]}

    def _take(self, message: ResourceRecord, hidden_for: int, wanted: set[str]) -> JsonObject:
        before = self._taken.get(message.name)
        taken = _Taken(
            f"{message.name}:{uuid4().hex}",
            self._clock.monotonic() + hidden_for,
            1 + (before.times if before else 0),
        )
        self._taken[message.name] = taken
        body = message.document["body"]
        attributes = {
            "SentTimestamp": str(int(message.created_at.timestamp() * 1000)),
            "ApproximateReceiveCount": str(taken.times),
        }
        chosen = {
            name: value for name, value in attributes.items() if "All" in wanted or name in wanted
        }
        return {
            "MessageId": message.name,
            "ReceiptHandle": taken.handle,
            "MD5OfBody": _md5(body),
            "Body": body,
            **({"Attributes": chosen} if chosen else {}),
        }

    def _delete(self, request: JsonObject) -> JsonObject:
        queue, name = self._addressed(request), _message_of(request["ReceiptHandle"])
        with self._arrived:
            # An older handle deletes too, and one of before a restart: as SQS, which need not.
            self._taken.pop(name, None)
            self._state.delete_resource(_kind(queue.name), name)
        return {}

    def _change_visibility(self, request: JsonObject) -> JsonObject:
        self._addressed(request)
        handle = request["ReceiptHandle"]
        with self._arrived:
            taken = self._taken.get(_message_of(handle))
            if taken is None or taken.handle != handle or taken.until <= self._clock.monotonic():
                raise ServiceError("MessageNotInflight", "The message is not in flight any more")
            taken.until = self._clock.monotonic() + request["VisibilityTimeout"]
            self._arrived.notify_all()
        return {}

    # --- looking up ---

    def _addressed(self, request: JsonObject) -> ResourceRecord:
        return self._queue(request["QueueUrl"].rstrip("/").rpartition("/")[2])

    def _queue(self, name: str) -> ResourceRecord:
        queue = self._state.get_resource(QUEUE, name)
        if queue is None:
            raise ServiceError(
                "QueueDoesNotExist", f"The specified queue does not exist: {name or 'no name'}"
            )
        return queue

    def _url_of(self, name: str) -> str:
        return f"{self._url.rstrip('/')}/{self._settings.account_id}/{name}"

    def _messages(self, queue: str) -> list[ResourceRecord]:
        return list(self._state.list_resources(_kind(queue)))

    def _visible(self, queue: str) -> list[ResourceRecord]:
        return [message for message in self._messages(queue) if not self._is_hidden(message)]

    def _is_hidden(self, message: ResourceRecord) -> bool:
        taken = self._taken.get(message.name)
        return taken is not None and taken.until > self._clock.monotonic()


def _kind(queue: str) -> str:
    """The messages of a queue are a kind of their own, so that listing one is looking at one."""
    return f"{MESSAGE}:{queue}"


def _message_of(handle: str) -> str:
    name, _, mark = handle.partition(":")
    if not name or not mark:
        raise ServiceError("ReceiptHandleIsInvalid", f"The receipt handle {handle!r} is not valid")
    return name


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def _seconds(moment: datetime) -> str:
    return str(int(moment.timestamp()))
