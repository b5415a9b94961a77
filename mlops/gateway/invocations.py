"""sagemaker-runtime on the wire: POST /endpoints/{EndpointName}/invocations[-response-stream], and
async-invocations.

A face of its own beside the other operations: the body of an answer is passed on while it comes,
and every millisecond counts.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Protocol
from urllib.parse import unquote

from mlops.errors import MlopsError, ServiceError
from mlops.gateway.protocols import event_stream, rest_json
from mlops.gateway.protocols.refusal import refuse
from mlops.gateway.wire import Environ, StartResponse
from mlops.hosting.invocation import (
    MOST_BYTES,
    InvocationAnswer,
    PassedOn,
    StreamedAnswer,
    words_for,
)
from mlops.hosting.proxy import NoAnswer, TooSlow
from mlops.ports import JsonObject

SERVICE = "sagemaker-runtime"
OPERATION = "InvokeEndpoint"
STREAMING = "InvokeEndpointWithResponseStream"
ASYNC = "InvokeEndpointAsync"
PREFIX = "/endpoints/"

_PATH = re.compile(
    r"/endpoints/(?P<EndpointName>[^/]+)/"
    r"((?P<queued>async-invocations)|invocations(?P<stream>-response-stream)?)/?"
)
_MOST_DRAINED_BYTES = 64 * 1024 * 1024
_DRAIN_BYTES = 256 * 1024

_logger = logging.getLogger(__name__)


class Invoking(Protocol):
    def invoke(self, request: JsonObject) -> InvocationAnswer: ...
    def stream(self, request: JsonObject) -> StreamedAnswer: ...
    def invoke_async(self, request: JsonObject) -> JsonObject: ...


class InvocationFace:
    """The WSGI application for everything below ``/endpoints/``."""

    def __init__(self, runtime: Invoking) -> None:
        self._runtime = runtime

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        match = _PATH.fullmatch(environ["PATH_INFO"])
        if match is None or environ["REQUEST_METHOD"] != "POST":
            return refuse(environ, SERVICE).send(start_response)
        operation = STREAMING if match["stream"] else ASYNC if match["queued"] else OPERATION
        try:
            body = _read_body(environ)
            in_path = {"EndpointName": unquote(match["EndpointName"])}
            request = rest_json.read_request(SERVICE, operation, in_path, environ, body)
            if match["stream"]:
                return self._stream(request, start_response)
            if match["queued"]:
                made = self._runtime.invoke_async(request)
                return rest_json.answer(SERVICE, ASYNC, made).send(start_response)
            return self._invoke(request, start_response)
        except MlopsError as error:
            return rest_json.error_answer(error).send(start_response)
        except Exception:  # the boundary: a fault of ours must not take the server down
            _logger.exception("%s failed", operation)
            fault = ServiceError("InternalFailure", "The gateway's log says how", status=500)
            return rest_json.error_answer(fault).send(start_response)

    def _invoke(self, request: JsonObject, start_response: StartResponse) -> Iterable[bytes]:
        answer = self._runtime.invoke(request)
        head = rest_json.answer_head(SERVICE, OPERATION, dict(answer.members))
        start_response(
            f"{head.status} {HTTPStatus(head.status).phrase}",
            [*head.headers, ("Content-Length", str(answer.length))],
        )
        return answer.body

    def _stream(self, request: JsonObject, start_response: StartResponse) -> Iterable[bytes]:
        answer = self._runtime.stream(request)
        head = rest_json.answer_head(SERVICE, STREAMING, dict(answer.members))
        kept = [header for header in head.headers if header[0].lower() != "content-type"]
        start_response("200 OK", [*kept, ("Content-Type", event_stream.CONTENT_TYPE)])
        return _Parts(answer.body)


class _Parts:
    """A model's answer as the events of a stream; what breaks it off is its last event."""

    def __init__(self, body: PassedOn) -> None:
        self._body = body
        self._events = self._made()

    def __iter__(self) -> Iterator[bytes]:
        return self._events

    def close(self) -> None:
        self._body.close()

    def _made(self) -> Iterator[bytes]:
        try:
            for part in self._body:
                yield event_stream.event("PayloadPart", part)
        except (NoAnswer, TooSlow) as error:
            code = "ModelInvocationTimeExceeded" if isinstance(error, TooSlow) else "StreamBroken"
            document = {"Message": words_for(error), "ErrorCode": code}
            yield event_stream.exception("ModelStreamError", json.dumps(document).encode())


def _read_body(environ: Environ) -> bytes:
    """The body, or the refusal of one that is too long; read to its end for that, within reason.

    A client that is still sending when it is answered sees a broken connection, not the answer.
    """
    stream = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH")
    body: bytes = stream.read(min(int(length), MOST_BYTES + 1) if length else MOST_BYTES + 1)
    if len(body) <= MOST_BYTES:
        return body
    drained = len(body)
    while drained < _MOST_DRAINED_BYTES and (rest := stream.read(_DRAIN_BYTES)):
        drained += len(rest)
    raise ServiceError(
        "ValidationError",
        "1 validation error detected: Value at 'body' failed to satisfy constraint: Member must "
        f"have length less than or equal to {MOST_BYTES}",
    )
