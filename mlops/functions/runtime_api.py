"""The Lambda Runtime API, 2018-06-01, for one execution environment of a function.

AWS's documentation: "Using the Lambda runtime API for custom runtimes"; the wording of refusals is
that of AWS's own implementation (aws-lambda-runtime-interface-emulator, ``lambda/rapi``). Each
environment has a port of its own, as AWS_LAMBDA_RUNTIME_API is host and port alone: whose request
it is can be told by nothing else. Extensions, telemetry and SnapStart have no API here (404).
"""

from __future__ import annotations

import asyncio
import json
import re
import socket

from mlops.functions.exchange import (
    MAXIMUM_RESPONSE,
    AnswerTooLarge,
    Exchange,
    Invocation,
    UnknownInvocation,
    WrongMove,
)
from mlops.functions.http import EventLoop, HttpServer, Request, Response

PREFIX = "/2018-06-01/runtime/"
_INVOCATION = re.compile(rf"{PREFIX}invocation/([^/]+)/(response|error)")
_WITH_CAUSE = "application/vnd.aws.lambda.error.cause+json"
_UNKNOWN_TYPE = "Runtime.Unknown"

_ACCEPTED = Response.of_json(202, {"status": "OK"})


class RuntimeApi:
    """Serves one `Exchange` over HTTP, from construction to `close`."""

    def __init__(self, loop: EventLoop, exchange: Exchange, host: str, job_host: str) -> None:
        """Listen on a free port of `host`, which the function reaches as `job_host`."""
        self._loop = loop
        self._exchange = exchange
        bound = socket.socket()
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.bind((host, 0))
        port = bound.getsockname()[1]
        self.address = f"{job_host}:{port}"
        """What AWS_LAMBDA_RUNTIME_API has to be."""
        self._server = HttpServer(loop, bound, self._answer, MAXIMUM_RESPONSE)

    def close(self) -> None:
        self._server.close()

    async def _answer(self, request: Request) -> Response:
        if "origin" in request.headers:
            # A browser carries out what any web page says; no runtime names an Origin.
            return _refusal(403, "Forbidden", "The Runtime API answers runtimes, not web pages")
        try:
            return await self._route(request)
        except UnknownInvocation as error:
            return _refusal(400, "InvalidRequestID", error.what)
        except WrongMove as error:
            return _refusal(403, "InvalidStateTransition", error.what)
        except AnswerTooLarge as error:
            return _refusal(413, "RequestEntityTooLarge", error.what)

    async def _route(self, request: Request) -> Response:
        if request.path == f"{PREFIX}invocation/next":
            return await self._next() if request.method == "GET" else _WRONG_METHOD
        if request.path == f"{PREFIX}init/error":
            return self._init_error(request) if request.method == "POST" else _WRONG_METHOD
        found = _INVOCATION.fullmatch(request.path)
        if found is None:
            return _refusal(404, "NotFound", f"There is no {request.path} in the Runtime API")
        if request.method != "POST":
            return _WRONG_METHOD
        request_id, kind = found.groups()
        if kind == "response":
            return self._response(request_id, request)
        return self._error(request_id, request)

    async def _next(self) -> Response:
        waiting: asyncio.Future[Invocation] = asyncio.get_running_loop().create_future()

        def settle(invocation: Invocation) -> None:
            if not waiting.done():
                waiting.set_result(invocation)

        def deliver(invocation: Invocation) -> None:
            self._loop.call(settle, invocation)

        self._exchange.ask_next(deliver)
        try:
            invocation = await waiting
        except asyncio.CancelledError:
            self._exchange.withdraw(deliver)
            raise
        return Response(200, invocation.payload, invocation_headers(invocation))

    def _response(self, request_id: str, request: Request) -> Response:
        mode = request.headers.get("lambda-runtime-function-response-mode", "")
        if mode not in ("", "streaming"):  # a streamed answer is collected, as Invoke does
            return _refusal(400, "InvalidFunctionResponseMode", "Invalid function response mode")
        self._exchange.respond(request_id, request.body, too_large=request.too_large)
        return _ACCEPTED

    def _error(self, request_id: str, request: Request) -> Response:
        self._exchange.fail(request_id, error_body(request), error_type(request))
        return _ACCEPTED

    def _init_error(self, request: Request) -> Response:
        self._exchange.fail_init(request.body, error_type(request))
        return _ACCEPTED


def invocation_headers(invocation: Invocation) -> dict[str, str]:
    """The headers with which a runtime gets an invocation."""
    headers = {
        "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
        "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
        "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
        "Lambda-Runtime-Trace-Id": invocation.trace_id,
    }
    if invocation.client_context is not None:
        headers["Lambda-Runtime-Client-Context"] = invocation.client_context
    return headers


def error_type(request: Request) -> str:
    """What kind of error a runtime reports: by its header, else by the document's ``errorType``."""
    told = request.headers.get("lambda-runtime-function-error-type")
    if told:
        return told
    document = _document(request.body)
    found = document.get("errorType") if isinstance(document, dict) else None
    return found if isinstance(found, str) and found else _UNKNOWN_TYPE


def error_body(request: Request) -> bytes:
    """What the client gets of an error: all of it, but for an X-Ray cause within the document."""
    if request.headers.get("content-type") != _WITH_CAUSE:
        return request.body
    document = _document(request.body)
    if not isinstance(document, dict):
        return json.dumps("Invalid error body").encode()
    members = ("errorMessage", "errorType", "stackTrace")
    return json.dumps({name: document[name] for name in members if name in document}).encode()


def _document(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _refusal(status: int, kind: str, message: str) -> Response:
    return Response.of_json(status, {"errorMessage": message, "errorType": kind})


_WRONG_METHOD = _refusal(405, "MethodNotAllowed", "The Runtime API has no such method here")
