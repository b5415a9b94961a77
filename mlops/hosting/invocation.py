"""InvokeEndpoint, whole or as a stream: a request on its way to a model, and the answer back.

Sources: botocore's model of sagemaker-runtime (members, limits, errors); "How Containers Serve
Requests" for what a container gets; "Serverless Inference endpoints" for its smaller payload;
public answers of the service for the wording of ModelError.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

from mlops.errors import ServiceError
from mlops.hosting.endpoint import Endpoint
from mlops.hosting.fleet import Lease
from mlops.hosting.proxy import Answer, NoAnswer, NotReached, Streamed, TooSlow
from mlops.ports import JsonObject
from mlops.settings import Settings

MOST_BYTES = 6_291_456
"""botocore sagemaker-runtime ``BodyBlob``: of a request, and of an answer."""
MOST_SERVERLESS_BYTES = 4 * 1024 * 1024
"""AWS, "Serverless Inference": "payload sizes of up to 4 MB"."""
ANSWER_SECONDS = 60.0
"""botocore sagemaker-runtime InvokeEndpoint: "model containers must respond to requests within 60
seconds"."""
LONGEST_MESSAGE = 1024
"""Bytes of a container's error text that are passed on; ``Message`` may have 2048 in all."""

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
INFERENCE_ID = "X-Amzn-SageMaker-Inference-Id"
PASSED_BACK = {
    "content-type": "ContentType",
    "x-amzn-sagemaker-custom-attributes": "CustomAttributes",
}
"""The headers of a container's answer that go back, and the members that they are."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """An InvokeEndpoint request, without the endpoint's name."""

    body: bytes | Streamed
    content_type: str | None = None
    accept: str | None = None
    custom_attributes: str | None = None
    target_variant: str | None = None
    inference_id: str | None = None
    seconds: float | None = None
    """How long the container may take; None for ANSWER_SECONDS."""


@dataclass(frozen=True, slots=True)
class InvocationAnswer:
    """A model's answer, its body still on the way."""

    members: Mapping[str, str]
    """The members of InvokeEndpointOutput but for Body."""
    length: int
    body: PassedOn


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """A model's answer of a length that nobody knows yet."""

    members: Mapping[str, str]
    """The members of InvokeEndpointWithResponseStreamOutput but for Body."""
    body: PassedOn


class ModelError(ServiceError):
    """``ModelError`` (424): the container answered with an error, or not at all."""

    def __init__(self, message: str, members: JsonObject) -> None:
        super().__init__("ModelError", message, status=424)
        self.members = members
        """OriginalStatusCode, OriginalMessage, LogStreamArn."""


