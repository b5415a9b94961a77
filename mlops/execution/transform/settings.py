"""What counts for a transform job: its request, then the container's word, then the defaults. Pure.

Defaults: the API Reference, CreateTransformJob. A container may answer ``GET
/execution-parameters`` (the Developer Guide, "Use Your Own Inference Code with Batch Transform");
what the request says wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MEGABYTE = 1024 * 1024
DEFAULT_PAYLOAD_MB = 6
MOST_PAYLOAD_MB = 100
"""Of one payload, and of all that are under way at once."""
DEFAULT_TIMEOUT_SECONDS = 600
DEFAULT_RETRIES = 3


@dataclass(frozen=True, slots=True)
class TransformSettings:
    concurrent: int
    payload_megabytes: int
    """0: of any size, sent in chunks."""
    strategy: str
    """``MultiRecord`` or ``SingleRecord``."""
    timeout_seconds: int
    retries: int

    @property
    def most_bytes(self) -> int | None:
        """A payload's most bytes; None for any number."""
        return self.payload_megabytes * MEGABYTE if self.payload_megabytes else None


def settings_of(request: Mapping[str, Any], container: Mapping[str, Any]) -> TransformSettings:
    """The settings of a CreateTransformJob `request` whose container says `container` of itself.

    A value of the container's that is none is passed over.
    """
    client = request.get("ModelClientConfig", {})
    payload = request.get("MaxPayloadInMB")
    strategy = request.get("BatchStrategy") or container.get("BatchStrategy")
    if payload is None:
        payload = _number(container.get("MaxPayloadInMB"), DEFAULT_PAYLOAD_MB)
    return TransformSettings(
        concurrent=request.get("MaxConcurrentTransforms")
        or max(_number(container.get("MaxConcurrentTransforms"), 1), 1),
        payload_megabytes=min(payload, MOST_PAYLOAD_MB),
        strategy=_strategy(strategy),
        timeout_seconds=client.get("InvocationsTimeoutInSeconds", DEFAULT_TIMEOUT_SECONDS),
        retries=client.get("InvocationsMaxRetries", DEFAULT_RETRIES),
    )


def environment_of(request: Mapping[str, Any]) -> dict[str, str]:
    """The variables that a transform job's container has beside the model's and the request's own.

    The Developer Guide, "Use Your Own Inference Code with Batch Transform": ``SAGEMAKER_BATCH`` in
    every one, the others where the request says them.
    """
    variables = {"SAGEMAKER_BATCH": "true"}
    if request.get("MaxPayloadInMB") is not None:
        variables["SAGEMAKER_MAX_PAYLOAD_IN_MB"] = str(request["MaxPayloadInMB"])
    if request.get("BatchStrategy"):
        single = request["BatchStrategy"] == "SingleRecord"
        variables["SAGEMAKER_BATCH_STRATEGY"] = "SINGLE_RECORD" if single else "MULTI_RECORD"
    if request.get("MaxConcurrentTransforms"):
        variables["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"] = str(request["MaxConcurrentTransforms"])
    return variables


def _number(value: Any, default: int) -> int:
    return (
        value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default
    )


def _strategy(value: Any) -> str:
    # The container writes it as its variable does; the request as the API does.
    return "SingleRecord" if value in ("SingleRecord", "SINGLE_RECORD") else "MultiRecord"
