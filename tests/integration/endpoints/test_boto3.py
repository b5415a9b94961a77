"""Endpoints as boto3 sees them: shapes, waiters, errors, lists."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, WaiterError

from mlops.runtimes.fake import FakeContainer, FakeRuntime
from mlops.runtimes.fake_model import FakeModelServer

from .conftest import IMAGE, ROLE, Account, predict

ARN = "arn:aws:sagemaker:us-east-1:000000000000"


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_from_a_model_to_an_answer(account: Account) -> None:
    account.model()
    account.config()
    described = account.endpoint()
    assert described["EndpointArn"] == f"{ARN}:endpoint/e"
    assert described["EndpointConfigName"] == "c"
    (variant,) = described["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (1, 1)
    assert (variant["CurrentWeight"], variant["DesiredWeight"]) == (1.0, 1.0)
    assert variant["DeployedImages"][0]["SpecifiedImage"] == IMAGE
    assert "FailureReason" not in described
    answer = account.invoke(b"1\n2\n3", CustomAttributes="trace=7", Accept="text/csv")
    assert answer["Body"] == b"3"
    assert answer["ContentType"] == "text/csv"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["CustomAttributes"] == "trace=7"


def test_a_package_is_served_with_its_containers_environment(account: Account) -> None:
    account.sagemaker.create_model_package_group(ModelPackageGroupName="g")
    package = account.sagemaker.create_model_package(
        ModelPackageGroupName="g",
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "Environment": {"FACTOR": "5", "A": "b"}}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )["ModelPackageArn"]
    account.sagemaker.create_model(
        ModelName="m",
        Containers=[{"ModelPackageName": package, "Environment": {"FACTOR": "7"}}],
        ExecutionRoleArn=ROLE,
    )
    account.config()
    account.endpoint()
    assert account.invoke()["Body"] == b"7"


@pytest.mark.parametrize("status", ["Rejected", "PendingManualApproval"])
def test_a_package_that_is_not_approved_is_no_model(account: Account, status: str) -> None:
    account.sagemaker.create_model_package_group(ModelPackageGroupName="g")
    package = account.sagemaker.create_model_package(
        ModelPackageGroupName="g",
        ModelApprovalStatus=status,
        InferenceSpecification={
            "Containers": [{"Image": IMAGE}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )["ModelPackageArn"]
    with pytest.raises(ClientError, match=f"is {status}") as caught:
        account.sagemaker.create_model(
            ModelName="m", PrimaryContainer={"ModelPackageName": package}, ExecutionRoleArn=ROLE
        )
    assert code_of(caught) == ("ValidationException", 400)


def test_a_package_that_is_not_there_is_no_model(account: Account) -> None:
    with pytest.raises(ClientError, match=f"{ARN}:model-package/g/9"):
        account.sagemaker.create_model(
            ModelName="m",
            PrimaryContainer={"ModelPackageName": f"{ARN}:model-package/g/9"},
            ExecutionRoleArn=ROLE,
        )


def test_two_variants_share_by_weight(account: Account) -> None:
    account.model("one", Environment={"FACTOR": "1"})
    account.model("ten", Environment={"FACTOR": "10"})
    common = {"InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    account.sagemaker.create_endpoint_config(
        EndpointConfigName="c",
        ProductionVariants=[
            {"VariantName": "a", "ModelName": "one", "InitialVariantWeight": 9, **common},
            {"VariantName": "b", "ModelName": "ten", "InitialVariantWeight": 1, **common},
        ],
    )
    account.endpoint()
    assert Counter(account.invoke()["InvokedProductionVariant"] for _ in range(50)) == {
        "a": 45,
        "b": 5,
    }
    assert account.invoke(TargetVariant="b")["Body"] == b"10"
    account.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="e",
        DesiredWeightsAndCapacities=[
            {"VariantName": "a", "DesiredWeight": 0},
            {"VariantName": "b", "DesiredWeight": 1, "DesiredInstanceCount": 2},
        ],
    )
    described = account.in_service()
    assert [row["DesiredInstanceCount"] for row in described["ProductionVariants"]] == [1, 2]
    assert {account.invoke()["InvokedProductionVariant"] for _ in range(10)} == {"b"}
    with pytest.raises(ClientError, match='Variant "z" is not in the endpoint'):
        account.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName="e", DesiredWeightsAndCapacities=[{"VariantName": "z"}]
        )


def test_a_serverless_endpoint(account: Account) -> None:
    account.model()
    account.config(ServerlessConfig={"MemorySizeInMB": 1024, "MaxConcurrency": 20})
    described = account.endpoint()
    (variant,) = described["ProductionVariants"]
    assert variant["CurrentServerlessConfig"] == {"MemorySizeInMB": 1024, "MaxConcurrency": 20}
    assert account.invoke()["Body"] == b"1"
    with pytest.raises(ClientError, match="less than or equal to 4194304"):
        account.invoke(b"x" * (4 * 1024 * 1024 + 1))
    account.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="e",
        DesiredWeightsAndCapacities=[
            {"VariantName": "AllTraffic", "ServerlessUpdateConfig": {"MaxConcurrency": 5}}
        ],
    )
    (variant,) = account.in_service()["ProductionVariants"]
    assert variant["DesiredServerlessConfig"]["MaxConcurrency"] == 5


def test_an_update_keeps_what_it_is_asked_to_keep(account: Account) -> None:
    account.model("one", Environment={"FACTOR": "1"})
    account.model("ten", Environment={"FACTOR": "10"})
    account.config("c1", "one")
    account.config("c2", "ten", InitialInstanceCount=3, InitialVariantWeight=2)
    account.endpoint(config="c1")
    account.sagemaker.update_endpoint(
        EndpointName="e",
        EndpointConfigName="c2",
        RetainAllVariantProperties=True,
        ExcludeRetainedVariantProperties=[{"VariantPropertyType": "DesiredWeight"}],
        DeploymentConfig={
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {
                    "Type": "ALL_AT_ONCE",
                    "WaitIntervalInSeconds": 600,
                }
            }
        },
    )
    pending = account.describe().get("PendingDeploymentSummary")
    assert pending is None or pending["EndpointConfigName"] == "c2"  # it may be quick
    described = account.in_service()
    assert described["EndpointConfigName"] == "c2"
    (variant,) = described["ProductionVariants"]
    assert (variant["DesiredInstanceCount"], variant["DesiredWeight"]) == (1, 2.0)
    assert "BlueGreenUpdatePolicy" in described["LastDeploymentConfig"]
    assert account.invoke()["Body"] == b"10"


def test_a_server_that_dies_is_what_the_waiter_tells(account: Account, settings: Any) -> None:
    account.model(Environment={"FACTOR": "1"}, ModelDataUrl="s3://nowhere/model.tar.gz")
    account.config()
    with pytest.raises(WaiterError, match="Failed"):
        account.endpoint()
    described = account.describe()
    assert described["EndpointStatus"] == "Failed"
    assert "Could not find model data at s3://nowhere/model.tar.gz" in described["FailureReason"]
    with pytest.raises(ClientError, match="Cannot update failed endpoint"):
        account.sagemaker.update_endpoint(EndpointName="e", EndpointConfigName="c")
    account.sagemaker.delete_endpoint(EndpointName="e")
    assert not list((settings.store / "endpoints").glob("e/*"))


def test_what_a_container_says_becomes_a_model_error(account: Account) -> None:
    account.model()
    account.config()
    account.endpoint()
    with pytest.raises(account.runtime.exceptions.ModelError) as caught:
        account.invoke(b"bad")
    assert code_of(caught) == ("ModelError", 424)
    response = caught.value.response
    assert response["OriginalStatusCode"] == 400
    assert response["OriginalMessage"] == "row 1, column carat: 'bad' is no number"
    assert response["LogStreamArn"].endswith("log-group:/aws/sagemaker/Endpoints/e")
    assert "Received client error (400) from primary with message" in str(caught.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"EndpointName": "nobody"}, "Endpoint nobody of account 000000000000 not found"),
        ({"TargetVariant": "nobody"}, "Variant nobody not found for request"),
        ({"TargetModel": "a.tar.gz"}, "TargetModel is not supported"),
        ({"TargetContainerHostname": "a"}, "TargetContainerHostname is not supported"),
        ({"InferenceComponentName": "a"}, "InferenceComponentName is not supported"),
        ({"Body": b"x" * (6 * 1024 * 1024 + 1)}, "less than or equal to 6291456"),
        ({"Body": b"x" * (20 * 1024 * 1024)}, "less than or equal to 6291456"),
        ({"CustomAttributes": "x" * 1025}, "length less than or equal to 1024"),
        ({"TargetVariant": "-"}, "regular expression pattern"),
    ],
)
def test_requests_that_cannot_be_served(account: Account, more: dict[str, Any], said: str) -> None:
    account.model()
    account.config()
    account.endpoint()
    with pytest.raises(account.runtime.exceptions.ValidationError, match=said) as caught:
        account.runtime.invoke_endpoint(**{"EndpointName": "e", "Body": b"", **more})
    assert code_of(caught) == ("ValidationError", 400)
    assert account.invoke()["Body"] == b"1"


VARIANT = {"VariantName": "v", "ModelName": "m"}
INSTANCE = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
SERVERLESS = {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}


@pytest.mark.parametrize(
    ("variants", "more", "said"),
    [
        ([VARIANT | INSTANCE] * 2, {}, "same VariantName"),
        ([VARIANT], {}, "needs an InstanceType or a ServerlessConfig"),
        ([VARIANT | SERVERLESS | INSTANCE], {}, "cannot have InstanceType and InitialInstanceC"),
        ([{"VariantName": "v", **INSTANCE}], {}, "inference components do not run locally"),
        ([VARIANT | INSTANCE | {"ModelName": "none"}], {}, "Could not find model .*model/none"),
        ([VARIANT | INSTANCE | {"InitialVariantWeight": 0}], {}, "Every variant has the weight 0"),
        ([VARIANT | INSTANCE | {"InitialInstanceCount": 9}], {}, "asks for 9 instances"),
        (
            [VARIANT | {"ServerlessConfig": {"MemorySizeInMB": 1500, "MaxConcurrency": 1}}],
            {},
            "it may be 1024, 2048",
        ),
        (
            [VARIANT | INSTANCE],
            {
                "DataCaptureConfig": {
                    "InitialSamplingPercentage": 50,
                    "DestinationS3Uri": "s3://b/o",
                    "CaptureOptions": [{"CaptureMode": "Input"}],
                }
            },
            "DataCaptureConfig is not supported",
        ),
        (
            [VARIANT | INSTANCE],
            {"ShadowProductionVariants": [VARIANT | INSTANCE]},
            "ShadowProductionVariants is not supported",
        ),
    ],
)
def test_configurations_that_cannot_be_kept(
    account: Account, variants: list[dict[str, Any]], more: dict[str, Any], said: str
) -> None:
    account.model()
    with pytest.raises(ClientError, match=said):
        account.sagemaker.create_endpoint_config(
            EndpointConfigName="c", ProductionVariants=variants, **more
        )
    assert account.sagemaker.list_endpoint_configs()["EndpointConfigs"] == []


@pytest.mark.parametrize(
    ("containers", "said"),
    [
        ([{"Image": IMAGE}, {"Image": IMAGE}], "an inference pipeline does not run locally"),
        ([{"Image": IMAGE, "Mode": "MultiModel"}], "MultiModel, which does not run locally"),
        ([{"Image": IMAGE, "ModelDataUrl": "https://host/m.tar.gz"}], "as s3://bucket/key"),
    ],
)
def test_models_that_cannot_be_served(
    account: Account, containers: list[dict[str, Any]], said: str
) -> None:
    account.sagemaker.create_model(ModelName="m", Containers=containers, ExecutionRoleArn=ROLE)
    with pytest.raises(ClientError, match=said):
        account.config()


def test_names_are_unique_and_missing_things_are_named(account: Account) -> None:
    account.model()
    account.config()
    account.endpoint()
    with pytest.raises(ClientError, match=f'existing endpoint configuration "{ARN}:endpoint-con'):
        account.config()
    with pytest.raises(ClientError, match=f'Cannot create already existing endpoint "{ARN}:end'):
        account.endpoint()
    for operation, request in (
        ("describe_endpoint", {"EndpointName": "x"}),
        ("delete_endpoint", {"EndpointName": "x"}),
        ("update_endpoint", {"EndpointName": "x", "EndpointConfigName": "c"}),
        ("describe_endpoint_config", {"EndpointConfigName": "x"}),
        ("delete_endpoint_config", {"EndpointConfigName": "x"}),
        ("create_endpoint", {"EndpointName": "y", "EndpointConfigName": "x"}),
    ):
        with pytest.raises(ClientError, match=r'Could not find endpoint.*"arn:.*/x"\.') as caught:
            getattr(account.sagemaker, operation)(**request)
        assert code_of(caught) == ("ValidationException", 400)


def test_lists_and_tags(account: Account) -> None:
    account.model()
    for number in range(3):
        account.config(f"c{number}")
    tags = [{"Key": "team", "Value": "blue"}]
    account.sagemaker.create_endpoint(EndpointName="b", EndpointConfigName="c0", Tags=tags)
    account.sagemaker.create_endpoint(EndpointName="a", EndpointConfigName="c1")
    for name in "ab":
        account.in_service(name)

    def names(**more: Any) -> list[str]:
        found = account.sagemaker.list_endpoints(**more)["Endpoints"]
        return [row["EndpointName"] for row in found]

    assert names() == ["a", "b"]
    assert names(SortBy="Name", SortOrder="Ascending") == ["a", "b"]
    assert names(SortBy="CreationTime", SortOrder="Ascending") == ["b", "a"]
    assert names(NameContains="b", StatusEquals="InService") == ["b"]
    assert names(StatusEquals="Failed") == []
    pages = account.sagemaker.get_paginator("list_endpoint_configs").paginate(
        PaginationConfig={"PageSize": 2}
    )
    assert [[row["EndpointConfigName"] for row in page["EndpointConfigs"]] for page in pages] == [
        ["c2", "c1"],
        ["c0"],
    ]
    assert account.sagemaker.list_tags(ResourceArn=f"{ARN}:endpoint/b")["Tags"] == tags
    account.sagemaker.delete_endpoint_config(EndpointConfigName="c2")
    assert account.describe("b")["EndpointStatus"] == "InService"


def test_configurations_come_back_as_they_were(account: Account) -> None:
    account.model()
    account.config(
        ContainerStartupHealthCheckTimeoutInSeconds=120,
        VolumeSizeInGB=10,
        RoutingConfig={"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
    )
    described = account.sagemaker.describe_endpoint_config(EndpointConfigName="c")
    (variant,) = described["ProductionVariants"]
    assert variant["ContainerStartupHealthCheckTimeoutInSeconds"] == 120
    assert variant["VolumeSizeInGB"] == 10
    assert described["EndpointConfigArn"] == f"{ARN}:endpoint-config/c"
    account.endpoint()
    (summary,) = account.describe()["ProductionVariants"]
    assert summary["RoutingConfig"] == {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}


def test_the_status_tells_of_a_server_that_died(account: Account, server: FakeModelServer) -> None:
    account.model()
    account.config()
    account.endpoint()
    server.kill.set()
    described = account.status(wanted="OutOfService")
    assert "ended with exit code 3" in described["FailureReason"]
    with pytest.raises(account.runtime.exceptions.ServiceUnavailable) as caught:
        account.invoke()
    assert code_of(caught) == ("ServiceUnavailable", 503)
    server.kill.clear()
    described = account.status(wanted="InService")
    assert "FailureReason" not in described
    assert account.invoke()["Body"] == b"1"


class TestOnTheWire:
    """What clients other than boto3 rely on."""

    def send(
        self, url: str, body: bytes = b"1\n2", path: str = "/endpoints/e/invocations", **more: Any
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        method = more.pop("method", "POST")
        connection.request(method, path, body, more.pop("headers", {"Content-Type": "text/csv"}))
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, response.read()

    @pytest.fixture(autouse=True)
    def _endpoint(self, account: Account) -> None:
        account.model()
        account.config()
        account.endpoint()

    def test_curl_needs_no_signature(self, url: str) -> None:
        status, headers, body = self.send(url)
        assert (status, body) == (200, b"2")
        assert headers["content-type"] == "text/csv"
        assert headers["content-length"] == "1"
        assert headers["x-amzn-invoked-production-variant"] == "AllTraffic"
        assert headers["x-amzn-requestid"]

    def test_a_body_in_chunks(self, url: str) -> None:
        host, port = urlsplit(url).netloc.split(":")
        with socket.create_connection((host, int(port)), 10) as client:
            client.sendall(
                b"POST /endpoints/e/invocations HTTP/1.1\r\nHost: localhost\r\n"
                b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                b"2\r\n1\n\r\n2\r\n2\n\r\n0\r\n\r\n"
            )
            answer = b""
            while part := client.recv(65536):
                answer += part
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert answer.endswith(b"\r\n\r\n2")

    def test_errors_are_named_in_the_header(self, url: str) -> None:
        status, headers, body = self.send(url, b"bad")
        assert (status, headers["x-amzn-errortype"]) == (424, "ModelError")
        assert json.loads(body)["OriginalStatusCode"] == 400

    def test_other_methods_and_operations_are_refused(self, url: str) -> None:
        signed = {
            "Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/r/sagemaker/aws4_request"
        }
        status, _, body = self.send(url, path="/endpoints/e/other-invocations", headers=signed)
        assert status == 501
        assert b"does not answer" in body
        assert self.send(url, method="GET", headers=signed)[0] == 501

    def test_a_web_page_may_not_invoke(self, url: str) -> None:
        status, _, _ = self.send(url, headers={"Origin": "https://evil.example"})
        assert status == 403

    def test_one_connection_serves_many_requests(self, url: str) -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        for number in range(1, 20):
            connection.request("POST", "/endpoints/e/invocations", b"x\n" * number)
            assert connection.getresponse().read() == str(number).encode()

    def test_a_client_that_leaves_early_holds_nothing(self, url: str, account: Account) -> None:
        host, port = urlsplit(url).netloc.split(":")
        for _ in range(5):
            with socket.create_connection((host, int(port)), 10) as client:
                client.sendall(
                    b"POST /endpoints/e/invocations HTTP/1.1\r\nHost: localhost\r\n"
                    b"Content-Length: 100\r\n\r\n1,2"
                )
        assert account.invoke()["Body"] == b"1"


def test_an_idle_gateway_stays_while_an_endpoint_is_up(
    settings: Any, tmp_path: Any, runtime: FakeRuntime
) -> None:
    from dataclasses import replace

    from mlops.app import compose_gateway

    gateway = compose_gateway(replace(settings, gateway_idle_seconds=0.1), runtime)
    try:
        import boto3

        session = boto3.Session("a", "b", region_name="us-east-1")
        account = Account(lambda service: session.client(service, endpoint_url=gateway.url))
        account.model()
        account.config()
        account.endpoint()
        left = threading.Event()
        waiting = threading.Thread(target=lambda: (gateway.wait(tick=0.02), left.set()))
        waiting.start()
        assert not left.wait(0.6)
        account.sagemaker.delete_endpoint(EndpointName="e")
        assert left.wait(5)
        waiting.join()
    finally:
        gateway.stop()


def test_out_of_the_way_images_fail_clearly(settings: Any, tmp_path: Any) -> None:
    """`FakeRuntime(images=…)` stands for an engine that lacks an image."""
    from mlops.app import compose_gateway
    from mlops.gateway.server import GatewayThread

    def behaviour(container: FakeContainer) -> int:
        return FakeModelServer(predict)(container)

    runtime = FakeRuntime(behaviour, images=["another"])
    with GatewayThread(compose_gateway(settings, runtime)) as url:
        import boto3

        session = boto3.Session("a", "b", region_name="us-east-1")
        account = Account(lambda service: session.client(service, endpoint_url=url))
        account.model()
        account.config()
        account.sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
        reason = account.status(wanted="Failed")["FailureReason"]
        assert reason.startswith(f"There is no image {IMAGE}")


def test_the_gateway_tells_of_servers_and_statistics(
    account: Account, url: str, settings: Any
) -> None:
    account.model()
    account.config()
    account.endpoint()
    for _ in range(3):
        account.invoke()
    with pytest.raises(ClientError):
        account.invoke(b"bad")
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.request("GET", "/_mlops/endpoints/e")
    told = json.loads(connection.getresponse().read())
    assert (told["name"], told["status"], told["config_name"]) == ("e", "InService", "c")
    assert told["folder"] == str(settings.store / "endpoints/e")
    (variant,) = told["variants"]
    assert (variant["name"], variant["model_name"], variant["restarts"]) == ("AllTraffic", "m", 0)
    assert len(variant["addresses"]) == 1
    counted = variant["statistics"]
    assert (counted["Invocations"], counted["Invocation4XXErrors"]) == (4, 1)
    connection.request("GET", "/_mlops/endpoints/x")
    answer = connection.getresponse()
    assert answer.status == 400
    assert "There is no endpoint x" in json.loads(answer.read())["what"]
