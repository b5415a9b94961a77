"""The WSGI side of what moto answers: what is asked, whether it is allowed, and the answer."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus

from mlops.aws_model import load_service
from mlops.errors import MlopsError, ServiceError
from mlops.gateway.moto.allow_list import AllowedService, allow_list
from mlops.gateway.moto.journal import SEVERAL
from mlops.gateway.moto.members import checked_members
from mlops.gateway.moto.requests import Asked, read_request
from mlops.gateway.moto.world import Answer, Change, MotoFailed, World
from mlops.gateway.protocols import json11, query
from mlops.gateway.protocols.refusal import error_answer, refuse
from mlops.gateway.router import service_of
from mlops.gateway.wire import Environ, Response, StartResponse
from mlops.ports import JsonObject

_NOT_PASSED_ON = frozenset(
    ("connection", "content-length", "content-type", "date", "server", "status")
)
_THINGS = ("ResourceArn", "StreamARN")
"""Members that name the thing by its ARN, in whatever operation."""
_AWS_KEY = re.compile(rb"alias/aws/\w+")

_logger = logging.getLogger(__name__)


class MotoFace:
    """The WSGI application for every service that the gateway has no code of its own for."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        signing = service_of(environ)

        def answer(environ: Environ, asked: Asked) -> Response:
            return self.answer(environ, signing, asked)

        return self.answer_with(environ, answer).send(start_response)

    def answer_with(
        self, environ: Environ, answer: Callable[[Environ, Asked], Response]
    ) -> Response:
        """What `answer` says to the request; its errors in the request's protocol."""
        signing = service_of(environ)
        try:
            return answer(environ, read_request(environ))
        except MlopsError as error:
            return error_answer(environ, signing, error)
        except Exception:  # the boundary: a fault of ours must not take the server down
            _logger.exception("a request to %s failed", signing)
            failure = ServiceError("InternalFailure", "The gateway's log says how", status=500)
            return error_answer(environ, signing, failure)

    def answer(self, environ: Environ, signing: str, asked: Asked) -> Response:
        """Answer a request that has been read, or refuse it by name.

        Raises:
            ServiceError, StoreError, DiskFull: why it is not answered; nothing has changed.
        """
        service = allow_list().find(signing, asked.target)
        if service is None:
            why = allow_list().refused.get(signing)
            return refuse(environ, signing, operation=asked.operation, why=why)
        if asked.operation not in service.answered:
            why = service.refused.get(asked.operation)
            return refuse(environ, service.name, operation=asked.operation, why=why)
        try:
            return _response(service, asked, self._carry_out(service, asked))
        except MotoFailed as error:
            raise _failure(service, asked.operation, error) from error

    def _carry_out(self, service: AllowedService, asked: Asked) -> Answer:
        members = checked_members(service, asked)
        change = self._change(service, asked, members)
        if change is None:
            return self._world.ask(service.name, asked.operation, asked.wire)
        return self._world.change(service.name, asked.operation, asked.wire, change)

    def _change(self, service: AllowedService, asked: Asked, members: JsonObject) -> Change | None:
        """What a request changes; None where it only reads."""
        if asked.operation in service.writes:
            scope = scope_of(service, asked.operation, members)
            return Change(scope, asked.operation == service.ends)
        # AWS's own keys are made by whoever first names one, to encrypt with it or to look at it.
        named = _AWS_KEY.search(asked.wire.body) if service.name == "kms" else None
        key = named.group().decode() if named else None
        return None if key is None or self._world.has("kms", key) else Change(key)


def scope_of(service: AllowedService, operation: str, request: JsonObject) -> str:
    """What a request writes to: a name, or ``SEVERAL``."""
    if service.scope is None or operation in service.several:
        return SEVERAL
    for member in (service.scope, *_THINGS):
        if member in request:
            return str(request[member]).rpartition("/")[2]
    tables = list(request.get("RequestItems", ()))  # BatchWriteItem, by the names of the tables
    return str(tables[0]).rpartition("/")[2] if len(tables) == 1 else SEVERAL


def _response(service: AllowedService, asked: Asked, answer: Answer) -> Response:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    body = answer.body
    if answer.status >= 400 and asked.target:
        body = _modelled_error(service.name, asked.operation, json.loads(body))
    return Response(
        HTTPStatus(answer.status),
        body,
        json11.CONTENT_TYPE if asked.target else headers.get("content-type", query.CONTENT_TYPE),
        [(name, value) for name, value in headers.items() if name not in _NOT_PASSED_ON],
    )


def _modelled_error(service: str, operation: str, document: JsonObject) -> bytes:
    """An error as the operation's model has it: some of moto's lack a message or half the name."""
    code = str(document.get("__type", "")).rpartition("#")[2]
    listed = {shape.name for shape in load_service(service).operation_model(operation).error_shapes}
    if code not in listed and f"{code}Exception" in listed:
        code = f"{code}Exception"
    told = document.get("message") or document.get("Message") or code
    return json.dumps({**document, "__type": code, "message": told}).encode()


def _failure(service: AllowedService, operation: str, error: MotoFailed) -> ServiceError:
    """moto fails on requests that it was not written for: not a status that clients try again."""
    cause = error.__cause__
    if not isinstance(cause, NotImplementedError):
        _logger.error("%s", error, exc_info=cause)
    return ServiceError(
        "NotImplemented",
        f"The local gateway answers {service.name} {operation} by moto, which does not know what "
        f"to do with this request ({type(cause).__name__}: {cause}). Nothing has changed; the "
        f"gateway's log says more",
        status=501,
    )
