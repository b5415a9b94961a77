"""What a request says, read and held to botocore's model: moto takes much that AWS does not."""

from __future__ import annotations

from typing import Any

from mlops.errors import ServiceError
from mlops.gateway.moto.adapting import ONE_AT_A_TIME, module, still
from mlops.gateway.moto.allow_list import AllowedService
from mlops.gateway.moto.journal import Wire
from mlops.gateway.moto.requests import Asked
from mlops.json_text import parse_json
from mlops.ports import JsonObject
from mlops.services.validation import checked_request, invalid


def checked_members(service: AllowedService, asked: Asked) -> JsonObject:
    """The members of a request, valid by botocore's model.

    Raises:
        ServiceError: as AWS refuses it; ``NotImplemented`` for a protocol that moto does not read.
    """
    if asked.target:
        _check_json(asked.wire.body)
    members = _members(service.name, asked.operation, asked.wire)
    try:
        valid = checked_request(service.name, asked.operation, members)
        _check_unless(service, asked.operation, valid)
    except ServiceError as error:
        code = error.code if asked.target else "ValidationError"
        raise ServiceError(code, error.what) from error
    return valid


def _check_unless(service: AllowedService, operation: str, request: JsonObject) -> None:
    for rule in service.unless:
        if operation in rule.operations and request.get(rule.member, rule.value) != rule.value:
            taken = "" if rule.value is None else f", only {rule.value!r}"
            raise invalid(
                f"{rule.member} is not supported by the local gateway in {service.name} "
                f"{operation}{taken}: {rule.why}"
            )


def _check_json(body: bytes) -> None:
    try:
        document = parse_json(body or b"{}")
    except ValueError as error:
        raise ServiceError(
            "SerializationException", f"The request's body is not JSON: {error}"
        ) from error
    if not isinstance(document, dict):
        raise ServiceError("SerializationException", "The request's body is no JSON object")


def _members(service: str, operation: str, wire: Wire) -> JsonObject:
    with ONE_AT_A_TIME:
        still()
        model = module("moto.core.utils").get_service_model(service)
        url = f"https://localhost{wire.path}" + (f"?{wire.query}" if wire.query else "")
        request = module("moto.core.request").Request.from_primitives(
            wire.method, url, dict(wire.headers), wire.body
        )
        protocol = _protocol(model, request)
        parser = module("moto.core.parse").PROTOCOL_PARSERS[protocol](
            model.operation_model(operation)
        )
        parts = {
            "method": wire.method,
            "values": request.values,
            "headers": request.headers,
            "body": request.data,
            "url_path": wire.path,
            "url_params": {},
        }
        try:
            parsed: JsonObject = parser.parse(parts)
        except Exception as error:  # of any kind, on what they cannot read
            raise ServiceError(
                "SerializationException", f"The request cannot be read: {error}"
            ) from error
        return parsed


def _protocol(model: Any, request: Any) -> str:
    try:
        found = module("moto.core.request").determine_request_protocol(model, request.content_type)
    except NotImplementedError as error:
        raise _not_spoken(model.service_name) from error
    if found not in module("moto.core.parse").PROTOCOL_PARSERS:
        raise _not_spoken(model.service_name)
    return str(found)


def _not_spoken(service: str) -> ServiceError:
    return ServiceError(
        "NotImplemented",
        f"The local gateway does not speak this protocol with {service}: botocore, the AWS CLI and "
        f"most clients speak JSON or the query protocol with it, which it does",
        status=501,
    )
