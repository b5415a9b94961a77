"""What a request asks for: the service, the operation, and the request itself to hand on.

The protocol shows in the request: AWS JSON names the operation in X-Amz-Target, the query protocol
in the form's ``Action``, Smithy's RPC protocol in the path
(``/service/<name>/operation/<operation>``).
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from urllib.parse import parse_qs

from mlops.errors import ServiceError
from mlops.gateway.moto.journal import Wire
from mlops.gateway.wire import MAXIMUM_BODY, Environ, read_body

_RPC_PATH = re.compile(r"/service/(?P<service>[^/]+)/operation/(?P<operation>[^/]+)/?")
_HANDED_ON = {
    "CONTENT_TYPE": "Content-Type",
    "HTTP_X_AMZ_TARGET": "X-Amz-Target",
    "HTTP_SMITHY_PROTOCOL": "Smithy-Protocol",
}
"""Who sent it, and how it was signed, is not: the same request is to be the same later on."""
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, read whole."""

    target: str
    """The prefix of X-Amz-Target; empty where there is none."""
    operation: str
    """Empty where the request does not say, as in REST."""
    wire: Wire


def read_request(environ: Environ) -> Asked:
    """
    Raises:
        ServiceError: it is too large, or is not packed as it says.
    """
    wire = Wire(
        method=environ["REQUEST_METHOD"],
        path=environ["PATH_INFO"] or "/",
        query=environ.get("QUERY_STRING", ""),
        headers=tuple(
            (name, environ[variable])
            for variable, name in _HANDED_ON.items()
            if environ.get(variable)
        ),
        body=_unpacked(environ.get("HTTP_CONTENT_ENCODING", ""), read_body(environ)),
    )
    target, _, operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")
    rpc = _RPC_PATH.fullmatch(wire.path)
    if rpc:
        return Asked("", rpc["operation"], wire)
    return Asked(target, operation or _action(environ.get("CONTENT_TYPE", ""), wire), wire)


def _action(content_type: str, wire: Wire) -> str:
    """The operation in a form, from the body or, for a GET, the query string."""
    text = wire.query
    if wire.method == "POST" and content_type.startswith(_FORM):
        text = wire.body.decode("utf-8", "replace")
    return parse_qs(text).get("Action", [""])[0]


def _unpacked(encoding: str, body: bytes) -> bytes:
    """A body as it was before botocore packed it, as it does with a long PutMetricData."""
    if encoding != "gzip":
        return body
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        unpacked = unpacker.decompress(body, MAXIMUM_BODY)
    except zlib.error as error:
        raise ServiceError(
            "SerializationException", f"The request's body is not packed as gzip: {error}"
        ) from error
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise ServiceError(
            "RequestEntityTooLargeException",
            f"The request has more than {MAXIMUM_BODY} bytes unpacked, or an end is missing",
            status=413,
        )
    return unpacked
