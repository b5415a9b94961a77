"""AWS JSON 1.1: the operation in X-Amz-Target, request and answer as JSON, errors by ``__type``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from uuid import uuid4

from mlops.errors import MlopsError, ServiceError
from mlops.gateway.wire import (
    Environ,
    Response,
    error_document,
    json_response,
    read_body,
    service_error,
)
from mlops.json_text import parse_json
from mlops.ports import JsonObject

CONTENT_TYPE = "application/x-amz-json-1.1"
CAUSE = "MlopsError"
"""The member of an error answer that tells our own client what was behind it."""

_logger = logging.getLogger(__name__)


def answer(
    environ: Environ, operation: str, handle: Callable[[str, JsonObject], JsonObject]
) -> Response:
    """Serve one request. An unexpected error is logged whole and answered as InternalFailure."""
    try:
        document = handle(operation, _request(read_body(environ)))
    except MlopsError as error:
        return error_answer(error)
    except Exception:  # the boundary: a fault of ours must not take the server down
        _logger.exception("%s failed", operation)
        return error_answer(
            ServiceError(
                "InternalFailure",
                f"{operation} failed inside the gateway: the gateway's log says how",
                status=500,
            )
        )
    return json_response(document, content_type=CONTENT_TYPE, headers=_request_id())


def error_answer(error: MlopsError) -> Response:
    told = service_error(error)
    cause = error.__cause__ if isinstance(error, ServiceError) else error
    document: JsonObject = {"__type": told.code, "message": str(told), "Message": str(told)}
    if isinstance(cause, MlopsError):
        document[CAUSE] = error_document(cause)
    return json_response(
        document, status=told.status, content_type=CONTENT_TYPE, headers=_request_id()
    )


def _request(body: bytes) -> JsonObject:
    try:
        document = parse_json(body or b"{}")
    except ValueError as error:
        raise ServiceError(
            "SerializationException", f"The request's body is not JSON: {error}"
        ) from error
    if not isinstance(document, dict):
        raise ServiceError("SerializationException", "The request's body is no JSON object")
    return document


def _request_id() -> list[tuple[str, str]]:
    return [("x-amzn-RequestId", str(uuid4()))]
