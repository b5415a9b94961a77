"""sagemaker-runtime on the wire: POST /endpoints/{EndpointName}/invocations.

A face of its own beside the other operations: the body of an answer is passed on while it comes,
and every millisecond counts.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Protocol
from urllib.parse import unquote

from mlops.errors import MlopsError, ServiceError
from mlops.gateway.protocols import rest_json
from mlops.gateway.protocols.refusal import refuse
from mlops.gateway.wire import Environ, StartResponse
from mlops.hosting.invocation import MOST_BYTES, InvocationAnswer
from mlops.ports import JsonObject

SERVICE = "sagemaker-runtime"
OPERATION = "InvokeEndpoint"
PREFIX = "/endpoints/"

_PATH = re.compile(r"/endpoints/(?P<EndpointName>[^/]+)/invocations/?")
_MOST_DRAINED_BYTES = 64 * 1024 * 1024
_DRAIN_BYTES = 256 * 1024

_logger = logging.getLogger(__name__)


class Invoking(Protocol):
    def invoke(self, request: JsonObject) -> InvocationAnswer: ...


class InvocationFace:
    """The WSGI application for everything below ``/endpoints/``."""

    def __init__(self, runtime: Invoking) -> None:
        self._runtime = runtime

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        match = _PATH.fullmatch(environ["PATH_INFO"])
        if match is None or environ["REQUEST_METHOD"] != "POST":
            return refuse(environ, SERVICE).send(start_response)
        try:
            body = _read_body(environ)
            in_path = {"EndpointName": unquote(match["EndpointName"])}
            request = rest_json.read_request(SERVICE, OPERATION, in_path, environ, body)
            answer = self._runtime.invoke(request)
        except MlopsError as error:
            return rest_json.error_answer(error).send(start_response)
        except Exception:  # the boundary: a fault of ours must not take the server down
            _logger.exception("%s failed", OPERATION)
            fault = ServiceError("InternalFailure", "The gateway's log says how", status=500)
            return rest_json.error_answer(fault).send(start_response)
        head = rest_json.answer_head(SERVICE, OPERATION, dict(answer.members))
        start_response(
            f"{head.status} {HTTPStatus(head.status).phrase}",
            [*head.headers, ("Content-Length", str(answer.length))],
        )
        return answer.body


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
