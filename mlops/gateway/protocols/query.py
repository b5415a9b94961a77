"""The AWS query protocol, as far as STS's flat answers need it: forms in, XML out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from html import escape  # xml.sax.saxutils has the same and imports urllib.request for it
from urllib.parse import parse_qsl
from uuid import uuid4

from mlops.errors import MlopsError, ServiceError
from mlops.gateway.wire import Environ, Response, read_body, service_error
from mlops.ports import JsonObject

CONTENT_TYPE = "text/xml"

_logger = logging.getLogger(__name__)


def answer(
    environ: Environ, namespace: str, handle: Callable[[str, JsonObject], JsonObject]
) -> Response:
    """Serve one request; ``Action`` names the operation."""
    try:
        form = read_form(environ)
        action = form.get("Action", "")
        result = handle(action, {k: v for k, v in form.items() if k not in ("Action", "Version")})
    except MlopsError as error:
        return error_answer(error, namespace)
    except Exception:  # the boundary: a fault of ours must not take the server down
        _logger.exception("a query request failed")
        failure = ServiceError("InternalFailure", "The gateway's log says how", status=500)
        return error_answer(failure, namespace)
    members = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in result.items())
    body = (
        f'<{action}Response xmlns="{namespace}"><{action}Result>{members}</{action}Result>'
        f"{_metadata()}</{action}Response>"
    )
    return Response(200, body.encode(), CONTENT_TYPE)


def read_form(environ: Environ) -> dict[str, str]:
    """The form of a request, from its body or, for a GET, its query string."""
    text = environ.get("QUERY_STRING", "")
    if environ["REQUEST_METHOD"] == "POST":
        text = read_body(environ).decode("utf-8", "replace")
    return dict(parse_qsl(text, keep_blank_values=True))


def error_answer(error: MlopsError, namespace: str = "") -> Response:
    told = service_error(error)
    kind = "Sender" if told.status < 500 else "Receiver"
    body = (
        f'<ErrorResponse xmlns="{namespace}"><Error><Type>{kind}</Type><Code>{escape(told.code)}'
        f"</Code><Message>{escape(str(told))}</Message></Error>"
        f"<RequestId>{uuid4()}</RequestId></ErrorResponse>"
    )
    return Response(told.status, body.encode(), CONTENT_TYPE)


def _metadata() -> str:
    return f"<ResponseMetadata><RequestId>{uuid4()}</RequestId></ResponseMetadata>"
