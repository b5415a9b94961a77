"""A service that is not here says so, in the protocol of the client that asks.

The request itself shows the protocol; botocore's model is asked only for the name of an operation
that a REST request does not tell.
"""

from __future__ import annotations

from contextlib import suppress
from uuid import uuid4

from mlops.errors import MlopsError, ServiceError
from mlops.gateway.protocols import json11, query, rest_json
from mlops.gateway.wire import Environ, Response, json_response, read_body, service_error

_REST_XML = ("cloudfront", "route53", "s3-outposts")
ANSWERED = (
    "cloudformation, cloudwatch, dynamodb, ecr, events, iam, kinesis, kms, lambda, logs, s3, "
    "sagemaker, sagemaker-runtime, secretsmanager, sns, sqs, ssm and sts"
)


def refuse(
    environ: Environ, service: str, *, operation: str = "", why: str | None = None
) -> Response:
    """Answer a request to what the gateway does not have.

    `operation` is known where the request has been read; `why` says what would be pretended.
    """
    if not operation:
        with suppress(ServiceError):
            read_body(environ)  # a client that is still sending would not see the answer
    asked = f"{service} {operation}" if operation else _operation(environ, service)
    reason = f"it would only pretend to: {why}" if why else f"it has {ANSWERED}"
    error = ServiceError(
        "NotImplemented",
        f"The local gateway does not answer {asked}: {reason}. "
        f"Give this client another endpoint, or none, to reach AWS.",
        status=501,
    )
    return error_answer(environ, service, error)


def error_answer(environ: Environ, service: str, error: MlopsError) -> Response:
    """An error in the protocol that the request is in."""
    told = service_error(error)
    if environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
        return _cbor(told)
    if "HTTP_X_AMZ_TARGET" in environ:
        return json11.error_answer(told)
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        return _ec2(told) if service == "ec2" else query.error_answer(told)
    if service in _REST_XML:
        return query.error_answer(told)
    return json_response(
        {"message": str(told)},
        status=told.status,
        headers=[("x-amzn-ErrorType", told.code)],
    )


def _operation(environ: Environ, service: str) -> str:
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target:
        return f"{service} {target.rpartition('.')[2]}"
    return f"{service} {_rest_operation(environ, service)}"


def _rest_operation(environ: Environ, service: str) -> str:
    """The operation of a REST request; where botocore has no service of that name, what it asks."""
    from botocore.exceptions import UnknownServiceError

    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    try:
        found = rest_json.find_operation(service, method, path, environ.get("QUERY_STRING", ""))
    except UnknownServiceError:
        found = None
    return found[0] if found else f"{method} {path}"


def _ec2(error: ServiceError) -> Response:
    body = (
        f"<Response><Errors><Error><Code>{error.code}</Code><Message>{query.xml_text(str(error))}"
        f"</Message></Error></Errors><RequestID>{uuid4()}</RequestID></Response>"
    )
    return Response(error.status, body.encode(), query.CONTENT_TYPE)


def _cbor(error: ServiceError) -> Response:
    members = {"__type": error.code, "message": str(error)}
    body = bytes([0xA0 | len(members)]) + b"".join(
        _cbor_text(text) for pair in members.items() for text in pair
    )
    headers = [("smithy-protocol", "rpc-v2-cbor")]
    return Response(error.status, body, "application/cbor", headers)


def _cbor_text(text: str) -> bytes:
    data = text.encode()
    # Major type 3 with a length of two bytes (RFC 8949): long enough for any message here.
    return b"\x79" + len(data).to_bytes(2, "big") + data
