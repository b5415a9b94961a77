"""Requests checked against botocore's service model before an operation sees them."""

from __future__ import annotations

from typing import Any

from mlops import aws_model
from mlops.errors import ServiceError
from mlops.ports import JsonObject


def checked_request(service: str, operation: str, request: JsonObject) -> JsonObject:
    """The request, valid, without the members that the model does not know.

    The services ignore unknown members: a client may be newer than they are. So do we, where
    the client may be newer than botocore's model here.

    Raises:
        ServiceError: ``ValidationException`` that names every broken constraint.
    """
    shape = aws_model.load_shape(service, operation)
    known = _known(shape, request) if shape is not None else {}
    aws_model.validate_request(service, operation, known)
    return known


def _known(shape: Any, value: Any) -> Any:
    """`value` without nulls and members that `shape` does not have; other wrongs stay as is."""
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        return {
            name: _known(shape.members[name], child)
            for name, child in value.items()
            if child is not None and name in shape.members
        }
    if kind == "list" and isinstance(value, list):
        return [_known(shape.member, child) for child in value]
    if kind == "map" and isinstance(value, dict):
        return {key: _known(shape.value, child) for key, child in value.items()}
    return value


def invalid(message: str) -> ServiceError:
    """The error of a request that is well formed and cannot be served."""
    return ServiceError("ValidationException", message)


def missing(operation: str, message: str) -> ServiceError:
    """The error of `operation` on a thing that is not there.

    The service model decides the code: ``ResourceNotFound`` where the operation lists it, else
    ``ValidationException`` (DescribeModel, the model package operations).
    """
    model = aws_model.load_service("sagemaker").operation_model(operation)
    listed = any(shape.name == "ResourceNotFound" for shape in model.error_shapes)
    return ServiceError("ResourceNotFound" if listed else "ValidationException", message)


def refuse_unsupported(request: JsonObject, reasons: dict[str, str]) -> None:
    """Refuse the members of a request that this gateway would otherwise have to ignore.

    Raises:
        ServiceError: ``ValidationException`` with the reason of the first such member.
    """
    for name, reason in reasons.items():
        if name in request:
            raise invalid(f"{name} is not supported by the local gateway: {reason}")
