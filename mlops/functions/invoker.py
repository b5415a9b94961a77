"""Invocations: each gets a worker, idle or new, and an answer in Invoke's shape."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

from mlops.errors import JobError, MlopsError, ServiceError
from mlops.functions.exchange import Invocation
from mlops.functions.function import Function
from mlops.functions.log_lines import NOT_STARTED, VERSION, error_payload
from mlops.functions.pool import WorkerPool
from mlops.functions.refusals import not_startable
from mlops.functions.worker import Finished, Worker
from mlops.ports import JsonObject

MAXIMUM_REQUEST = 6_291_456
MAXIMUM_EVENT = 1_048_576
"""Bytes of a payload, of a synchronous and an asynchronous invocation (AWS: "Lambda quotas")."""

_TURN_SECONDS = 0.1

_logger = logging.getLogger(__name__)


class Invoker:
    """Runs invocations. Safe to use from several threads."""

    def __init__(self, pool: WorkerPool, start: Callable[[Function], Worker]) -> None:
        """`start` starts one more worker of a function; it raises MlopsError where it cannot."""
        self._pool = pool
        self._start = start
        self._lock = threading.Lock()
        self._running = 0

    def active(self) -> int:
        """How many invocations run now."""
        with self._lock:
            return self._running

    def invoke(self, function: Function, request: JsonObject) -> JsonObject:
        """Invoke: waits for the answer (RequestResponse), starts it (Event), or neither (DryRun).

        An event whose function fails is not tried again; Lambda tries twice more.

        Raises:
            ServiceError: the payload or the client context cannot be, no worker can be started, or
                too many run.
        """
        kind = request.get("InvocationType", "RequestResponse")
        payload = checked_payload(request, MAXIMUM_EVENT if kind == "Event" else MAXIMUM_REQUEST)
        context = client_context(request.get("ClientContext"))
        if kind == "DryRun":
            return {"StatusCode": 204, "Payload": b""}
        if kind == "Event":
            self._invoke_later(function, payload, context)
            return {"StatusCode": 202, "Payload": b""}
        with_tail = request.get("LogType") == "Tail"
        with self._counted():
            finished = self._run(function, payload, context, with_tail=with_tail)
        return _answer(finished, with_tail=with_tail)

    def _invoke_later(self, function: Function, payload: bytes, context: str | None) -> None:
        counted = threading.Event()

        def run() -> None:
            with self._counted():
                counted.set()
                self._run_in_turn(function, payload, context)

        threading.Thread(target=run, name=f"event {function.name}", daemon=True).start()
        counted.wait()  # from now on the gateway knows that it is not idle

    def _run_in_turn(self, function: Function, payload: bytes, context: str | None) -> None:
        while True:
            try:
                self._run(function, payload, context, with_tail=False)
                return
            except MlopsError as error:
                if not (isinstance(error, ServiceError) and error.status == 429):
                    _logger.warning("an event for function %s is lost: %s", function.name, error)
                    return
            time.sleep(_TURN_SECONDS)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1

    def _run(
        self, function: Function, payload: bytes, context: str | None, *, with_tail: bool
    ) -> Finished:
        request_id = str(uuid4())
        start_in_time = True
        while True:
            try:
                worker, new = self._pool.take(
                    function.name, function.revision, lambda: self._started(function)
                )
            except JobError as error:  # the function's own fault: its program cannot be run
                return never_ran(request_id, error.what)
            finished = None
            try:
                if new and start_in_time and not worker.wait_until_started():
                    worker.log_init_timeout()
                    start_in_time = False  # once more, on the invocation's own time
                else:
                    invocation = _invocation(function, request_id, payload, context)
                    finished = worker.invoke(invocation, with_tail=with_tail)
            finally:
                reusable = finished is not None and finished.reusable
                self._pool.give_back(function.name, worker, reusable=reusable)
            if finished is not None:
                return finished

    def _started(self, function: Function) -> Worker:
        try:
            return self._start(function)
        except JobError:
            raise
        except MlopsError as error:
            raise not_startable(function.name, error) from error


def _invocation(
    function: Function, request_id: str, payload: bytes, context: str | None
) -> Invocation:
    return Invocation(
        request_id=request_id,
        payload=payload,
        function_arn=function.arn,
        deadline_ms=int((time.time() + function.timeout_seconds) * 1000),
        trace_id=_trace_id(),
        client_context=context,
    )


def _trace_id() -> str:
    """An X-Ray header that says: not traced."""
    root = f"1-{int(time.time()):08x}-{os.urandom(12).hex()}"
    return f"Root={root};Parent={os.urandom(8).hex()};Sampled=0"


def never_ran(request_id: str, what: str) -> Finished:
    """The answer of a function whose program could not be started."""
    payload = error_payload(NOT_STARTED, f"RequestId: {request_id} Error: {what}")
    return Finished(payload, NOT_STARTED, b"", reusable=False)


def _answer(finished: Finished, *, with_tail: bool) -> JsonObject:
    answer: JsonObject = {
        "StatusCode": 200,
        "ExecutedVersion": VERSION,
        "Payload": finished.payload,
    }
    if finished.error_type is not None:
        answer["FunctionError"] = "Unhandled"
    if with_tail:
        answer["LogResult"] = base64.b64encode(finished.log_tail).decode()
    return answer


def checked_payload(request: JsonObject, most: int) -> bytes:
    """The event; an empty one is an empty object, as Lambda has it.

    Raises:
        ServiceError: ``RequestTooLargeException`` (413), or ``InvalidRequestContentException``.
    """
    payload = bytes(request.get("Payload") or b"")
    if len(payload) > most:
        raise ServiceError(
            "RequestTooLargeException",
            f"Request must be smaller than {most} bytes for the InvokeFunction operation",
            status=413,
        )
    if not payload.strip():
        return b"{}"
    try:
        json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ServiceError(
            "InvalidRequestContentException",
            f"Could not parse request body into json: Could not parse payload into json: {error}",
        ) from error
    return payload


def client_context(given: str | None) -> str | None:
    """The client context's JSON, for one line of a header.

    Raises:
        ServiceError: it is no Base64 of a JSON object.
    """
    if given is None:
        return None
    try:
        document = json.loads(base64.b64decode(given, validate=True))
    except (binascii.Error, ValueError):
        document = None
    if not isinstance(document, dict):
        raise ServiceError(
            "InvalidRequestContentException",
            "Client context must be a valid Base64-encoded JSON object.",
        )
    return json.dumps(document)
