"""The AWS query protocol, as STS and IAM speak it: forms in, XML out.

A list in a form is ``Name.member.1``, ``Name.member.2``, …; in an answer its items are ``member``
elements.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from html import escape  # xml.sax.saxutils has the same and imports urllib.request for it
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

from mlops.errors import MlopsError, ServiceError
from mlops.gateway.wire import Environ, Response, StartResponse, read_body, service_error
from mlops.ports import JsonObject

CONTENT_TYPE = "text/xml"

_NO_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
_ITEM = re.compile(r"(?P<list>\w+)\.member\.(?P<number>\d{1,6})")

_logger = logging.getLogger(__name__)


def answer(
    environ: Environ, namespace: str, handle: Callable[[str, JsonObject], JsonObject]
) -> Response:
    """Serve one request; ``Action`` names the operation."""
    try:
        form = read_form(environ)
        action = form.get("Action", "")
        members = {k: v for k, v in form.items() if k not in ("Action", "Version")}
        result = handle(action, _with_lists(members))
    except MlopsError as error:
        return error_answer(error, namespace)
    except Exception:  # the boundary: a fault of ours must not take the server down
        _logger.exception("a query request failed")
        failure = ServiceError("InternalFailure", "The gateway's log says how", status=500)
        return error_answer(failure, namespace)
    body = (
        f'<{action}Response xmlns="{namespace}"><{action}Result>{_xml(result)}</{action}Result>'
        f"{_metadata()}</{action}Response>"
    )
    return Response(200, body.encode(), CONTENT_TYPE)


class QueryFace:
    """The WSGI application for a service that speaks this protocol and no other."""

    def __init__(self, namespace: str, handle: Callable[[str, JsonObject], JsonObject]) -> None:
        self._namespace = namespace
        self._handle = handle

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        return answer(environ, self._namespace, self._handle).send(start_response)


def read_form(environ: Environ) -> dict[str, str]:
    """The form of a request, from its body or, for a GET, its query string."""
    text = environ.get("QUERY_STRING", "")
    if environ["REQUEST_METHOD"] == "POST":
        text = read_body(environ).decode("utf-8", "replace")
    return dict(parse_qsl(text, keep_blank_values=True))


def _with_lists(form: dict[str, str]) -> JsonObject:
    """A form's members with its lists put together, in the order of their numbers."""
    lists: dict[str, dict[int, str]] = {}
    request: JsonObject = {}
    for key, value in form.items():
        match = _ITEM.fullmatch(key)
        if match is None:
            request[key] = value
        else:
            lists.setdefault(match["list"], {})[int(match["number"])] = value
    for name, items in lists.items():
        request[name] = [items[number] for number in sorted(items)]
    return request


def _xml(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"<{name}>{_xml(child)}</{name}>" for name, child in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{_xml(child)}</member>" for child in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    return xml_text(str(value))


def xml_text(text: str) -> str:
    """`text` inside an element; what XML 1.0 cannot hold becomes the replacement character."""
    return escape(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", text))


def error_answer(error: MlopsError, namespace: str = "") -> Response:
    told = service_error(error)
    kind = "Sender" if told.status < 500 else "Receiver"
    body = (
        f'<ErrorResponse xmlns="{namespace}"><Error><Type>{kind}</Type><Code>{xml_text(told.code)}'
        f"</Code><Message>{xml_text(str(told))}</Message></Error>"
        f"<RequestId>{uuid4()}</RequestId></ErrorResponse>"
    )
    return Response(told.status, body.encode(), CONTENT_TYPE)


def _metadata() -> str:
    return f"<ResponseMetadata><RequestId>{uuid4()}</RequestId></ResponseMetadata>"
