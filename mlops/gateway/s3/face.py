"""The REST face of the object store: S3 for any client, as a WSGI application.

Requests are not authenticated: whoever reaches the port may use it, signatures (version 2 and 4,
in headers, presigned or in chunks) are accepted unread.

A request is parsed (`request`), routed (`routes`), handled (`buckets`, `objects`, `listing`,
`multipart`), and every error of the store becomes S3's own here. Bodies stream in both
directions: memory does not grow with an object.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from mlops.errors import MlopsError, ServiceError
from mlops.gateway.s3.answers import (
    FileBody,
    Response,
    as_service_error,
    error_response,
    new_request_id,
)
from mlops.gateway.s3.request import S3Request, parse_request
from mlops.gateway.s3.routes import handler_for
from mlops.stores.objects.store import FileObjectStore

logger = logging.getLogger(__name__)

_REASONS = {
    200: "OK",
    204: "No Content",
    206: "Partial Content",
    304: "Not Modified",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    411: "Length Required",
    412: "Precondition Failed",
    416: "Requested Range Not Satisfiable",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    507: "Insufficient Storage",
}


class StartResponse(Protocol):
    """The part of PEP 3333 that is used here."""

    def __call__(self, status: str, headers: list[tuple[str, str]], /) -> object: ...


class S3Face:
    """A WSGI application over a `FileObjectStore`. Safe to call from several threads."""

    def __init__(self, store: FileObjectStore) -> None:
        self._store = store

    def __call__(
        self, environ: Mapping[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        request_id = new_request_id()
        response = self._respond(environ, request_id)
        is_head = environ["REQUEST_METHOD"] == "HEAD"
        headers = {
            "x-amz-request-id": request_id,
            "x-amz-id-2": "mlops",
            **response.headers,
        }
        # A 304 and a 204 have no body and no length (RFC 9110, 8.6).
        if response.status not in (204, 304) and "Content-Length" not in headers:
            headers["Content-Length"] = str(_length(response))
        reason = _REASONS.get(response.status, "Unknown")
        start_response(f"{response.status} {reason}", _latin(headers))
        return _body(response, is_head=is_head)

    def _respond(self, environ: Mapping[str, Any], request_id: str) -> Response:
        request: S3Request | None = None
        try:
            request = parse_request(environ)
            return handler_for(request)(self._store, request)
        except MlopsError as error:
            return self._failed(as_service_error(error), environ, request_id)
        except Exception:
            logger.exception("the S3 face failed; request %s", request_id)
            answer = ServiceError(
                "InternalError", "We encountered an internal error. See the log.", status=500
            )
            return self._failed(answer, environ, request_id)
        finally:
            if request is not None:
                request.body.drain()

    def _failed(self, error: ServiceError, environ: Mapping[str, Any], request_id: str) -> Response:
        resource = str(environ.get("REQUEST_URI") or environ.get("PATH_INFO", ""))
        return error_response(error, resource.partition("?")[0], request_id)


def _length(response: Response) -> int:
    return response.body.length if isinstance(response.body, FileBody) else len(response.body)


def _body(response: Response, *, is_head: bool) -> Iterable[bytes]:
    body = response.body
    if isinstance(body, FileBody):
        if is_head:
            body.close()
            return []
        return body
    return [] if is_head or not body else [body]


def _latin(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, value.encode().decode("latin-1")) for name, value in headers.items()]
