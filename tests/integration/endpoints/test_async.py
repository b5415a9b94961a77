"""InvokeEndpointAsync through boto3: results and failures that arrive in S3."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import urlopen

import pytest
from botocore.exceptions import ClientError

from mlops.errors import ServiceError
from mlops.gateway.client import GatewayClient

from .conftest import Account

OUTPUT = {"S3OutputPath": "s3://results/out", "S3FailurePath": "s3://results/bad"}
WAIT = {"Delay": 0.02, "MaxAttempts": 3000}


def config(account: Account, name: str = "c", **changes: Any) -> None:
    account.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": "m",
                "InitialInstanceCount": 1,
                "InstanceType": "ml.m5.large",
            }
        ],
        **{"AsyncInferenceConfig": {"OutputConfig": OUTPUT}, **changes},
    )


@pytest.fixture
def invoke(account: Account) -> Any:
    """Invoke the endpoint; its bucket is ``results``."""
    account.s3.create_bucket(Bucket="results")
    account.model()
    config(account)
    account.endpoint()

    def invoked(**request: Any) -> Any:
        return account.runtime.invoke_endpoint_async(EndpointName="e", **request)

    return invoked


def read(account: Account, uri: str) -> dict[str, Any]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    account.s3.get_waiter("object_exists").wait(Bucket=bucket, Key=key, WaiterConfig=WAIT)
    answer: dict[str, Any] = account.s3.get_object(Bucket=bucket, Key=key)
    return answer | {"Body": answer["Body"].read()}


def test_a_result_arrives_in_s3(account: Account, invoke: Any, url: str) -> None:
    account.s3.put_object(Bucket="results", Key="in/rows.csv", Body=b"1,2\n3,4\n")
    made = invoke(InputLocation="s3://results/in/rows.csv", ContentType="text/csv")
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert made["OutputLocation"] == f"s3://results/out/{made['InferenceId']}.out"
    assert made["FailureLocation"] == f"s3://results/bad/{made['InferenceId']}-error.out"
    result = read(account, made["OutputLocation"])
    assert (result["Body"], result["ContentType"]) == (b"2", "text/csv")
    inline = invoke(
        Body=b"1", InferenceId="i-1", S3OutputPathExtension="day", Filename="r.csv", Accept="a/b"
    )
    assert inline["InferenceId"] == "i-1"
    assert inline["OutputLocation"] == "s3://results/out/day/r.csv"
    assert read(account, inline["OutputLocation"])["Body"] == b"1"
    health = GatewayClient(url).health()
    assert set(health["async_invocations"]) <= {"e"}
    with urlopen(f"{url}/_mlops/endpoints/e") as answer:
        details = json.load(answer)
    assert details["async"]["InvocationFailures"] == 0


def test_the_commands_client_enqueues(account: Account, invoke: Any, url: str) -> None:
    made = GatewayClient(url).enqueue("e", b"1\n2", content_type="text/csv", accept="text/csv")
    assert read(account, made["OutputLocation"])["Body"] == b"2"
    assert made["FailureLocation"].startswith("s3://results/bad/")
    with pytest.raises(ServiceError, match="not found"):
        GatewayClient(url).enqueue("none", b"1", content_type="text/csv")


def test_a_failure_arrives_in_s3(account: Account, invoke: Any) -> None:
    told = read(account, invoke(Body=b"bad")["FailureLocation"])["Body"].decode()
    assert "Received client error (400) from primary with message" in told
    assert "'bad' is no number" in told
    missing = invoke(InputLocation="s3://results/none")
    assert b"The input cannot be read" in read(account, missing["FailureLocation"])["Body"]


def test_a_configuration_is_described_and_updated(account: Account, invoke: Any) -> None:
    described = account.sagemaker.describe_endpoint_config(EndpointConfigName="c")
    assert described["AsyncInferenceConfig"] == {"OutputConfig": OUTPUT}
    client = {"MaxConcurrentInvocationsPerInstance": 2}
    other = {"ClientConfig": client, "OutputConfig": {**OUTPUT, "KmsKeyId": "k"}}
    config(account, "other", AsyncInferenceConfig=other)
    account.sagemaker.update_endpoint(EndpointName="e", EndpointConfigName="other")
    assert account.in_service()["AsyncInferenceConfig"] == other
    assert read(account, invoke(Body=b"1\n2")["OutputLocation"])["Body"] == b"2"


def test_a_deleted_endpoint_takes_no_more(account: Account, invoke: Any) -> None:
    account.sagemaker.delete_endpoint(EndpointName="e")
    with pytest.raises(ClientError, match="not found"):
        invoke(Body=b"1")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "Provide exactly one"),
    ({"Body": b"1", "InputLocation": "s3://results/x"}, "Provide exactly one"),
    ({"Body": b"1" * 128_001}, "128000"),
    ({"Body": b"1", "RequestTTLSeconds": 21_601}, "requestTTLSeconds"),
    ({"Body": b"1", "InvocationTimeoutSeconds": 3601}, "invocationTimeoutSeconds"),
    ({"InputLocation": "https://example.com/x"}, "is no S3 address"),
    ({"InputLocation": "file:///etc/passwd"}, "regular expression pattern"),
    ({"Body": b"1", "S3OutputPathExtension": "s3:x"}, "s3OutputPathExtension"),
    ({"Body": b"1", "Filename": "../x"}, "filename"),
]


def test_a_wrong_request_is_refused(invoke: Any) -> None:
    for request, message in WRONG:
        with pytest.raises(ClientError, match=message) as caught:
            invoke(**request)
        assert caught.value.response["Error"]["Code"] == "ValidationError", request
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_each_kind_of_endpoint_takes_its_own_requests(account: Account, invoke: Any) -> None:
    for call in (
        account.runtime.invoke_endpoint,
        account.runtime.invoke_endpoint_with_response_stream,
    ):
        with pytest.raises(ClientError, match="it takes InvokeEndpointAsync only") as caught:
            call(EndpointName="e", Body=b"1")
        assert caught.value.response["Error"]["Code"] == "ValidationError"
    account.config("plain")
    account.endpoint("plain", "plain")
    with pytest.raises(ClientError, match="has no AsyncInferenceConfig"):
        account.runtime.invoke_endpoint_async(EndpointName="plain", Body=b"1")


TOPIC = "arn:aws:sns:us-east-1:000000000000:t"


UNKEPT: list[tuple[dict[str, Any], str]] = [
    ({"AsyncInferenceConfig": {"OutputConfig": {}}}, "no S3OutputPath"),
    (
        {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "https://example.com/x"}}},
        "is no S3 address",
    ),
    (
        {
            "AsyncInferenceConfig": {
                "OutputConfig": {**OUTPUT, "NotificationConfig": {"ErrorTopic": TOPIC}}
            }
        },
        "ErrorTopic is not supported by the local gateway: nothing is published to SNS",
    ),
    (
        {
            "ProductionVariants": [
                {
                    "VariantName": "v",
                    "ModelName": "m",
                    "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1},
                }
            ]
        },
        "Variant v is serverless",
    ),
]


def test_what_cannot_be_kept_is_refused(account: Account) -> None:
    account.model()
    for changes, message in UNKEPT:
        with pytest.raises(ClientError, match=message) as caught:
            config_with(account, changes)
        assert caught.value.response["Error"]["Code"] == "ValidationException", changes


def config_with(account: Account, changes: dict[str, Any]) -> None:
    request = {
        "EndpointConfigName": "c",
        "ProductionVariants": [
            {
                "VariantName": "v",
                "ModelName": "m",
                "InitialInstanceCount": 1,
                "InstanceType": "ml.m5.large",
            }
        ],
        "AsyncInferenceConfig": {"OutputConfig": OUTPUT},
    }
    account.sagemaker.create_endpoint_config(**request | changes)
