"""Asynchronous invocations: where their results go, and what follows from an attempt. Pure.

Sources: botocore's models of sagemaker (``AsyncInferenceConfig``) and sagemaker-runtime
(``InvokeEndpointAsync``: members, ranges, defaults); the Developer Guide, "Asynchronous inference"
(1 GB of payload); SDK v2, ``sagemaker/async_inference`` (a client waits for the object at
OutputLocation or the one at FailureLocation, whichever comes first).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import unquote, urlsplit

from mlops.errors import InvalidKey
from mlops.ports import JsonObject
from mlops.s3_uri import split_s3_uri

MOST_PAYLOAD_BYTES = 1024**3
DEFAULT_TTL_SECONDS = 21_600
DEFAULT_TIMEOUT_SECONDS = 900
DEFAULT_CONCURRENCY = 4
"""Invocations at once in a server where ``MaxConcurrentInvocationsPerInstance`` does not say:
"SageMaker chooses an optimal value", which nobody tells."""

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
MOST_BUSY_ATTEMPTS = 10
"""Two minutes of trying, as long as a server that dies is started again."""
MOST_LOST_ATTEMPTS = 3
"""An invocation that ends its server again and again is the reason for it."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.=+-]*")


@dataclass(frozen=True, slots=True)
class AsyncSettings:
    """An ``AsyncInferenceConfig``, read."""

    output_path: str
    failure_path: str | None
    concurrency: int

    @classmethod
    def read(cls, config: JsonObject) -> AsyncSettings:
        output = config["OutputConfig"]
        client = config.get("ClientConfig") or {}
        return cls(
            output["S3OutputPath"],
            output.get("S3FailurePath") or None,
            client.get("MaxConcurrentInvocationsPerInstance", DEFAULT_CONCURRENCY),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncInvocation:
    """One acknowledged InvokeEndpointAsync, as it is kept until its result is in S3."""

    id: str
    endpoint: str
    inference_id: str
    accepted_at: datetime
    expires_at: datetime
    timeout_seconds: int
    output: str
    failure: str | None
    """S3 URIs of what a client waits for; without a failure path there is no such object."""
    input: str | None
    """An S3 URI; None where the request had the payload itself, which is kept beside this."""
    content_type: str | None = None
    accept: str | None = None
    custom_attributes: str | None = None
    started_at: datetime | None = None
    """When the last attempt began."""

    def document(self) -> JsonObject:
        """All of it as JSON."""
        return {name: _plain(getattr(self, name)) for name in AsyncInvocation.__dataclass_fields__}

    @classmethod
    def from_document(cls, document: JsonObject) -> AsyncInvocation:
        values: dict[str, Any] = dict(document)
        for name in ("accepted_at", "expires_at", "started_at"):
            if values[name] is not None:
                values[name] = datetime.fromisoformat(values[name])
        return cls(**values)

    def expired(self, now: datetime) -> bool:
        """Whether it has waited longer than its RequestTTLSeconds."""
        return now >= self.expires_at

    def begun(self, now: datetime) -> AsyncInvocation:
        return replace(self, started_at=now)

    def is_done(self, written_at: datetime | None) -> bool:
        """Whether an object of that moment at its output is the result of the last attempt."""
        return (
            self.started_at is not None and written_at is not None and written_at >= self.started_at
        )


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def plan_invocation(
    request: JsonObject,
    settings: AsyncSettings,
    *,
    id: str,  # noqa: A002 - what it is
    now: datetime,
) -> AsyncInvocation:
    """A checked request of InvokeEndpointAsync, made out. `id` names what the request does not.

    The result lies under Filename, else ``<InferenceId>.out``; an InferenceId that is no name for
    a file gives way to `id`.

    Raises:
        InvalidKey: a location is no address in S3.
    """
    inference_id = request.get("InferenceId") or id
    name = inference_id if _PLAIN_NAME.fullmatch(inference_id) else id
    folder = request.get("S3OutputPathExtension", "")
    file = request.get("Filename")
    location = request.get("InputLocation")
    return AsyncInvocation(
        id=id,
        endpoint=request["EndpointName"],
        inference_id=inference_id,
        accepted_at=now,
        expires_at=now + timedelta(seconds=request.get("RequestTTLSeconds", DEFAULT_TTL_SECONDS)),
        timeout_seconds=request.get("InvocationTimeoutSeconds", DEFAULT_TIMEOUT_SECONDS),
        output=_below(settings.output_path, folder, file or f"{name}.out"),
        failure=None
        if settings.failure_path is None
        else _below(settings.failure_path, folder, f"{file or name}-error.out"),
        input=None if location is None else s3_uri(location),
        content_type=request.get("ContentType"),
        accept=request.get("Accept"),
        custom_attributes=request.get("CustomAttributes"),
    )


def _below(path: str, folder: str, name: str) -> str:
    parts = (s3_uri(path).rstrip("/"), folder.strip("/"), name)
    return "/".join(part for part in parts if part)


def s3_uri(location: str) -> str:
    """An S3 location as ``s3://bucket/key``; botocore's pattern lets https through as well.

    Raises:
        InvalidKey: it is the address of something else.
    """
    if location.startswith("s3://"):
        split_s3_uri(location)
        return location
    parts = urlsplit(location)
    host, path = parts.hostname or "", unquote(parts.path).lstrip("/")
    bucket, dot, service = host.partition(".s3")
    if host.endswith(".amazonaws.com") and dot and service[:1] in (".", "-"):
        return f"s3://{bucket}/{path}"
    if host.endswith(".amazonaws.com") and host[:3] in ("s3.", "s3-") and path:
        return f"s3://{path}"
    raise InvalidKey(f"{location!r} is no S3 address", next_step="write it as s3://bucket/key")


# --- what follows from an attempt ---------------------------------------------------------------


class Ending(StrEnum):
    """How an attempt ended."""

    ANSWERED = "answered"
    FAILED = "failed"
    """By an answer, or by the lack of one in time: another attempt would be as bad."""
    BUSY = "busy"
    """The container (429, 503) or this machine could not take it just now."""
    LOST = "lost"
    """The server went away in its midst: nobody knows how far it came."""


@dataclass(frozen=True, slots=True)
class Outcome:
    ending: Ending
    message: str = ""


def pause_before_next(outcome: Outcome, attempts: int) -> float | None:
    """Seconds until an invocation is tried again; None where that is over.

    `attempts` have ended like `outcome`, this one included.
    """
    most = {Ending.BUSY: MOST_BUSY_ATTEMPTS, Ending.LOST: MOST_LOST_ATTEMPTS}
    if attempts >= most.get(outcome.ending, 0):
        return None
    pause: float = min(FIRST_PAUSE_SECONDS * 2 ** (attempts - 1), LONGEST_PAUSE_SECONDS)
    return pause
