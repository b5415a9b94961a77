"""Requests and responses of WSGI, and errors between this project's two sides."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeAlias

from mlops import errors
from mlops.errors import DefinitionError, MlopsError, Problem, ServiceError, UsageError
from mlops.ports import JsonObject

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Any]
WsgiApp: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]

MAXIMUM_BODY = 16 * 1024 * 1024
"""Bytes of a request to an operation; the largest, CreatePipeline, has 1 MiB of definition."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes
    content_type: str
    headers: Sequence[tuple[str, str]] = field(default_factory=tuple)

    def send(self, start_response: StartResponse) -> list[bytes]:
        start_response(
            f"{self.status} {HTTPStatus(self.status).phrase}",
            [
                ("Content-Type", self.content_type),
                ("Content-Length", str(len(self.body))),
                *self.headers,
            ],
        )
        return [self.body]


def json_response(
    document: object,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: Sequence[tuple[str, str]] = (),
) -> Response:
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(status, body, content_type, headers)


def read_body(environ: Environ) -> bytes:
    """The whole body of a request to an operation.

    Raises:
        ServiceError: it is too large (413).
    """
    stream = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH")
    if length and int(length) > MAXIMUM_BODY:
        raise ServiceError(
            "RequestEntityTooLargeException",
            f"The request has {length} bytes, {MAXIMUM_BODY} are allowed",
            status=413,
        )
    body: bytes = stream.read(int(length)) if length else stream.read(MAXIMUM_BODY)
    return body


# --- errors between gateway and client ---


def error_document(error: MlopsError) -> JsonObject:
    """An error as JSON, to become the same error on the other side."""
    document: JsonObject = {
        "type": type(error).__name__,
        "what": error.what,
        "where": error.where,
        "next_step": error.next_step,
    }
    if isinstance(error, ServiceError):
        document |= {"code": error.code, "status": error.status}
    if isinstance(error, DefinitionError):
        document["problems"] = [[problem.path, problem.message] for problem in error.problems]
    return document


def error_from(document: JsonObject) -> MlopsError:
    """The error that a document tells of. A type this version does not know is a MlopsError."""
    kind = getattr(errors, document["type"], MlopsError)
    what, where, next_step = document["what"], document.get("where"), document.get("next_step")
    if kind is ServiceError:
        return ServiceError(document["code"], what, status=document["status"])
    if kind is DefinitionError:
        problems = [Problem(path, message) for path, message in document["problems"]]
        return DefinitionError(problems, next_step=next_step)
    if not (isinstance(kind, type) and issubclass(kind, MlopsError)):
        kind = MlopsError
    made: MlopsError = kind(what, where=where, next_step=next_step)
    return made


def service_error(error: MlopsError) -> ServiceError:
    """Any of our errors as one that an AWS client understands.

    The status is one that botocore does not retry: what this machine lacks does not come by itself.
    """
    if isinstance(error, ServiceError):
        return error
    code = "ValidationException" if isinstance(error, UsageError) else type(error).__name__
    return ServiceError(code, str(error))
