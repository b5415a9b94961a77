"""InvokeEndpointWithResponseStream through boto3: an answer that is read while it is made."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError

from mlops.runtimes.fake import FakeContainer, FakeRuntime
from mlops.runtimes.fake_model import FakeModelServer, Reply

from .conftest import Account


class Teller:
    """Says words one by one; the second waits until the first has been heard."""

    def __init__(self) -> None:
        self.heard = threading.Event()
        self.headers: dict[str, str] = {}

    def __call__(self, container: FakeContainer, body: bytes, headers: Any) -> Reply:
        self.headers = dict(headers)
        if body == b"bad":
            return Reply(b"no such words", status=400)
        told = {"Content-Type": "text/plain", "X-Amzn-SageMaker-Custom-Attributes": "a"}
        return Reply(headers=told, parts=self._words(body))

    def _words(self, body: bytes) -> Iterator[bytes]:
        yield b"first "
        if not self.heard.wait(60):
            raise OSError("nobody has heard it")
        if body == b"break":
            raise OSError("broken")
        yield b"second " * (1000 if body == b"long" else 1)


@pytest.fixture
def teller() -> Teller:
    return Teller()


@pytest.fixture
def server(teller: Teller) -> FakeModelServer:
    return FakeModelServer(teller)


@pytest.fixture
def stream(account: Account) -> Any:
    account.model()
    account.config()
    account.endpoint()

    def invoked(body: bytes = b"", **more: Any) -> Any:
        return account.runtime.invoke_endpoint_with_response_stream(
            EndpointName="e", Body=body, ContentType="text/plain", Accept="text/x", **more
        )

    return invoked


def test_parts_come_while_the_answer_is_made(stream: Any, teller: Teller) -> None:
    answer = stream(b"go", CustomAttributes="asked")
    assert answer["ContentType"] == "text/plain"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["CustomAttributes"] == "a"
    parts = iter(answer["Body"])
    assert next(parts) == {"PayloadPart": {"Bytes": b"first "}}
    teller.heard.set()
    assert b"".join(part["PayloadPart"]["Bytes"] for part in parts) == b"second "
    assert teller.headers["Accept"] == "text/x"
    assert teller.headers["X-Amzn-SageMaker-Custom-Attributes"] == "asked"


def test_a_long_answer_is_whole(stream: Any, teller: Teller) -> None:
    teller.heard.set()
    parts = [part["PayloadPart"]["Bytes"] for part in stream(b"long")["Body"]]
    assert b"".join(parts) == b"first " + b"second " * 1000


def test_an_answer_that_breaks_off_says_so(stream: Any, teller: Teller) -> None:
    teller.heard.set()
    with pytest.raises(EventStreamError, match="ModelStreamError"):
        list(stream(b"break")["Body"])


def test_a_client_that_leaves_lets_the_server_go(
    stream: Any, teller: Teller, account: Account
) -> None:
    stream(b"go")["Body"].close()
    teller.heard.set()
    parts = [part["PayloadPart"]["Bytes"] for part in stream(b"go")["Body"]]
    assert b"".join(parts) == b"first second "


def test_errors_before_the_answer_begins_are_those_of_invoke_endpoint(
    stream: Any, account: Account, runtime: FakeRuntime
) -> None:
    with pytest.raises(account.runtime.exceptions.ModelError, match="no such words") as caught:
        stream(b"bad")
    assert caught.value.response["OriginalStatusCode"] == 400
    with pytest.raises(ClientError, match="not found"):
        account.runtime.invoke_endpoint_with_response_stream(EndpointName="none", Body=b"")
    with pytest.raises(ClientError, match="stateful sessions"):
        stream(b"go", SessionId="NEW_SESSION")
