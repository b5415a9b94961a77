"""A service that is not here says so, in the protocol of the client that asks.

The request itself shows the protocol; botocore's model of every service need not be loaded.
"""

from __future__ import annotations

from contextlib import suppress
from uuid import uuid4

from mlops.errors import ServiceError
from mlops.gateway.protocols import json11, query
from mlops.gateway.wire import Environ, Response, json_response, read_body

_REST_XML = ("cloudfront", "route53", "s3-outposts")
ANSWERED = "sagemaker, sagemaker-runtime, iam, lambda, logs, s3, sqs and sts"


def refuse(environ: Environ, service: str) -> Response:
    """Answer a request to a service that the gateway does not have."""
    with suppress(ServiceError):
        read_body(environ)  # a client that is still sending would not see the answer
    error = ServiceError(
        "NotImplemented",
        f"The local gateway does not answer {_operation(environ, service)}: it has {ANSWERED}. "
        f"Give this client another endpoint, or none, to reach AWS.",
        status=501,
    )
    if environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
        return _cbor(error)
    if "HTTP_X_AMZ_TARGET" in environ:
        return json11.error_answer(error)
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        return _ec2(error) if service == "ec2" else query.error_answer(error)
    if service in _REST_XML:
        return query.error_answer(error)
    return json_response(
        {"message": str(error)},
        status=error.status,
        headers=[("x-amzn-ErrorType", error.code)],
    )


def _operation(environ: Environ, service: str) -> str:
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target:
        return f"{service} {target.rpartition('.')[2]}"
    return f"{service} {environ['REQUEST_METHOD']} {environ['PATH_INFO']}"


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
