"""Which service a request is for, and which requests are not answered at all."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from mlops.gateway.router import Router, is_from_a_web_page, service_of


def environ(
    method: str = "POST", path: str = "/", query: str = "", body: bytes = b"", **headers: str
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "HTTP_HOST": "127.0.0.1:4000",
    }
    for name, value in headers.items():
        made[name if name == "CONTENT_TYPE" else f"HTTP_{name}"] = value
    return made


def signed(service: str) -> str:
    return (
        f"AWS4-HMAC-SHA256 Credential=AKIA/20260301/us-east-1/{service}/aws4_request, "
        "SignedHeaders=host, Signature=0"
    )


FORM = {"CONTENT_TYPE": "application/x-www-form-urlencoded; charset=utf-8"}


@pytest.mark.parametrize(
    ("request_", "service"),
    [
        (environ(X_AMZ_TARGET="SageMaker.ListPipelines"), "sagemaker"),
        (environ(X_AMZ_TARGET="SageMaker.ListPipelines", AUTHORIZATION=signed("s3")), "sagemaker"),
        (environ(X_AMZ_TARGET="AmazonSSM.GetParameter", AUTHORIZATION=signed("ssm")), "ssm"),
        (environ(X_AMZ_TARGET="Logs_20140328.GetLogEvents"), "logs"),
        (environ(X_AMZ_TARGET="Unknown_20140328.GetLogEvents"), "Unknown_20140328"),
        (environ(AUTHORIZATION=signed("sts"), **FORM), "sts"),
        (environ(**FORM), "sts"),
        (environ("PUT", "/bucket/key", AUTHORIZATION=signed("s3")), "s3"),
        (environ("GET", "/bucket/key"), "s3"),
        (environ("POST", "/bucket/key", **FORM), "s3"),
        (environ("GET", "/b/k", "X-Amz-Credential=A%2F20260301%2Fr%2Fs3%2Faws4_request"), "s3"),
        (environ("GET", "/", "X-Amz-Credential=A%2F20260301%2Fr%2Fsts%2Faws4_request"), "sts"),
        (environ("GET", "/2015-03-31/functions", AUTHORIZATION=signed("lambda")), "lambda"),
        (environ("POST", "/2015-03-31/functions/f/invocations"), "lambda"),
        (environ("POST", "/endpoints/e/invocations"), "sagemaker"),
        (
            environ("POST", "/endpoints/e/invocations", AUTHORIZATION=signed("sagemaker")),
            "sagemaker",
        ),
        (environ("GET", "/endpoints/e/invocations"), "s3"),  # an object of a bucket
        (environ("PUT", "/endpoints/e/other"), "s3"),
        (environ(X_AMZ_TARGET="AmazonEC2ContainerRegistry_V20150921.PutImage"), "ecr"),
        (environ("GET", "/v2/"), "registry"),
        (environ("GET", "/v2"), "registry"),
        (environ("PATCH", "/v2/app/blobs/uploads/x", AUTHORIZATION="Basic QVdTOng="), "registry"),
        (environ("POST", "/v2/app/blobs/uploads/", **FORM), "registry"),
        (environ("GET", "/v2-bucket/key"), "s3"),
        (environ("GET", "/v2/key", HOST="bucket.localhost:4000"), "s3"),
        (environ("GET", "/v2/apis", AUTHORIZATION=signed("apigateway")), "apigateway"),
        (environ("GET", "/v2/k", "X-Amz-Credential=A%2F20260301%2Fr%2Fs3%2Faws4_request"), "s3"),
    ],
)
def test_service_of(request_: dict[str, Any], service: str) -> None:
    assert service_of(request_) == service


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"HOST": "localhost:4000"}, False),
        ({"HOST": "bucket.localhost:4000"}, False),
        ({"HOST": "172.17.0.1:4000"}, False),
        ({"HOST": "[::1]:4000"}, False),
        ({"HOST": "host.docker.internal:4000"}, False),
        ({"ORIGIN": "http://127.0.0.1:8888"}, False),
        ({"HOST": "evil.example:4000"}, True),
        ({"HOST": "localhost.evil.example"}, True),
        ({"ORIGIN": "https://evil.example"}, True),
        ({"ORIGIN": "null"}, True),  # a sandboxed frame of any page
    ],
)
def test_web_pages(headers: dict[str, str], refused: bool) -> None:
    assert is_from_a_web_page(environ(**headers)) is refused


class Recorder:
    """A service, an application: notes what reaches it."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def handle(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        self.seen.append((operation, request))
        return {"Answer": "ä"}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.seen.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return []


