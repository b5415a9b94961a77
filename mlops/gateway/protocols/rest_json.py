"""AWS REST-JSON, server side, by botocore's service models.

The operation is in the method and the path. A request's members are in the path, the query string,
the headers or the body, each where the model says; an answer's likewise. Errors are named by the
header ``x-amzn-ErrorType``.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs, parse_qsl
from uuid import uuid4

from mlops.aws_model import load_service, load_shape
from mlops.errors import MlopsError, ServiceError
from mlops.gateway.wire import Environ, Response, error_document, json_response, service_error
from mlops.json_text import parse_json
from mlops.ports import JsonObject

CONTENT_TYPE = "application/json"
CAUSE = "MlopsError"
"""The member of an error answer that tells our own client what was behind it."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of a service, and the requests that are for it."""

    operation: str
    method: str
    path: re.Pattern[str]
    query: tuple[tuple[str, str], ...] = ()
    """What the query string has to hold: ``?List=ALL`` tells one operation from another."""


def find_operation(
    service: str, method: str, path: str, query: str = ""
) -> tuple[str, dict[str, str]] | None:
    """The operation that a request is for, and the members in its path; None where there is none.

    `path` is decoded, as WSGI gives it; `query` is the query string as it was sent.
    """
    given = set(parse_qsl(query, keep_blank_values=True))
    for route in _routes(service):
        match = route.path.fullmatch(path)
        if match is not None and route.method == method and given.issuperset(route.query):
            return route.operation, match.groupdict()
    return None


@cache
def _routes(service: str) -> tuple[Route, ...]:
    model = load_service(service)
    found = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        path, _, query = http["requestUri"].partition("?")
        required = tuple(parse_qsl(query, keep_blank_values=True))
        found.append(Route(name, http["method"], _pattern(path), required))
    # The most specific first: a label matches what a fixed part does, too.
    return tuple(sorted(found, key=_breadth))


def _breadth(route: Route) -> tuple[int, int]:
    return route.path.pattern.count("(?P<"), -len(route.query)


def _pattern(uri: str) -> re.Pattern[str]:
    parts = re.split(r"(\{[^}]+\})", uri)
    return re.compile(
        "".join(_label(part) if part[:1] == "{" else re.escape(part) for part in parts)
    )


def _label(part: str) -> str:
    name = part.strip("{}")
    return f"(?P<{name.rstrip('+')}>.+)" if name.endswith("+") else f"(?P<{name}>[^/]+)"


# --- requests ----------------------------------------------------------------------------------


def read_request(
    service: str, operation: str, in_path: Mapping[str, str], environ: Environ, body: bytes
) -> JsonObject:
    """A request's members, under their names in botocore's model.

    Raises:
        ServiceError: ``SerializationException``: a part of it cannot be read.
    """
    shape: Any = load_shape(service, operation)
    if shape is None:
        return {}
    payload = shape.serialization.get("payload")
    in_body = _body_members(shape, payload, body)
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    request: JsonObject = {}
    for name, member in shape.members.items():
        place = member.serialization.get("location")
        wire_name = member.serialization.get("name", name)
        value: Any = None
        if place == "uri":
            value = _from_text(member, in_path.get(wire_name), name)
        elif place == "querystring":
            value = _from_query(member, query.get(wire_name), name)
        elif place == "header":
            value = _from_text(member, _header(environ, wire_name), name)
        elif place is None:
            value = in_body.get(name)
        if value is not None:
            request[name] = value
    return request


def _body_members(shape: Any, payload: str | None, body: bytes) -> JsonObject:
    if payload is None:
        return _structure(shape, _json(body)) if body else {}
    member = shape.members[payload]
    if member.type_name == "blob":
        return {payload: body}
    if member.type_name == "string":
        return {payload: body.decode("utf-8", "replace")}
    return {payload: _structure(member, _json(body))} if body else {}


def _json(body: bytes) -> JsonObject:
    try:
        document = parse_json(body)
    except ValueError as error:
        raise _unreadable(f"The request's body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise _unreadable("The request's body is no JSON object")
    return document


def _structure(shape: Any, value: JsonObject) -> JsonObject:
    """A JSON object under the model's names. What the model does not know stays for its checks."""
    by_wire_name = {
        member.serialization.get("name", name): (name, member)
        for name, member in shape.members.items()
    }
    made: JsonObject = {}
    for wire_name, child in value.items():
        name, member = by_wire_name.get(wire_name, (wire_name, None))
        made[name] = child if member is None else _from_json(member, child)
    return made


def _from_json(shape: Any, value: Any) -> Any:
    kind = shape.type_name
    if kind == "blob" and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise _unreadable(f"A value is not base64: {error}") from error
    if kind == "structure" and isinstance(value, dict):
        return _structure(shape, value)
    if kind == "list" and isinstance(value, list):
        return [_from_json(shape.member, child) for child in value]
    if kind == "map" and isinstance(value, dict):
        return {key: _from_json(shape.value, child) for key, child in value.items()}
    return value


def _header(environ: Environ, name: str) -> str | None:
    key = name.upper().replace("-", "_")
    found = environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}")
    return found or None


