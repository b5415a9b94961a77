"""What may be sent to a function."""

from __future__ import annotations

import base64

import pytest

from mlops.errors import ServiceError
from mlops.functions.invoker import MAXIMUM_REQUEST, checked_payload, client_context


def test_nothing_is_an_empty_object() -> None:
    assert checked_payload({}, 10) == b"{}"
    assert checked_payload({"Payload": b" \n"}, 10) == b"{}"


def test_any_json_goes() -> None:
    assert checked_payload({"Payload": b'"text"'}, 10) == b'"text"'


@pytest.mark.parametrize("payload", [b"{", b"nonsense", b"\xff", b"[" * 100_000])
def test_what_is_no_json(payload: bytes) -> None:
    with pytest.raises(ServiceError, match="Could not parse request body into json") as caught:
        checked_payload({"Payload": payload}, MAXIMUM_REQUEST)
    assert caught.value.code == "InvalidRequestContentException"


def test_too_much() -> None:
    with pytest.raises(ServiceError, match="smaller than 6291456 bytes") as caught:
        checked_payload({"Payload": b" " * (MAXIMUM_REQUEST + 1)}, MAXIMUM_REQUEST)
    assert (caught.value.code, caught.value.status) == ("RequestTooLargeException", 413)


def test_a_client_context_becomes_one_line() -> None:
    given = base64.b64encode(b'{"custom":\n {"a": 1}}').decode()
    assert client_context(given) == '{"custom": {"a": 1}}'
    assert client_context(None) is None


@pytest.mark.parametrize("given", ["no base64!", base64.b64encode(b"[1]").decode()])
def test_a_client_context_that_is_none(given: str) -> None:
    with pytest.raises(ServiceError, match="Client context must be a valid Base64-encoded JSON"):
        client_context(given)
