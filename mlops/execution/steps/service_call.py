"""What RegisterModel and Model steps have in common: one call of the service."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from mlops.aws_model import validate_request
from mlops.errors import ServiceError
from mlops.execution.failures import refused
from mlops.execution.names import timestamp
from mlops.ports import JsonObject


def call(
    operation: str, function: Callable[[JsonObject], JsonObject], request: JsonObject
) -> JsonObject:
    """Check a request and hand it to the service; the answer as plain JSON.

    Raises:
        StepFailure: the service refuses it, in the words of a failed step.
    """
    try:
        validate_request("sagemaker", operation, request)
        answer = function(request)
    except ServiceError as error:
        raise refused(operation, error) from error
    plain: JsonObject = _plain(answer)
    return plain


def _plain(value: Any) -> Any:
    """Moments become what the AWS JSON protocol writes; a step's outputs are stored as JSON."""
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