class Invoker:
    """Invokes endpoints of one account and region."""

    def __init__(self, settings: Settings) -> None:
        self._region = settings.region
        self._account = settings.account_id

    def invoke(self, endpoint: Endpoint, invocation: Invocation) -> InvocationAnswer:
        """Have a model answer; returns when its answer begins.

        Raises:
            ModelError: the container's answer is an error, or there is none.
            ServiceError: ``ValidationError``, ``ThrottlingException``, ``ServiceUnavailable``.
        """
        with self._leased(endpoint, invocation) as lease:
            answer = self.accepted(endpoint, lease, invocation)
            length = self._length(endpoint, lease, answer)
            return InvocationAnswer(_members(answer, lease), length, PassedOn(answer, lease))

    def stream(self, endpoint: Endpoint, invocation: Invocation) -> StreamedAnswer:
        """As `invoke`; the answer may be of any length, and is passed on as it comes.

        Raises:
            ModelError, ServiceError: as `invoke`. Iterating over the body raises NoAnswer or
                TooSlow where it breaks off.
        """
        with self._leased(endpoint, invocation) as lease:
            answer = self.accepted(endpoint, lease, invocation)
            return StreamedAnswer(_members(answer, lease), PassedOn(answer, lease))

    @contextmanager
    def _leased(self, endpoint: Endpoint, invocation: Invocation) -> Iterator[Lease]:
        """A server for one invocation; who passes the answer on releases it, and an error does."""
        _check_size(len(invocation.body), MOST_BYTES, "")
        lease = endpoint.take(invocation.target_variant)
        try:
            if lease.variant.serverless is not None:
                _check_size(len(invocation.body), MOST_SERVERLESS_BYTES, " for serverless")
            yield lease
        except BaseException:
            lease.release()
            raise

    def accepted(self, endpoint: Endpoint, lease: Lease, invocation: Invocation) -> Answer:
        """The container's answer, where it is no error; the caller reads it and ends the lease.

        Raises:
            ModelError: as `invoke`; its cause is the NoAnswer or TooSlow where there is no answer.
            ServiceError: ``ServiceUnavailable``: nobody listens.
        """
        began = time.perf_counter()
        answer = self._post(endpoint, lease, invocation, began)
        lease.statistics.count(answer.status, time.perf_counter() - began)
        if not 200 <= answer.status < 300:
            raise self._refused(endpoint, lease, answer)
        return answer

    def _post(
        self, endpoint: Endpoint, lease: Lease, invocation: Invocation, began: float
    ) -> Answer:
        seconds = ANSWER_SECONDS if invocation.seconds is None else invocation.seconds
        try:
            return lease.connections.post(
                "/invocations", invocation.body, _headers(invocation), seconds
            )
        except NotReached as error:
            lease.statistics.count(0, time.perf_counter() - began)
            raise ServiceError(
                "ServiceUnavailable",
                f"The server of variant {lease.variant.name} of endpoint {endpoint.name} does not "
                "listen any more: it is being started again.",
                status=503,
            ) from error
        except (NoAnswer, TooSlow) as error:
            lease.statistics.count(0, time.perf_counter() - began)
            raise self._model_error(endpoint, lease, 0, words_for(error)) from error

    def _refused(self, endpoint: Endpoint, lease: Lease, answer: Answer) -> ModelError:
        try:
            text = answer.read(LONGEST_MESSAGE).decode("utf-8", "replace")
        except (NoAnswer, TooSlow):
            text = ""
        finally:
            answer.close()
        return self._model_error(endpoint, lease, answer.status, text)

    def _length(self, endpoint: Endpoint, lease: Lease, answer: Answer) -> int:
        """How long the body is; one of unknown length is read for it, as far as is allowed."""
        limit = MOST_BYTES if lease.variant.serverless is None else MOST_SERVERLESS_BYTES
        try:
            length = answer.measure(limit)
        except (NoAnswer, TooSlow) as error:
            raise self._model_error(endpoint, lease, 0, words_for(error)) from error
        if length > limit:
            answer.close()
            raise self._model_error(
                endpoint, lease, answer.status, f"The response has more than {limit} bytes"
            )
        return length

    def _model_error(self, endpoint: Endpoint, lease: Lease, status: int, text: str) -> ModelError:
        group = f"/aws/sagemaker/Endpoints/{endpoint.name}"
        side = "client" if 400 <= status < 500 else "server"
        message = (
            f'Received {side} error ({status}) from primary with message "{text}". '
            f"See the logs in {endpoint.folder} ({group} in account {self._account})."
        )
        members = {
            "OriginalStatusCode": status,
            "OriginalMessage": text,
            "LogStreamArn": f"arn:aws:logs:{self._region}:{self._account}:log-group:{group}",
        }
        return ModelError(message, members)


def _members(answer: Answer, lease: Lease) -> Mapping[str, str]:
    members = {
        member: answer.headers[header]
        for header, member in PASSED_BACK.items()
        if header in answer.headers
    }
    return members | {"InvokedProductionVariant": lease.variant.name}


def _headers(invocation: Invocation) -> Mapping[str, str]:
    """What a container is told: "strips all POST headers except those supported by the API"."""
    told = {
        "Content-Type": invocation.content_type,
        "Accept": invocation.accept,
        CUSTOM_ATTRIBUTES: invocation.custom_attributes,
        # "SageMaker AI will generate an identifier for you if none is specified."
        INFERENCE_ID: invocation.inference_id or str(uuid4()),
    }
    return {name: value for name, value in told.items() if value is not None}


class PassedOn:
    """The body of an answer on its way; the lease ends with it. Close it, whatever happens."""

    def __init__(self, answer: Answer, lease: Lease) -> None:
        self._answer = answer
        self._lease = lease
        self._chunks = answer.chunks()
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of server and connection. Idempotent."""
        if not self._closed:
            self._closed = True
            self._answer.close()
            self._lease.release()


def _check_size(size: int, most: int, what: str) -> None:
    if size > most:
        raise ServiceError(
            "ValidationError",
            "1 validation error detected: Value at 'body' failed to satisfy constraint: Member "
            f"must have length less than or equal to {most}; the payload{what} has {size}",
        )


def words_for(error: NoAnswer | TooSlow) -> str:
    """The service's own words for a container that does not answer."""
    if isinstance(error, TooSlow):
        return (
            "Your invocation timed out while waiting for a response from container primary. "
            "Review the latency metrics for each container in Amazon CloudWatch, resolve the "
            "issue, and try again."
        )
    return "An error occurred while handling request as the model process exited."
