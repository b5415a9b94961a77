"""moto's backends of one state folder, and what was acknowledged in them brought back.

moto keeps its backends in dictionaries of its modules, one set for the whole process, and is not
made for several threads. So one lock of the process is held while a request is carried out, and a
world's backends are in those dictionaries only meanwhile: several gateways in one process (tests)
know nothing of one another, nor of a ``mock_aws`` of their test.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from mlops.errors import MlopsError, ServiceError
from mlops.gateway.moto.adapting import ONE_AT_A_TIME, module, still
from mlops.gateway.moto.journal import Entry, Journal, Wire
from mlops.ports import Clock
from mlops.settings import Settings

_SEED_BITS = 256  # a key of KMS is drawn from it
_FORGET_EVERY = 1000
_CLOSE_SECONDS = 3.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What moto answers, as it goes over the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """What a request writes to, for the journal."""

    scope: str
    ends: bool = False
    """Whether it ends the thing and all that was written to it."""


class MotoFailed(MlopsError):
    """moto raised what is no answer; its cause says what."""


class World:
    """All that moto keeps for one gateway. Thread-safe; one request at a time is carried out."""

    def __init__(self, journal: Journal, settings: Settings, clock: Clock) -> None:
        self._journal = journal
        self._settings = settings
        self._clock = clock
        self._backends: dict[Any, dict[str, Any]] | None = None
        """moto's dictionaries and what is ours in them; None until it has been brought back."""
        self._carried_out = 0

    def has(self, service: str, scope: str | None = None) -> bool:
        """Whether anything has been written to `service`, or to that thing of it.

        It needs no moto, and waits for nobody who does.
        """
        return self._journal.has(service, scope)

    def ask(self, service: str, operation: str, wire: Wire) -> Answer:
        """Carry out a request that changes nothing.

        Raises:
            MotoFailed: moto raised what is no answer.
            StoreError: what was acknowledged before cannot be read.
        """
        with self._entered():
            return self._carry_out(self._entry(service, operation, wire))

    def change(self, service: str, operation: str, wire: Wire, change: Change) -> Answer:
        """Carry out a request that changes something; what it has done is on disk then.

        An answer that is an error has changed nothing, and is not kept.

        Raises:
            MotoFailed: moto raised what is no answer; nothing has changed.
            ServiceError: the journal is full; nothing has changed.
            DiskFull, StoreError: it could not be kept; nothing has changed.
        """
        with self._entered():
            self._journal.check_room()
            entry = replace(self._entry(service, operation, wire), scope=change.scope)
            try:
                answer = self._carry_out(entry)
                if answer.status < 300:
                    self._keep(entry, change)
            except BaseException:
                # It may have been done by half: what is on disk is what there is.
                self._backends = None
                raise
            return answer

    def clear(self) -> None:
        """Forget all, for ever."""
        with ONE_AT_A_TIME:
            self._journal.clear()
            self._backends = None

    def close(self) -> None:
        """Take no more requests. One that takes long is left to the end of the process."""
        if not ONE_AT_A_TIME.acquire(timeout=_CLOSE_SECONDS):
            _logger.warning("the journal is left open: a request to moto does not end")
            return
        try:
            self._journal.close()
            self._backends = None
        finally:
            ONE_AT_A_TIME.release()

    def _keep(self, entry: Entry, change: Change) -> None:
        if not (change.ends and self._journal.forget_thing(entry.service, entry.scope)):
            self._journal.append(entry)

    def _entry(self, service: str, operation: str, wire: Wire) -> Entry:
        seed = secrets.randbits(_SEED_BITS)
        return Entry(service, operation, "", self._clock.now(), seed, wire)

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """With what is ours in moto's dictionaries, and out of them again."""
        with ONE_AT_A_TIME:
            replay = self._backends is None
            foreign = _take_out()
            _put_in(self._backends or {})
            try:
                if replay:
                    self._bring_back()
                    self._backends = {}
                yield
            finally:
                ours = _take_out()
                # None: what was there when something failed is not to be used any more.
                self._backends = ours if self._backends is not None else None
                _put_in(foreign)

    def _bring_back(self) -> None:
        count, failed = 0, 0
        for entry in self._journal.entries():
            count += 1
            try:
                answer = self._carry_out(entry)
            except MotoFailed as error:
                _logger.error("%s %s: %s", entry.service, entry.operation, error.__cause__)
                failed += 1
                continue
            if answer.status >= 300:
                _logger.error("%s %s: %r", entry.service, entry.operation, answer.body[:500])
                failed += 1
        if failed:
            _logger.error("%d of %d requests to moto could not be done again", failed, count)
        elif count:
            _logger.info("did %d requests to moto again", count)

    def _carry_out(self, entry: Entry) -> Answer:
        self._carried_out += 1
        if self._carried_out % _FORGET_EVERY == 0:
            # moto notes every object that it makes, for a page that shows them all.
            module("moto.core.model_instances").reset_model_data()
        handler = _handler(entry.service, entry.wire.path)
        request = self._request(entry)
        http_exception = module("werkzeug.exceptions").HTTPException
        with still().at(entry.at, entry.seed):
            try:
                status, headers, body = handler(request, request.raw_url, request.headers)
            except http_exception as error:
                status, headers, body = error.code, dict(error.get_headers()), error.get_body()
            except Exception as error:  # the boundary to code that is not ours
                raise MotoFailed(f"moto failed on {entry.service} {entry.operation}") from error
        data = body.encode() if isinstance(body, str) else bytes(body or b"")
        return Answer(int(status), {str(k): str(v) for k, v in headers.items()}, data)

    def _request(self, entry: Entry) -> Any:
        """The request as moto takes it: account and region are the gateway's."""
        wire = entry.wire
        host = f"{entry.service}.{self._settings.region}.amazonaws.com"
        url = f"https://{host}{wire.path}" + (f"?{wire.query}" if wire.query else "")
        headers = {**dict(wire.headers), "x-moto-account-id": self._settings.account_id}
        return module("moto.core.request").Request.from_primitives(
            wire.method, url, headers, wire.body
        )


def _handler(service: str, path: str) -> Callable[..., Any]:
    """What of moto answers `path` of a service.

    Raises:
        ServiceError: ``UnknownOperationException``: nothing does.
    """
    for pattern, handler in _paths(service):
        if pattern.match(path):
            return handler
    raise ServiceError("UnknownOperationException", f"{service} has no {path}", status=404)


@cache
def _paths(service: str) -> tuple[tuple[re.Pattern[str], Callable[..., Any]], ...]:
    still()  # before a module of moto's takes what is adapted there
    paths = module(f"moto.{service}.urls").url_paths
    return tuple((re.compile(path.format("")), handler) for path, handler in paths.items())


def _take_out() -> dict[Any, dict[str, Any]]:
    """Empty moto's dictionaries; what was in them, by dictionary."""
    still()
    found = {}
    for backends in module("moto.core.base_backend").BackendDict._instances:
        found[backends] = dict(backends)
        backends.clear()
    return found


def _put_in(contents: Mapping[Any, Mapping[str, Any]]) -> None:
    for backends, content in contents.items():
        backends.update(content)
