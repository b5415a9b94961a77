"""A service on the wire that speaks AWS JSON 1.1 and is called by X-Amz-Target."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from mlops.gateway.protocols import json11
from mlops.gateway.protocols.refusal import refuse
from mlops.gateway.wire import Environ, StartResponse
from mlops.ports import JsonObject


class JsonService(Protocol):
    def handle(self, operation: str, request: JsonObject) -> JsonObject: ...


class JsonFace:
    """The WSGI application for what is signed for `name`; `target` is its prefix of targets."""

    def __init__(self, name: str, target: str, service: JsonService) -> None:
        self._name = name
        self._target = target
        self._service = service

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        prefix, _, operation = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")
        if prefix != self._target:
            return refuse(environ, self._name).send(start_response)
        answer = json11.answer(environ, operation, self._service.handle)
        return answer.send(start_response)