def _from_query(shape: Any, values: list[str] | None, name: str) -> Any:
    if values is None:
        return None
    if shape.type_name == "list":
        return [_from_text(shape.member, value, name) for value in values]
    return _from_text(shape, values[0], name)


def _from_text(shape: Any, text: str | None, name: str) -> Any:
    if text is None:
        return None
    kind = shape.type_name
    try:
        if kind in ("integer", "long"):
            return int(text)
        if kind in ("float", "double"):
            return float(text)
    except ValueError as error:
        raise _unreadable(f"{name} is {text!r}, not a number") from error
    if kind == "boolean":
        return text.lower() == "true"
    return text


def _unreadable(message: str) -> ServiceError:
    return ServiceError("SerializationException", message)


# --- answers -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """An answer without its body: what `status` and headers say."""

    status: int
    headers: tuple[tuple[str, str], ...]


def answer_head(service: str, operation: str, members: JsonObject) -> AnswerHead:
    """The members of an answer that travel in its head, and the status."""
    shape: Any = load_shape(service, operation, output=True)
    model = load_service(service).operation_model(operation)
    status = model.http.get("responseCode", 200)
    headers = []
    for name, member in ({} if shape is None else shape.members).items():
        value = members.get(name)
        if value is None:
            continue
        match member.serialization.get("location"):
            case "statusCode":
                status = value
            case "header":
                headers.append((member.serialization.get("name", name), _as_text(value)))
    return AnswerHead(status, (*headers, *request_id()))


def answer(service: str, operation: str, members: JsonObject) -> Response:
    """A whole answer; its members are ready for JSON (``services.answers.wire_answer``)."""
    shape: Any = load_shape(service, operation, output=True)
    head = answer_head(service, operation, members)
    if shape is None:
        return Response(head.status, b"", CONTENT_TYPE, head.headers)
    payload = shape.serialization.get("payload")
    if payload is None:
        in_body = {
            member.serialization.get("name", name): _to_json(member, members[name])
            for name, member in shape.members.items()
            if "location" not in member.serialization and members.get(name) is not None
        }
        return json_response(in_body, status=head.status, headers=head.headers)
    value, member = members.get(payload), shape.members[payload]
    if member.type_name in ("blob", "string"):
        data = value.encode() if isinstance(value, str) else value or b""
        return Response(head.status, data, _content_type(head), _without_content_type(head))
    return json_response(_to_json(member, value or {}), status=head.status, headers=head.headers)


def _to_json(shape: Any, value: Any) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return {
            member.serialization.get("name", name): _to_json(member, value[name])
            for name, member in shape.members.items()
            if value.get(name) is not None
        }
    if kind == "list":
        return [_to_json(shape.member, child) for child in value]
    if kind == "map":
        return {key: _to_json(shape.value, child) for key, child in value.items()}
    if kind == "blob" and isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _content_type(head: AnswerHead) -> str:
    names = {name.lower(): value for name, value in head.headers}
    return names.get("content-type", "application/octet-stream")


def _without_content_type(head: AnswerHead) -> tuple[tuple[str, str], ...]:
    return tuple(header for header in head.headers if header[0].lower() != "content-type")


# --- errors ------------------------------------------------------------------------------------


def error_answer(error: MlopsError) -> Response:
    """An error as botocore reads it; ``members`` of its own are members of the answer."""
    told = service_error(error)
    cause = error.__cause__ if isinstance(error, ServiceError) else error
    document: JsonObject = {
        "__type": told.code,
        "message": str(told),
        "Message": str(told),
        **getattr(error, "members", {}),
    }
    if isinstance(cause, MlopsError):
        document[CAUSE] = error_document(cause)
    headers = [("x-amzn-ErrorType", told.code), *request_id()]
    return json_response(document, status=told.status, headers=headers)


def guarded(name: str, answer_it: Callable[[], Response]) -> Response:
    """Answer, whatever happens: an unexpected error is logged whole and told as InternalFailure."""
    try:
        return answer_it()
    except MlopsError as error:
        return error_answer(error)
    except Exception:  # the boundary: a fault of ours must not take the server down
        _logger.exception("%s failed", name)
        return error_answer(
            ServiceError(
                "InternalFailure",
                f"{name} failed inside the gateway: the gateway's log says how",
                status=500,
            )
        )


def request_id() -> Iterator[tuple[str, str]]:
    yield "x-amzn-RequestId", str(uuid4())
