"""lambda on the wire: REST-JSON, operations by method and path."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from mlops.errors import ServiceError
from mlops.gateway.protocols import rest_json
from mlops.gateway.protocols.refusal import refuse
from mlops.gateway.wire import Environ, Response, StartResponse
from mlops.ports import JsonObject

SERVICE = "lambda"
MOST_BYTES = 70_167_211
"""Of a request's body: a zip of 50 MB in base64, and what goes with it ("Lambda quotas")."""
_DRAIN_BYTES = 256 * 1024


class Lambda(Protocol):
    def handle(self, operation: str, request: JsonObject) -> JsonObject: ...


class LambdaFace:
    """The WSGI application for what is signed for lambda."""

    def __init__(self, service: Lambda) -> None:
        self._service = service

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        found = rest_json.find_operation(
            SERVICE, environ["REQUEST_METHOD"], _path(environ), environ.get("QUERY_STRING", "")
        )
        if found is None:
            return refuse(environ, SERVICE).send(start_response)
        operation, in_path = found
        answer = rest_json.guarded(operation, lambda: self._answer(operation, in_path, environ))
        return answer.send(start_response)

    def _answer(self, operation: str, in_path: dict[str, str], environ: Environ) -> Response:
        body = _read_body(environ, operation)
        request = rest_json.read_request(SERVICE, operation, in_path, environ, body)
        return rest_json.answer(SERVICE, operation, self._service.handle(operation, request))


def _path(environ: Environ) -> str:
    """Some of the model's paths end in a slash, and clients differ about it."""
    path: str = environ["PATH_INFO"]
    return path.rstrip("/") if path.startswith("/2015-03-31/functions") else path


def _read_body(environ: Environ, operation: str) -> bytes:
    stream = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH")
    body: bytes = stream.read(min(int(length), MOST_BYTES + 1) if length else MOST_BYTES + 1)
    if len(body) <= MOST_BYTES:
        return body
    while stream.read(_DRAIN_BYTES):
        pass  # a client that is still sending would see a broken connection, not the answer
    raise ServiceError(
        "RequestEntityTooLargeException",
        f"Request must be smaller than {MOST_BYTES} bytes for the {operation} operation",
        status=413,
    )
