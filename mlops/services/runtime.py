"""sagemaker-runtime: InvokeEndpoint, InvokeEndpointWithResponseStream, InvokeEndpointAsync."""

from __future__ import annotations

from mlops import aws_model
from mlops.errors import ServiceError
from mlops.hosting import EndpointManager
from mlops.hosting.invocation import Invocation, InvocationAnswer, StreamedAnswer
from mlops.ports import JsonObject

OPERATION = "InvokeEndpoint"
STREAMING = "InvokeEndpointWithResponseStream"
ASYNC = "InvokeEndpointAsync"
MOST_INLINE_BYTES = 128_000
"""botocore sagemaker-runtime ``AsyncBodyBlob``: of a payload in an InvokeEndpointAsync request."""

_REFUSED = {
    "TargetModel": "endpoints of several models do not run locally yet",
    "TargetContainerHostname": "inference pipelines do not run locally yet",
    "InferenceComponentName": "inference components do not run locally yet",
    "EnableExplanations": "no explainer runs here",
    "SessionId": "stateful sessions do not run locally yet",
}
_LIMITED = {"ContentType", "Accept", "CustomAttributes", "TargetVariant", "InferenceId"}


class RuntimeService:
    """Requests in botocore's shape, answers whose body is still on its way. Thread-safe."""

    def __init__(self, hosting: EndpointManager) -> None:
        self._hosting = hosting

    def invoke(self, request: JsonObject) -> InvocationAnswer:
        """InvokeEndpoint. The answer's body has to be read or closed.

        Raises:
            ModelError, ServiceError: as InvokeEndpoint answers.
        """
        _check(request, OPERATION)
        return self._hosting.invoke(request["EndpointName"], _invocation(request))

    def stream(self, request: JsonObject) -> StreamedAnswer:
        """InvokeEndpointWithResponseStream. The answer's body has to be read or closed.

        Raises:
            ModelError, ServiceError: as InvokeEndpoint answers.
        """
        _check(request, STREAMING)
        return self._hosting.stream(request["EndpointName"], _invocation(request))

    def invoke_async(self, request: JsonObject) -> JsonObject:
        """InvokeEndpointAsync: the answer, once the request is on disk.

        Raises:
            ServiceError: ``ValidationError``.
            StoreError, DiskFull: it cannot be kept.
        """
        body = request.get("Body") or b""
        _refuse_problems(aws_model.find_problems("sagemaker-runtime", ASYNC, request))
        if len(body) > MOST_INLINE_BYTES:
            raise ServiceError(
                "ValidationError",
                "1 validation error detected: Value at 'body' failed to satisfy constraint: Member "
                f"must have length less than or equal to {MOST_INLINE_BYTES}; put it into S3 and "
                "name it as InputLocation",
            )
        if bool(body) == ("InputLocation" in request):
            raise ServiceError(
                "ValidationError",
                "Body and InputLocation are mutually exclusive. Provide exactly one of them.",
            )
        made = self._hosting.enqueue(request["EndpointName"], request)
        return {
            "InferenceId": made.inference_id,
            "OutputLocation": made.output,
            "FailureLocation": made.failure,
        }


def _invocation(request: JsonObject) -> Invocation:
    return Invocation(
        body=request.get("Body", b""),
        content_type=request.get("ContentType"),
        accept=request.get("Accept"),
        custom_attributes=request.get("CustomAttributes"),
        target_variant=request.get("TargetVariant"),
        inference_id=request.get("InferenceId"),
    )


def _check(request: JsonObject, operation: str) -> None:
    for name, reason in _REFUSED.items():
        if request.get(name) is not None:
            raise ServiceError("ValidationError", f"{name} is not supported: {reason}")
    # The body's own limit is checked by who reads it: a request need not be here whole for that.
    given = {name: request[name] for name in _LIMITED if request.get(name) is not None}
    _refuse_problems(
        aws_model.find_problems(
            "sagemaker-runtime",
            operation,
            {"EndpointName": request["EndpointName"], "Body": b"", **given},
        )
    )


def _refuse_problems(problems: list[str]) -> None:
    if problems:
        count = len(problems)
        head = f"{count} validation error{'s' if count > 1 else ''} detected: "
        raise ServiceError("ValidationError", head + "; ".join(problems))
