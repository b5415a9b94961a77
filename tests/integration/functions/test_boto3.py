"""Lambda through the gateway, by real boto3 clients."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from .conftest import ACCOUNT, IMAGE, ROLE, zip_request, zipped

ECHO = "def handler(event, context): return {'said': event}"
ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:echo"


@pytest.fixture
def runtime_name() -> str:
    """One runtime is enough here: ``test_functions.py`` has both."""
    return "process"


@pytest.fixture
def client(aws: Callable[..., Any]) -> Any:
    return aws("lambda")


@pytest.fixture
def echo(client: Any) -> Any:
    client.create_function(**zip_request("echo", ECHO))
    return client


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_create_and_get(client: Any) -> None:
    made = client.create_function(
        **zip_request("echo", ECHO, Tags={"team": "a"}, Environment={"Variables": {"AB": "1"}})
    )
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (made["FunctionArn"], made["State"]) == (ARN, "Active")
    assert made["CodeSize"] == len(zipped(ECHO))
    client.get_waiter("function_active_v2").wait(FunctionName="echo")
    found = client.get_function(FunctionName=ARN)
    assert found["Configuration"]["Environment"] == {"Variables": {"AB": "1"}}
    assert found["Code"]["RepositoryType"] == "S3"
    assert found["Tags"] == {"team": "a"}
    assert client.get_function_configuration(FunctionName="echo")["Handler"] == "index.handler"


def test_code_through_s3(client: Any, aws: Callable[..., Any]) -> None:
    s3 = aws("s3")
    s3.create_bucket(Bucket="code")
    s3.put_object(Bucket="code", Key="echo.zip", Body=zipped(ECHO))
    request = zip_request("echo", "") | {"Code": {"S3Bucket": "code", "S3Key": "echo.zip"}}
    client.create_function(**request)
    answer = client.invoke(FunctionName="echo", Payload=b'"x"')
    assert json.load(answer["Payload"]) == {"said": "x"}


def test_invoke(echo: Any) -> None:
    answer = echo.invoke(FunctionName="echo", Payload=b'{"a": 1}', LogType="Tail")
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in answer
    assert json.load(answer["Payload"]) == {"said": {"a": 1}}
    assert b"REPORT RequestId: " in base64.b64decode(answer["LogResult"])


def test_what_a_function_prints_is_in_cloudwatch(client: Any, aws: Callable[..., Any]) -> None:
    client.create_function(**zip_request("say", "def handler(event, context): print(event)"))
    tail = client.invoke(FunctionName="say", Payload=b'"aloud"', LogType="Tail")["LogResult"]
    logs = aws("logs")
    group = "/aws/lambda/say"
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert "/[$LATEST]" in stream["logStreamName"]
    events = logs.get_log_events(
        logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
    )["events"]
    told = base64.b64decode(tail).decode().splitlines()
    assert [event["message"] for event in events][-len(told) :] == told
    assert "aloud" in told


def test_invoke_without_a_payload_or_a_log(echo: Any) -> None:
    answer = echo.invoke(FunctionName=f"{ACCOUNT}:function:echo", Qualifier="$LATEST")
    assert json.load(answer["Payload"]) == {"said": {}}
    assert "LogResult" not in answer


def test_invoke_with_a_client_context(client: Any) -> None:
    client.create_function(
        **zip_request("f", "def handler(event, context): return context.client_context.custom")
    )
    context = base64.b64encode(b'{"custom": {"a": "1"}}').decode()
    answer = client.invoke(FunctionName="f", ClientContext=context)
    assert json.load(answer["Payload"]) == {"a": "1"}


def test_invoke_events_and_dry_runs(echo: Any) -> None:
    assert echo.invoke(FunctionName="echo", InvocationType="Event")["StatusCode"] == 202
    assert echo.invoke(FunctionName="echo", InvocationType="DryRun")["StatusCode"] == 204


def test_a_function_error_is_an_answer(client: Any) -> None:
    client.create_function(**zip_request("f", "def handler(event, context): raise KeyError(1)"))
    answer = client.invoke(FunctionName="f")
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert json.load(answer["Payload"])["errorType"] == "KeyError"


def test_curl_needs_no_signature(echo: Any, url: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.request("POST", "/2015-03-31/functions/echo/invocations", b'{"a": 1}')
    answer = connection.getresponse()
    assert (answer.status, json.load(answer)) == (200, {"said": {"a": 1}})


def test_update(echo: Any) -> None:
    before = echo.get_function_configuration(FunctionName="echo")
    echo.update_function_configuration(FunctionName="echo", Timeout=30, Description="says it")
    new = "def handler(event, context): return 'new'"
    made = echo.update_function_code(FunctionName="echo", ZipFile=zipped(new))
    echo.get_waiter("function_updated_v2").wait(FunctionName="echo")
    assert (made["Timeout"], made["Description"]) == (30, "says it")
    assert made["CodeSha256"] != before["CodeSha256"]
    assert json.load(echo.invoke(FunctionName="echo")["Payload"]) == "new"


def test_a_dry_run_of_an_update_changes_nothing(echo: Any) -> None:
    new = zipped("def handler(event, context): return 'new'")
    echo.update_function_code(FunctionName="echo", ZipFile=new, DryRun=True)
    assert json.load(echo.invoke(FunctionName="echo")["Payload"]) == {"said": {}}


def test_an_update_of_another_revision(echo: Any) -> None:
    with pytest.raises(ClientError) as caught:
        echo.update_function_configuration(FunctionName="echo", Timeout=4, RevisionId="old")
    assert code_of(caught) == ("PreconditionFailedException", 412)


def test_list_in_pages(client: Any) -> None:
    for name in ("c", "a", "b"):
        client.create_function(**zip_request(name, ECHO))
    pages = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
    found = [[each["FunctionName"] for each in page["Functions"]] for page in pages]
    assert found == [["a", "b"], ["c"]]


def test_delete(echo: Any) -> None:
    echo.delete_function(FunctionName="echo")
    with pytest.raises(ClientError, match=f"Function not found: {ARN}") as caught:
        echo.get_function(FunctionName="echo")
    assert code_of(caught) == ("ResourceNotFoundException", 404)


def test_tags(echo: Any) -> None:
    echo.tag_resource(Resource=ARN, Tags={"a": "1", "b": "2"})
    echo.untag_resource(Resource=ARN, TagKeys=["a"])
    assert echo.list_tags(Resource=ARN)["Tags"] == {"b": "2"}


def test_an_image(client: Any) -> None:
    made = client.create_function(
        FunctionName="test",
        Role=ROLE,
        PackageType="Image",
        Code={"ImageUri": IMAGE},
        Timeout=60,
        MemorySize=512,
    )
    assert made["PackageType"] == "Image"
    assert client.get_function(FunctionName="test")["Code"]["ImageUri"] == IMAGE
    answer = client.invoke(FunctionName="test", Payload=b'{"a": 1}')
    refusal = json.load(answer["Payload"])
    assert refusal["errorType"] == "EventProblem"
    assert "endpoint_name must be a text" in refusal["errorMessage"]


def test_what_exists_already(echo: Any) -> None:
    with pytest.raises(ClientError, match="Function already exist: echo") as caught:
        echo.create_function(**zip_request("echo", ECHO))
    assert code_of(caught) == ("ResourceConflictException", 409)


@pytest.mark.parametrize(
    ("request_", "code", "status"),
    [
        ({"FunctionName": "nobody"}, "ResourceNotFoundException", 404),
        ({"FunctionName": "echo", "Qualifier": "7"}, "ResourceNotFoundException", 404),
        ({"FunctionName": "echo", "Payload": b"{"}, "InvalidRequestContentException", 400),
        ({"FunctionName": "echo", "InvocationType": "Else"}, "ValidationException", 400),
        (
            {"FunctionName": "echo", "Payload": b'"' + b"x" * 6_291_456 + b'"'},
            "RequestTooLargeException",
            413,
        ),
    ],
)
def test_invocations_that_are_refused(
    echo: Any, request_: dict[str, Any], code: str, status: int
) -> None:
    with pytest.raises(ClientError) as caught:
        echo.invoke(**request_)
    assert code_of(caught) == (code, status)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Runtime": "nodejs20.x"}, "InvalidParameterValueException"),
        ({"Runtime": "python2"}, "ValidationException"),
        ({"Code": {"ZipFile": b"nonsense"}}, "InvalidParameterValueException"),
        ({"Code": {}}, "InvalidParameterValueException"),
        ({"Role": "nobody"}, "ValidationException"),
        ({"Timeout": 901}, "InvalidParameterValueException"),
        ({"MemorySize": 20_000}, "InvalidParameterValueException"),
        (
            {"Layers": [f"arn:aws:lambda:us-east-1:{ACCOUNT}:layer:x:1"]},
            "InvalidParameterValueException",
        ),
    ],
)
def test_functions_that_are_refused(client: Any, change: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as caught:
        client.create_function(**(zip_request("echo", ECHO) | change))
    assert code_of(caught) == (code, 400)
    assert client.list_functions()["Functions"] == []


def test_an_operation_that_is_not_here(client: Any) -> None:
    with pytest.raises(ClientError, match="does not answer lambda PublishVersion") as caught:
        client.publish_version(FunctionName="echo")
    assert code_of(caught) == ("NotImplemented", 501)