class Exchange:
    """Sends requests through a router whose every part is a recorder."""

    def __init__(self) -> None:
        self.internal, self.sagemaker, self.sts, self.s3 = (Recorder() for _ in range(4))
        self.invocations, self.functions = Recorder(), Recorder()
        self.router = Router(
            internal=self.internal,
            sagemaker=self.sagemaker,
            sts=self.sts,
            s3=self.s3,
            invocations=self.invocations,
            faces={"lambda": self.functions},
        )
        self.status = ""
        self.headers: dict[str, str] = {}

    def send(self, request: dict[str, Any]) -> bytes:
        def start_response(status: str, headers: list[tuple[str, str]]) -> None:
            self.status, self.headers = status, dict(headers)

        return b"".join(self.router(request, start_response))


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


def test_json(exchange: Exchange) -> None:
    body = exchange.send(environ(X_AMZ_TARGET="SageMaker.Do", body=b'{"a": 1}'))
    assert exchange.sagemaker.seen == [("Do", {"a": 1})]
    assert json.loads(body) == {"Answer": "ä"}
    assert exchange.headers["Content-Type"] == "application/x-amz-json-1.1"
    assert exchange.headers["Content-Length"] == str(len(body))
    assert exchange.headers["x-amzn-RequestId"]


@pytest.mark.parametrize("headers", [{}, {"AUTHORIZATION": signed("sagemaker")}])
def test_invocations_have_a_face_of_their_own(exchange: Exchange, headers: dict[str, str]) -> None:
    exchange.send(environ("POST", "/endpoints/e/invocations", **headers))
    assert exchange.invocations.seen == ["/endpoints/e/invocations"]
    exchange.send(environ("POST", "/endpoints/e/invocations", X_AMZ_TARGET="SageMaker.Do"))
    assert len(exchange.sagemaker.seen) == 1


def test_further_faces_by_their_signing_names(exchange: Exchange) -> None:
    exchange.send(environ("GET", "/2015-03-31/functions", AUTHORIZATION=signed("lambda")))
    assert exchange.functions.seen == ["/2015-03-31/functions"]


def test_query(exchange: Exchange) -> None:
    body = exchange.send(environ(body=b"Action=GetIt&Version=2011-06-15&Name=x%20y", **FORM))
    assert exchange.sts.seen == [("GetIt", {"Name": "x y"})]
    assert "<GetItResult><Answer>ä</Answer></GetItResult>" in body.decode()


def test_the_rest(exchange: Exchange) -> None:
    exchange.send(environ("GET", "/_mlops/health"))
    exchange.send(environ("GET", "/bucket/_mlops/health"))
    assert exchange.internal.seen == ["/_mlops/health"]
    assert exchange.s3.seen == ["/bucket/_mlops/health"]


def test_a_web_page_reaches_nothing(exchange: Exchange) -> None:
    for path in ("/_mlops/shutdown", "/bucket", "/"):
        exchange.send(environ(path=path, ORIGIN="https://evil.example"))
        assert exchange.status.startswith("403")
    parts = (exchange.internal, exchange.s3, exchange.sagemaker, exchange.sts)
    assert [part.seen for part in parts] == [[], [], [], []]


def test_a_fault_is_answered_and_logged(
    exchange: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(operation: str, request: dict[str, Any]) -> dict[str, Any]:
        raise ZeroDivisionError("a fault of ours")

    exchange.sagemaker.handle = fail  # type: ignore[method-assign]  # this one's own behaviour
    body = json.loads(exchange.send(environ(X_AMZ_TARGET="SageMaker.Do", body=b"{}")))
    assert exchange.status.startswith("500")
    assert body["__type"] == "InternalFailure"
    assert "a fault of ours" in caplog.text
    assert "a fault of ours" not in body["message"]
