"""What the command asks of the gateway beyond AWS's operations: JSON under ``/_mlops/``.

    GET  /_mlops/health                       who runs here, and what runs in it
    POST /_mlops/shutdown {"only_if_idle"}    leave; 409 where it is asked to be idle and is not
    POST /_mlops/reset {"store"}              delete all that is in the state folder, where the
                                              gateway was started for it (``resetting``)
    GET  /_mlops/executions?pipeline=&limit=  the newest executions
    GET  /_mlops/executions/{id}              all that a report needs
    POST /_mlops/executions/{id}/follow       {"events", "logs", "wait"}: what is new
    POST /_mlops/plan                         {"pipeline", "definition", "parameters",
                                              "cache_mode"}: what an execution would do
    GET  /_mlops/image?uri=                   what an image URI means in the gateway's registry
    GET  /_mlops/endpoints/{name}             its servers, and the statistics of its invocations

An error is a document (``wire.error_document``) with a status of its own.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from urllib.parse import parse_qs, unquote

from mlops.errors import MlopsError, UsageError
from mlops.execution.planning import Planner
from mlops.gateway.endpoint_details import EndpointDetails
from mlops.gateway.execution_details import ExecutionDetails, execution_summary
from mlops.gateway.following import Follower
from mlops.gateway.wire import (
    Environ,
    Response,
    StartResponse,
    error_document,
    json_response,
    read_body,
)
from mlops.json_text import parse_json
from mlops.ports import Clock, ExecutionRecord, ImageSource, JsonObject, StateStore

_ENDPOINT = re.compile(r"/_mlops/endpoints/(?P<name>[^/]+)")
_EXECUTION = re.compile(r"/_mlops/executions/(?P<id>[^/]+)(?P<follow>/follow)?")
_DEFAULT_LIMIT = 100

_logger = logging.getLogger(__name__)


class InternalApi:
    """``health`` describes the gateway; ``shut_down(only_if_idle)`` says whether it leaves."""

    def __init__(
        self,
        *,
        state: StateStore,
        details: ExecutionDetails,
        endpoints: EndpointDetails,
        follower: Follower,
        planner: Planner,
        clock: Clock,
        health: Callable[[], JsonObject],
        shut_down: Callable[[bool], bool],
        reset: Callable[[str], JsonObject],
        image: ImageSource,
    ) -> None:
        self._state = state
        self._details = details
        self._endpoints = endpoints
        self._follower = follower
        self._planner = planner
        self._clock = clock
        self._health = health
        self._shut_down = shut_down
        self._reset = reset
        self._image = image

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        return self._answer(environ).send(start_response)

    def _answer(self, environ: Environ) -> Response:
        try:
            return self._route(environ)
        except MlopsError as error:
            status = 400 if isinstance(error, UsageError) else 500
            return json_response(error_document(error), status=status)
        except Exception:  # the boundary: a fault of ours must not take the server down
            _logger.exception("%s failed", environ["PATH_INFO"])
            fault = MlopsError(
                f"The gateway failed on {environ['PATH_INFO']}",
                next_step="see the gateway's log, gateway.log in the state folder",
            )
            return json_response(error_document(fault), status=500)

    def _route(self, environ: Environ) -> Response:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if (method, path) == ("GET", "/_mlops/health"):
            return json_response(self._health())
        if (method, path) == ("POST", "/_mlops/shutdown"):
            return self._answer_shutdown(_document(environ))
        if (method, path) == ("POST", "/_mlops/reset"):
            return json_response(self._reset(str(_document(environ).get("store", ""))))
        if (method, path) == ("GET", "/_mlops/executions"):
            return json_response(self._list(parse_qs(environ.get("QUERY_STRING", ""))))
        if (method, path) == ("GET", "/_mlops/image"):
            (uri,) = parse_qs(environ.get("QUERY_STRING", "")).get("uri", [""])[:1]
            found = self._image(uri)
            return json_response(None if found is None else asdict(found))
        if (method, path) == ("POST", "/_mlops/plan"):
            return json_response(self._plan(_document(environ)))
        match = _ENDPOINT.fullmatch(path)
        if match and method == "GET":
            return json_response(self._endpoints.of(unquote(match["name"])))
        match = _EXECUTION.fullmatch(path)
        if match and method == ("POST" if match["follow"] else "GET"):
            execution = self._find(unquote(match["id"]))
            if match["follow"]:
                return json_response(self._follow(execution, _document(environ)))
            return json_response(self._details.of(execution, self._clock.now()))
        error = UsageError(f"The gateway has no {method} {path}")
        return json_response(error_document(error), status=404)

    def _answer_shutdown(self, request: JsonObject) -> Response:
        leaves = self._shut_down(bool(request.get("only_if_idle", False)))
        return json_response({"leaves": leaves}, status=200 if leaves else 409)

    def _list(self, query: dict[str, list[str]]) -> list[JsonObject]:
        (limit,) = query.get("limit", [str(_DEFAULT_LIMIT)])[:1]
        (pipeline,) = query.get("pipeline", [""])[:1]
        if not limit.isdigit():
            raise UsageError(f"The limit is {limit!r}, not a number")
        found = self._state.list_executions(pipeline or None, limit=int(limit))
        return [execution_summary(execution) for execution in found]

    def _plan(self, request: JsonObject) -> list[JsonObject]:
        steps = self._planner.plan(
            str(request["pipeline"]),
            str(request["definition"]),
            {str(name): str(value) for name, value in request.get("parameters", {}).items()},
            request.get("cache_mode"),
        )
        return [asdict(step) for step in steps]

    def _find(self, execution_id: str) -> ExecutionRecord:
        execution = self._state.find_execution(execution_id)
        if execution is None:
            raise UsageError(
                f"There is no execution {execution_id}",
                next_step="`mlops executions list` shows those that there are",
            )
        return execution

    def _follow(self, execution: ExecutionRecord, request: JsonObject) -> JsonObject:
        return self._follower.follow(
            execution.arn,
            int(request.get("events", 0)),
            {str(name): int(offset) for name, offset in request.get("logs", {}).items()},
            float(request.get("wait", 0)),
        )


def _document(environ: Environ) -> JsonObject:
    try:
        document = parse_json(read_body(environ) or b"{}")
    except ValueError as error:
        raise UsageError(f"The request's body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise UsageError("The request's body is no JSON object")
    return document
