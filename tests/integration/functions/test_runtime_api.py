"""The Runtime API on the wire, as AWS's documentation and its own implementation have it.

Sources: "Using the Lambda runtime API for custom runtimes" (AWS documentation, whose OpenAPI
document names the paths, headers and statuses), and aws-lambda-runtime-interface-emulator,
``lambda/rapi`` (the bodies of refusals, and which moves are allowed). The emulator itself is a Go
binary that no package registry has; what AWS's runtime client does with this API is tested in
``test_functions.py``.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mlops.functions.exchange import MAXIMUM_RESPONSE, Exchange, Invocation, Phase
from mlops.functions.http import EventLoop
from mlops.functions.runtime_api import RuntimeApi

BASE = "/2018-06-01/runtime"
REQUEST_ID = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
ARN = "arn:aws:lambda:us-east-2:123456789012:function:custom-runtime"
TRACE = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"
INVOCATION = Invocation(REQUEST_ID, b'{"key": "\xc3\xa9"}', ARN, 1542409706888, TRACE)


class Runtime:
    """A client as a runtime is: one connection, kept."""

    def __init__(self, address: str) -> None:
        self.connection = http.client.HTTPConnection(address, timeout=10)

    def send(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body, named)
        answer = self.connection.getresponse()
        content = answer.read()
        document: Any = content
        if answer.getheader("Content-Type") == "application/json" and content:
            document = json.loads(content)
        return answer.status, document, {k.lower(): v for k, v in answer.getheaders()}

    def next(self) -> tuple[int, Any, dict[str, str]]:
        return self.send("GET", f"{BASE}/invocation/next")

    def respond(self, body: bytes = b"{}", request_id: str = REQUEST_ID) -> tuple[int, Any, Any]:
        return self.send("POST", f"{BASE}/invocation/{request_id}/response", body)


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    loop = EventLoop()
    yield loop
    loop.close()


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
def api(loop: EventLoop, exchange: Exchange) -> Iterator[RuntimeApi]:
    api = RuntimeApi(loop, exchange, "127.0.0.1", "127.0.0.1")
    yield api
    api.close()


@pytest.fixture
def runtime(api: RuntimeApi) -> Iterator[Runtime]:
    runtime = Runtime(api.address)
    yield runtime
    runtime.connection.close()


@pytest.fixture
def busy(runtime: Runtime, exchange: Exchange) -> Runtime:
    """A runtime that has an invocation."""
    exchange.begin(INVOCATION)
    assert runtime.next()[0] == 200
    return runtime


# --- invocation/next ---


def test_next_has_the_event_and_the_documented_headers(
    runtime: Runtime, exchange: Exchange
) -> None:
    exchange.begin(INVOCATION)
    status, event, headers = runtime.next()
    assert (status, event) == (200, {"key": "é"})
    assert headers["lambda-runtime-aws-request-id"] == REQUEST_ID
    assert headers["lambda-runtime-deadline-ms"] == "1542409706888"
    assert headers["lambda-runtime-invoked-function-arn"] == ARN
    assert headers["lambda-runtime-trace-id"] == TRACE
    assert headers["content-type"] == "application/json"
    assert "lambda-runtime-client-context" not in headers


def test_next_has_the_client_context_where_there_is_one(
    runtime: Runtime, exchange: Exchange
) -> None:
    exchange.begin(Invocation(REQUEST_ID, b"{}", ARN, 1, TRACE, '{"custom": {"a": 1}}'))
    assert runtime.next()[2]["lambda-runtime-client-context"] == '{"custom": {"a": 1}}'


def test_next_waits_for_an_event(runtime: Runtime, exchange: Exchange) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(runtime.next)
        assert exchange.wait_until_started(5) is Phase.READY
        time.sleep(0.05)
        assert not waiting.done()
        exchange.begin(INVOCATION)
        assert waiting.result(5)[0] == 200


def test_a_runtime_that_dies_while_it_waits_takes_no_event_with_it(
    api: RuntimeApi, exchange: Exchange
) -> None:
    with socket.create_connection(api.address.split(":")) as dying:
        dying.sendall(f"GET {BASE}/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert exchange.wait_until_started(5) is Phase.READY
    deadline = time.monotonic() + 5
    while exchange.phase is Phase.READY and time.monotonic() < deadline:
        time.sleep(0.005)
    exchange.begin(INVOCATION)
    assert not exchange.was_taken
    assert Runtime(api.address).next()[0] == 200


def test_next_with_an_invocation_in_hand_is_forbidden(busy: Runtime) -> None:
    status, refusal, _ = busy.next()
    assert status == 403
    assert refusal["errorType"] == "InvalidStateTransition"
    assert refusal["errorMessage"].startswith("Transition from Running to Ready is not allowed")


# --- invocation/{id}/response ---


def test_a_response_is_accepted_and_handed_on(busy: Runtime, exchange: Exchange) -> None:
    assert busy.respond(b'{"answer": 42}')[:2] == (202, {"status": "OK"})
    answer = exchange.wait_for_answer(time.monotonic() + 5)
    assert answer is not None
    assert (answer.payload, answer.error_type) == (b'{"answer": 42}', None)


def test_a_response_need_not_be_json(busy: Runtime, exchange: Exchange) -> None:
    """Lambda hands on what a custom runtime posts, as its own tutorial shows."""
    assert busy.respond(b"Echoing request")[0] == 202
    answer = exchange.wait_for_answer(time.monotonic() + 5)
    assert answer is not None
    assert answer.payload == b"Echoing request"


def test_a_response_in_chunks(busy: Runtime, exchange: Exchange) -> None:
    """As a streaming runtime sends it; collected, as Invoke does."""
    headers = {
        "Lambda-Runtime-Function-Response-Mode": "streaming",
        "Transfer-Encoding": "chunked",
    }
    busy.connection.request(
        "POST",
        f"{BASE}/invocation/{REQUEST_ID}/response",
        iter([b"one ", b"two"]),
        headers,
        encode_chunked=True,
    )
    assert busy.connection.getresponse().status == 202
    answer = exchange.wait_for_answer(time.monotonic() + 5)
    assert answer is not None
    assert answer.payload == b"one two"


def test_another_response_mode_is_refused(busy: Runtime) -> None:
    path = f"{BASE}/invocation/{REQUEST_ID}/response"
    mode = {"Lambda_Runtime_Function_Response_Mode": "other"}
    status, refusal, _ = busy.send("POST", path, b"{}", **mode)
    assert (status, refusal["errorType"]) == (400, "InvalidFunctionResponseMode")


def test_a_client_that_asks_first_is_told_to_go_on(busy: Runtime, api: RuntimeApi) -> None:
    """libcurl, in AWS's own clients, does for bodies above a megabyte."""
    head = (
        f"POST {BASE}/invocation/{REQUEST_ID}/response HTTP/1.1\r\nHost: x\r\n"
        "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    with socket.create_connection(api.address.split(":")) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert connection.recv(100).startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize("kind", ["response", "error"])
def test_the_id_of_another_invocation(busy: Runtime, kind: str) -> None:
    status, refusal, _ = busy.send("POST", f"{BASE}/invocation/other/{kind}", b"{}")
    assert status == 400
    assert refusal == {"errorMessage": "Invalid request ID", "errorType": "InvalidRequestID"}


def test_a_response_that_is_too_large(busy: Runtime, exchange: Exchange) -> None:
    status, refusal, _ = busy.respond(b"x" * (MAXIMUM_RESPONSE + 1))
    assert status == 413
    assert refusal == {
        "errorMessage": "Exceeded maximum allowed payload size (6291556 bytes).",
        "errorType": "RequestEntityTooLarge",
    }
    answer = exchange.wait_for_answer(time.monotonic() + 5)
    assert answer is not None
    assert answer.error_type == "Function.ResponseSizeTooLarge"


def test_the_largest_response_that_goes(busy: Runtime) -> None:
    assert busy.respond(b"x" * MAXIMUM_RESPONSE)[0] == 202


# --- invocation/{id}/error, init/error ---


def test_an_error_is_accepted_and_handed_on(busy: Runtime, exchange: Exchange) -> None:
    body = json.dumps(
        {"errorMessage": "Error parsing event data.", "errorType": "InvalidEventDataException"}
    ).encode()
    path = f"{BASE}/invocation/{REQUEST_ID}/error"
    told = {"Lambda_Runtime_Function_Error_Type": "Unhandled"}
    assert busy.send("POST", path, body, **told)[:2] == (202, {"status": "OK"})
    answer = exchange.wait_for_answer(time.monotonic() + 5)
    assert answer is not None
    assert (answer.payload, answer.error_type) == (body, "Unhandled")


def test_an_error_without_the_header_is_of_its_documents_type(
    busy: Runtime, exchange: Exchange
) -> None:
    busy.send("POST", f"{BASE}/invocation/{REQUEST_ID}/error", b'{"errorType": "ValueError"}')
    answer = exchange.wait_for_answer(time.monotonic() + 5)
    assert answer is not None
    assert answer.error_type == "ValueError"


def test_an_error_with_its_cause_for_xray(busy: Runtime, exchange: Exchange) -> None:
    body = {"errorMessage": "m", "errorType": "T", "stackTrace": [], "errorCause": {"a": 1}}
    kind = {"Content_Type": "application/vnd.aws.lambda.error.cause+json"}
    path = f"{BASE}/invocation/{REQUEST_ID}/error"
    assert busy.send("POST", path, json.dumps(body).encode(), **kind)[0] == 202
    answer = exchange.wait_for_answer(time.monotonic() + 5)
    assert answer is not None
    assert json.loads(answer.payload) == {"errorMessage": "m", "errorType": "T", "stackTrace": []}


def test_a_start_that_fails(runtime: Runtime, exchange: Exchange) -> None:
    told = {"Lambda_Runtime_Function_Error_Type": "Runtime.NoSuchHandler"}
    body = b'{"errorMessage": "no handler", "errorType": "NoSuchHandler"}'
    assert runtime.send("POST", f"{BASE}/init/error", body, **told)[:2] == (202, {"status": "OK"})
    failure = exchange.init_failure
    assert failure is not None
    assert (failure.payload, failure.error_type) == (body, "Runtime.NoSuchHandler")


def test_a_start_cannot_fail_afterwards(busy: Runtime) -> None:
    status, refusal, _ = busy.send("POST", f"{BASE}/init/error", b"{}")
    assert (status, refusal["errorType"]) == (403, "InvalidStateTransition")


# --- whatever else ---


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/2018-06-01/runtime/other", 404),
        ("GET", "/", 404),
        ("POST", "/2020-01-01/extension/register", 404),
        ("GET", "/2018-06-01/runtime/restore/next", 404),
        ("POST", f"{BASE}/invocation/next", 405),
        ("GET", f"{BASE}/invocation/{REQUEST_ID}/response", 405),
        ("GET", f"{BASE}/init/error", 405),
    ],
)
def test_what_is_not_there(runtime: Runtime, method: str, path: str, status: int) -> None:
    assert runtime.send(method, path)[0] == status
    assert runtime.send(method, path)[0] == status  # and the connection stays


