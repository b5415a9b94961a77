"""sqs on the wire: AWS JSON 1.0, operations by X-Amz-Target.

Clients that still speak the query protocol (botocore before 1.31.81) are told to update.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from http import HTTPStatus
from typing import Protocol

from mlops.gateway.protocols import json11
from mlops.gateway.protocols.refusal import refuse
from mlops.gateway.wire import Environ, Response, StartResponse
from mlops.ports import JsonObject

SERVICE = "sqs"
TARGET = "AmazonSQS"
CONTENT_TYPE = "application/x-amz-json-1.0"


class Queues(Protocol):
    def handle(self, operation: str, request: JsonObject) -> JsonObject: ...


class SqsFace:
    """The WSGI application for what is signed for sqs."""

    def __init__(self, service: Queues) -> None:
        self._service = service

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        prefix, _, operation = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")
        if prefix != TARGET:
            return refuse(environ, SERVICE).send(start_response)
        answer = json11.answer(environ, operation, self._service.handle)
        return _in_sqs_words(answer).send(start_response)


# The codes of the query protocol, which programs compare with (botocore: awsQueryCompatible).
_QUERY_CODES = {
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    "MessageNotInflight": "AWS.SimpleQueueService.MessageNotInflight",
    "UnsupportedOperation": "AWS.SimpleQueueService.UnsupportedOperation",
}


def _in_sqs_words(answer: Response) -> Response:
    headers = list(answer.headers)
    if answer.status != HTTPStatus.OK:
        code = json.loads(answer.body)["__type"]
        headers.append(("x-amzn-query-error", f"{_QUERY_CODES.get(code, code)};Sender"))
    return replace(answer, content_type=CONTENT_TYPE, headers=headers)
