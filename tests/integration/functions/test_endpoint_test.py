"""The endpoint test as it is deployed: its image, invoked, against S3 and an endpoint."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mlops.functions import FunctionManager
from mlops.listening import listening_host
from mlops.ports import ContainerRuntime

from .conftest import IMAGE, ROLE, Functions

ROWS = 30
HOLDOUT = "price,carat,cut\n" + "".join(f"{100 * n},{n},Ideal\n" for n in range(1, ROWS + 1))
FILES = {
    "/bucket/holdout/holdout.csv": HOLDOUT,
    "/bucket/evaluation/evaluation.json": json.dumps(
        {"regression_metrics": {"mse": {"value": 25.0}}}
    ),
}


class Aws(http.server.BaseHTTPRequestHandler):
    """GetObject and InvokeEndpoint; the endpoint's predictions are 5 too high."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    connections: set[Any] = set()  # noqa: RUF012 - of the one server there is

    def do_GET(self) -> None:
        text = FILES.get(self.path)
        self._send(200 if text else 404, text or "")

    def do_POST(self) -> None:
        self.connections.add(self.client_address)
        line = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path.startswith("/endpoints/broken/"):
            self._send(424, '{"Message": "row 1, column carat: no number"}', "ModelError")
        elif not self.path.startswith("/endpoints/right/"):
            self._send(400, '{"Message": "Endpoint not found."}', "ValidationError")
        else:
            self._send(200, f"{100 * float(line.split(',')[0]) + 5}\n")

    def _send(self, status: int, text: str, error: str | None = None) -> None:
        self.send_response(status)
        if error:
            self.send_header("x-amzn-ErrorType", error)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint_url(runtime: ContainerRuntime) -> Iterator[str]:
    host = listening_host(runtime.gateway_host)
    server = http.server.ThreadingHTTPServer((host, 0), Aws)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Aws.connections.clear()
    yield f"http://{host}:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def ask(open_functions: Callable[..., Functions], endpoint_url: str) -> Callable[..., Any]:
    functions = open_functions(gateway_url=lambda: endpoint_url)
    manager: FunctionManager = functions.manager
    manager.create_function(
        {
            "FunctionName": "test",
            "Role": ROLE,
            "PackageType": "Image",
            "Code": {"ImageUri": IMAGE},
            "Timeout": 60,
            "MemorySize": 512,
        }
    )

    def invoke(**event: Any) -> Any:
        sent = {
            "endpoint_name": "right",
            "holdout_s3_uri": "s3://bucket/holdout",
            "evaluation_s3_uri": "s3://bucket/evaluation/evaluation.json",
            "columns": ["carat", "cut"],
            "target": "price",
            **event,
        }
        return functions.invoke(sent, "test")

    return invoke


def test_a_right_endpoint_passes_over_one_connection(ask: Callable[..., Any]) -> None:
    answer = ask()
    assert answer.error is None
    assert answer.payload["status"] == "passed"
    assert answer.payload["requests"] == ROWS
    assert answer.payload["mse"] == pytest.approx(25.0)
    assert answer.payload["p50_ms"] > 0
    assert len(Aws.connections) == 1
    assert '"status": "passed"' in answer.log  # CloudWatch has the result, too


def test_the_next_test_is_quicker(ask: Callable[..., Any]) -> None:
    first, second = ask().payload, ask().payload
    assert second["first_ms"] < first["first_ms"]  # the clients are there


@pytest.mark.parametrize(
    ("endpoint", "requests", "failure"),
    [
        ("broken", 10, "row 1, column carat: no number"),
        ("nobody", 1, "Endpoint not found."),
    ],
)
def test_a_wrong_endpoint_fails(
    ask: Callable[..., Any], endpoint: str, requests: int, failure: str
) -> None:
    answer = ask(endpoint_name=endpoint)
    assert answer.error is None
    assert (answer.payload["status"], answer.payload["requests"]) == ("failed", requests)
    assert failure in answer.payload["failures"][0]


def test_what_the_caller_got_wrong_is_a_function_error(ask: Callable[..., Any]) -> None:
    answer = ask(holdout_s3_uri="s3://bucket/other.csv")
    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] == "FetchProblem"
    assert "s3://bucket/other.csv cannot be read" in answer.payload["errorMessage"]
