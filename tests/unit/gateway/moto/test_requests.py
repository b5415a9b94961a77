"""What a request asks for, in each protocol."""

from __future__ import annotations

import gzip
import io
from typing import Any

import pytest

from mlops.errors import ServiceError
from mlops.gateway.moto.requests import read_request
from mlops.gateway.wire import MAXIMUM_BODY


def environ(body: bytes = b"", **more: str) -> dict[str, Any]:
    base = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "CONTENT_LENGTH": str(len(body))}
    return {**base, "wsgi.input": io.BytesIO(body), **more}


def test_json() -> None:
    asked = read_request(environ(b"{}", HTTP_X_AMZ_TARGET="AmazonSSM.GetParameter"))
    assert (asked.target, asked.operation) == ("AmazonSSM", "GetParameter")
    assert asked.wire.headers == (("X-Amz-Target", "AmazonSSM.GetParameter"),)


def test_query() -> None:
    form = "application/x-www-form-urlencoded; charset=utf-8"
    asked = read_request(environ(b"Action=ListTopics&Version=1", CONTENT_TYPE=form))
    assert (asked.target, asked.operation) == ("", "ListTopics")
    asked = read_request(environ(REQUEST_METHOD="GET", QUERY_STRING="Action=ListTopics"))
    assert asked.operation == "ListTopics"


def test_rpc_with_cbor() -> None:
    path = "/service/GraniteServiceVersion20100801/operation/ListMetrics"
    asked = read_request(environ(PATH_INFO=path, HTTP_SMITHY_PROTOCOL="rpc-v2-cbor"))
    assert asked.operation == "ListMetrics"


def test_who_sent_it_is_not_kept() -> None:
    asked = read_request(environ(HTTP_AUTHORIZATION="AWS4…", HTTP_X_AMZ_DATE="20260203T040506Z"))
    assert asked.wire.headers == ()


def test_a_packed_body_is_unpacked() -> None:
    packed = gzip.compress(b"{}" * 6000)
    asked = read_request(environ(packed, HTTP_CONTENT_ENCODING="gzip"))
    assert asked.wire.body == b"{}" * 6000


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"not packed", "SerializationException"),
        (gzip.compress(b"{}" * 6000)[:-9], "RequestEntityTooLargeException"),
        (gzip.compress(bytes(MAXIMUM_BODY + 1)), "RequestEntityTooLargeException"),
    ],
    ids=["not packed", "cut off", "too large"],
)
def test_a_body_that_is_not_what_it_says(body: bytes, code: str) -> None:
    with pytest.raises(ServiceError) as refused:
        read_request(environ(body, HTTP_CONTENT_ENCODING="gzip"))
    assert refused.value.code == code
