"""The command's side of the gateway: plain HTTP, no boto3, no botocore."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from http.client import HTTPMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from mlops.errors import GatewayUnavailable, MlopsError, ServiceError
from mlops.gateway.wire import error_from
from mlops.ports import JsonObject, RegistryImage

_SECONDS = 60.0


class GatewayClient:
    """One gateway, by its URL. Safe to use from several threads: each call has a connection.

    Every method raises GatewayUnavailable where nothing answers, and else the error that the
    gateway tells of: ServiceError for an AWS operation, UsageError for a wrong request, or what
    was behind it (ParameterError, DefinitionError, DiskFull, …).
    """

    def __init__(self, url: str, *, timeout: float = _SECONDS) -> None:
        self.url = url
        self._host = urlsplit(url).hostname or ""
        self._port = urlsplit(url).port
        self._timeout = timeout

    # --- AWS operations ---

    def call(
        self, operation: str, request: JsonObject, headers: Mapping[str, str] | None = None
    ) -> JsonObject:
        """A SageMaker operation. Moments in the answer are epoch seconds.

        `headers` go along, such as ``settings.CACHE_HEADER``.
        """
        of_the_protocol = {
            "X-Amz-Target": f"SageMaker.{operation}",
            "Content-Type": "application/x-amz-json-1.1",
        }
        status, answer = self._exchange(
            "POST", "/", request, {**(headers or {}), **of_the_protocol}
        )
        if status >= 400:
            raise _service_error(status, answer)
        result: JsonObject = answer
        return result

    def pages(self, operation: str, request: JsonObject, member: str) -> Iterator[JsonObject]:
        """The entries of a List operation's `member`, page after page."""
        token: JsonObject = {}
        while True:
            answer = self.call(operation, request | token)
            yield from answer.get(member, [])
            if "NextToken" not in answer:
                return
            token = {"NextToken": answer["NextToken"]}

    def invoke(
        self, endpoint: str, body: bytes, *, content_type: str, accept: str | None = None
    ) -> bytes:
        """InvokeEndpoint; returns the body of the model's answer."""
        headers = {"Content-Type": content_type} | ({"Accept": accept} if accept else {})
        path = f"/endpoints/{quote(endpoint, safe='')}/invocations"
        status, answer = self._send("POST", path, body, headers)
        if status >= 400:
            raise _service_error(status, _parsed(answer))
        return answer

    def enqueue(
        self, endpoint: str, body: bytes, *, content_type: str, accept: str | None = None
    ) -> Mapping[str, str]:
        """InvokeEndpointAsync with the payload in the request.

        Returns where its result and its failure will be, under the names of the answer's members.
        """
        prefix = "X-Amzn-SageMaker-"
        headers = {f"{prefix}Content-Type": content_type}
        headers |= {f"{prefix}Accept": accept} if accept else {}
        path = f"/endpoints/{quote(endpoint, safe='')}/async-invocations"
        status, answer, told = self._send_for_headers("POST", path, body, headers)
        if status >= 400:
            raise _service_error(status, _parsed(answer))
        return {
            name: value
            for name in ("OutputLocation", "FailureLocation")
            if (value := told.get(f"{prefix}{name}")) is not None
        }

    # --- the gateway's own ---

    def health(self) -> JsonObject:
        """url, pid, version, runtime, store, started_at, executions (ARNs of what runs), …"""
        health: JsonObject = self._internal("GET", "/_mlops/health")
        return health

    def shut_down(self, *, only_if_idle: bool = False) -> bool:
        """Ask the gateway to leave. False where it was to be idle and is not."""
        request = {"only_if_idle": only_if_idle}
        status, answer = self._exchange("POST", "/_mlops/shutdown", request, {})
        if status not in (200, 409):
            raise error_from(answer)
        return bool(answer["leaves"])

    def reset(self, store: Path) -> None:
        """Delete all that is in the state folder `store`, this gateway's (``gateway.resetting``).

        Raises:
            UsageError: the gateway was not started for it, or has another state folder.
        """
        self._internal("POST", "/_mlops/reset", {"store": str(store)})

    def executions(self, *, pipeline: str | None = None, limit: int = 100) -> list[JsonObject]:
        """The newest executions, of one pipeline or of all."""
        query = {"limit": limit} | ({"pipeline": pipeline} if pipeline else {})
        found: list[JsonObject] = self._internal("GET", f"/_mlops/executions?{urlencode(query)}")
        return found

    def execution(self, execution_id: str) -> JsonObject:
        """All that a report needs (``gateway.execution_details``)."""
        details: JsonObject = self._internal("GET", _path(execution_id))
        return details

    def plan(
        self,
        pipeline: str,
        definition: str,
        parameters: Mapping[str, str],
        cache_mode: str | None = None,
    ) -> list[JsonObject]:
        """What an execution would do, step by step (``execution.planning.PlannedStep``)."""
        request = {
            "pipeline": pipeline,
            "definition": definition,
            "parameters": dict(parameters),
            "cache_mode": cache_mode,
        }
        steps: list[JsonObject] = self._internal("POST", "/_mlops/plan", request)
        return steps

    def registry_image(self, uri: str) -> RegistryImage | None:
        """What an image URI means in the gateway's registry (`ports.ImageSource`)."""
        answer = self._internal("GET", f"/_mlops/image?{urlencode({'uri': uri})}")
        return None if answer is None else RegistryImage(**answer)

    def follow(
        self,
        execution_id: str,
        *,
        events: int = 0,
        logs: Mapping[str, int] | None = None,
        wait: float = 10.0,
    ) -> JsonObject:
        """What is new after event number `events` and the logs' byte offsets: status, events, logs.

        Waits at most `wait` seconds for something. All has been told when the status is an end
        and neither events nor logs came.
        """
        request = {"events": events, "logs": dict(logs or {}), "wait": wait}
        news: JsonObject = self._internal("POST", f"{_path(execution_id)}/follow", request)
        return news

    # --- the wire ---

    def _internal(self, method: str, path: str, request: JsonObject | None = None) -> Any:
        status, answer = self._exchange(method, path, request, {})
        if status >= 400:
            raise error_from(answer)
        return answer

    def _exchange(
        self, method: str, path: str, request: JsonObject | None, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        body = None if request is None else json.dumps(request).encode()
        status, answer = self._send(method, path, body, headers)
        try:
            return status, json.loads(answer)
        except ValueError as error:
            raise self._unavailable(error) from error

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        return self._send_for_headers(method, path, body, headers)[:2]

    def _send_for_headers(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes, HTTPMessage]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return response.status, response.read(), response.headers
        except (OSError, http.client.HTTPException) as error:
            raise self._unavailable(error) from error
        finally:
            connection.close()

    def _unavailable(self, error: Exception) -> GatewayUnavailable:
        return GatewayUnavailable(
            f"The gateway at {self.url} does not answer: {str(error) or type(error).__name__}",
            next_step="`mlops status` tells whether it runs; its log is gateway.log "
            "in the state folder",
        )


def _parsed(body: bytes) -> JsonObject:
    """An error's body as JSON; what is no JSON is the message itself."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    return document if isinstance(document, dict) else {"message": body.decode("utf-8", "replace")}


def _path(execution_id: str) -> str:
    return f"/_mlops/executions/{quote(execution_id, safe='')}"


def _service_error(status: int, answer: JsonObject) -> MlopsError:
    """What an error answer says; the cause where our own side knows it better than AWS's code."""
    cause = answer.get("MlopsError")
    if cause is not None:
        return error_from(cause)
    code = str(answer.get("__type", status)).rpartition("#")[2]
    return ServiceError(code, str(answer.get("message", "")), status=status)