def test_a_web_page_is_refused(busy: Runtime) -> None:
    path = f"{BASE}/invocation/{REQUEST_ID}/response"
    assert busy.send("POST", path, b"{}", Origin="http://example.com")[0] == 403


@pytest.mark.parametrize("nonsense", [b"hello\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01" * 100])
def test_what_is_no_http_ends_its_connection_alone(
    api: RuntimeApi, exchange: Exchange, nonsense: bytes
) -> None:
    with socket.create_connection(api.address.split(":"), timeout=5) as connection:
        connection.sendall(nonsense)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    exchange.begin(INVOCATION)
    assert Runtime(api.address).next()[0] == 200


def test_close_ends_the_waiting_connections(api: RuntimeApi, exchange: Exchange) -> None:
    runtime = Runtime(api.address)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(runtime.next)
        assert exchange.wait_until_started(5) is Phase.READY
        api.close()
        with pytest.raises((OSError, http.client.HTTPException)):
            waiting.result(5)


def test_many_invocations_over_one_connection(runtime: Runtime, exchange: Exchange) -> None:
    def serve() -> None:
        for _ in range(100):
            _, event, headers = runtime.next()
            runtime.respond(json.dumps(event).encode(), headers["lambda-runtime-aws-request-id"])

    server = threading.Thread(target=serve)
    server.start()
    for number in range(100):
        exchange.begin(Invocation(str(number), str(number).encode(), ARN, 1, TRACE))
        answer = exchange.wait_for_answer(time.monotonic() + 5)
        assert answer is not None
        assert answer.payload == str(number).encode()
    server.join()
