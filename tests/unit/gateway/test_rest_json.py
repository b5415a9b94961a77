"""AWS REST-JSON by botocore's models: the operation, its members, the answer."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest

from mlops.errors import MlopsError, ServiceError
from mlops.gateway.protocols import rest_json
from mlops.gateway.protocols.rest_json import find_operation, read_request
from mlops.gateway.wire import Response


def environ(query: str = "", **headers: str) -> dict[str, Any]:
    made: dict[str, Any] = {"QUERY_STRING": query, "wsgi.input": io.BytesIO()}
    for name, value in headers.items():
        made[name if name == "CONTENT_TYPE" else f"HTTP_{name}"] = value
    return made


@pytest.mark.parametrize(
    ("service", "method", "path", "operation", "members"),
    [
        (
            "sagemaker-runtime",
            "POST",
            "/endpoints/e-1/invocations",
            "InvokeEndpoint",
            {"EndpointName": "e-1"},
        ),
        ("lambda", "POST", "/2015-03-31/functions", "CreateFunction", {}),
        (
            "lambda",
            "POST",
            "/2015-03-31/functions/f/invocations",
            "Invoke",
            {"FunctionName": "f"},
        ),
        (
            "lambda",
            "GET",
            "/2015-03-31/functions/arn:aws:lambda:r:1:function:f",
            "GetFunction",
            {"FunctionName": "arn:aws:lambda:r:1:function:f"},
        ),
    ],
)
def test_the_operation_is_in_method_and_path(
    service: str, method: str, path: str, operation: str, members: dict[str, str]
) -> None:
    assert find_operation(service, method, path) == (operation, members)


def test_the_query_string_tells_operations_of_one_path_apart() -> None:
    path = "/2019-09-30/functions/f/provisioned-concurrency"
    one = find_operation("lambda", "GET", path, "Qualifier=1")
    all_of_them = find_operation("lambda", "GET", path, "MaxItems=3&List=ALL")
    assert one == ("GetProvisionedConcurrencyConfig", {"FunctionName": "f"})
    assert all_of_them == ("ListProvisionedConcurrencyConfigs", {"FunctionName": "f"})


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/endpoints/e/invocations"), ("POST", "/endpoints/e"), ("POST", "/")],
)
def test_what_is_no_operation(method: str, path: str) -> None:
    assert find_operation("sagemaker-runtime", method, path) is None


def test_members_in_path_headers_and_body() -> None:
    request = read_request(
        "sagemaker-runtime",
        "InvokeEndpoint",
        {"EndpointName": "e"},
        environ(
            CONTENT_TYPE="text/csv",
            ACCEPT="application/json",
            X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES="a=1",
            X_AMZN_SAGEMAKER_TARGET_VARIANT="v",
            X_UNKNOWN="x",
        ),
        b"1,2\xff",
    )
    assert request == {
        "EndpointName": "e",
        "Body": b"1,2\xff",
        "ContentType": "text/csv",
        "Accept": "application/json",
        "CustomAttributes": "a=1",
        "TargetVariant": "v",
    }


def test_members_in_the_query_of_their_types() -> None:
    request = read_request(
        "lambda", "ListFunctions", {}, environ("MaxItems=5&Marker=a%20b&FunctionVersion=ALL"), b""
    )
    assert request == {"MaxItems": 5, "Marker": "a b", "FunctionVersion": "ALL"}


def test_members_in_a_json_body() -> None:
    body = {
        "FunctionName": "f",
        "Code": {"ZipFile": base64.b64encode(b"zip").decode()},
        "Environment": {"Variables": {"A": "1"}},
        "Layers": ["l"],
        "Unheard": 1,
    }
    request = read_request("lambda", "CreateFunction", {}, environ(), json.dumps(body).encode())
    assert request == {
        "FunctionName": "f",
        "Code": {"ZipFile": b"zip"},
        "Environment": {"Variables": {"A": "1"}},
        "Layers": ["l"],
    }


@pytest.mark.parametrize(
    ("operation", "query", "body", "said"),
    [
        ("CreateFunction", "", b"{", "not JSON"),
        ("CreateFunction", "", b"[1]", "no JSON object"),
        ("CreateFunction", "", b'{"Code": {"ZipFile": "!"}}', "not base64"),
        ("ListFunctions", "MaxItems=many", b"", "MaxItems is 'many', not a number"),
    ],
)
def test_requests_that_cannot_be_read(operation: str, query: str, body: bytes, said: str) -> None:
    with pytest.raises(ServiceError, match=said) as caught:
        read_request("lambda", operation, {}, environ(query), body)
    assert caught.value.code == "SerializationException"


def headers_of(response: Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers}


def test_an_answer_whose_payload_is_bytes() -> None:
    members = {"StatusCode": 202, "FunctionError": "Unhandled", "Payload": b'{"a": 1}'}
    response = rest_json.answer("lambda", "Invoke", members)
    assert (response.status, response.body) == (202, b'{"a": 1}')
    assert headers_of(response)["x-amz-function-error"] == "Unhandled"


def test_an_answer_in_json() -> None:
    response = rest_json.answer(
        "lambda", "CreateFunction", {"FunctionName": "f", "Timeout": 3, "State": None}
    )
    assert response.status == 201
    assert json.loads(response.body) == {"FunctionName": "f", "Timeout": 3}
    assert headers_of(response)["x-amzn-requestid"]


def test_an_answer_without_members() -> None:
    response = rest_json.answer("lambda", "DeleteFunction", {})
    assert response.status in (200, 204)


def test_errors_have_their_code_in_the_header() -> None:
    error = ServiceError("ResourceNotFoundException", "Function not found: f", status=404)
    response = rest_json.error_answer(error)
    assert response.status == 404
    assert headers_of(response)["x-amzn-errortype"] == "ResourceNotFoundException"
    assert json.loads(response.body)["message"] == "Function not found: f"


def test_our_own_errors_are_told_whole() -> None:
    def fail() -> Response:
        raise MlopsError("it broke", next_step="mend it")

    response = rest_json.guarded("Invoke", fail)
    document = json.loads(response.body)
    assert response.status == 400
    assert document["MlopsError"]["what"] == "it broke"


def test_a_defect_is_an_internal_failure() -> None:
    response = rest_json.guarded("Invoke", lambda: 1 / 0)  # type: ignore[arg-type,return-value]  # it raises
    assert response.status == 500
    assert headers_of(response)["x-amzn-errortype"] == "InternalFailure"
