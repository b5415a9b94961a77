"""Real boto3 clients against the gateway, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

Start = Callable[..., str]
Ended = Callable[[str], dict[str, Any]]
Clients = Callable[..., Any]
Lab = SimpleNamespace


def test_a_pipeline_from_create_to_registered(sagemaker: Any, start: Start, ended: Ended) -> None:
    arn = start(PipelineParameters=[{"Name": "MseThreshold", "Value": "0.5"}])
    found = ended(arn)
    assert found["PipelineExecutionStatus"] == "Succeeded", found
    assert datetime.now(UTC) - found["CreationTime"] < timedelta(minutes=1)
    register, evaluate = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)[
        "PipelineExecutionSteps"
    ]
    assert (evaluate["StepName"], evaluate["StepStatus"]) == ("Evaluate", "Succeeded")
    package = sagemaker.describe_model_package(
        ModelPackageName=register["Metadata"]["RegisterModel"]["Arn"]
    )
    assert (package["ModelPackageGroupName"], package["ModelPackageVersion"]) == ("Diamonds", 1)
    assert package["ModelApprovalStatus"] == "Approved"
    parameters = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)
    assert parameters["PipelineParameters"] == [{"Name": "MseThreshold", "Value": "0.5"}]
    job_name = evaluate["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    job = sagemaker.describe_processing_job(ProcessingJobName=job_name)
    assert job["ProcessingJobStatus"] == "Completed"
    assert [
        row["ProcessingJobName"]
        for row in sagemaker.list_processing_jobs()["ProcessingJobSummaries"]
    ] == [job_name]


def test_outputs_are_in_s3(aws: Clients, start: Start, ended: Ended, lab: Lab) -> None:
    ended(start())
    body = aws("s3").get_object(Bucket="bucket", Key="evaluation/evaluation.json")["Body"].read()
    assert json.loads(body) == lab.evaluation


def test_stop(sagemaker: Any, start: Start, ended: Ended, lab: Lab) -> None:
    arn = start(lab.processing_step("Wait"))
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    assert ended(arn)["PipelineExecutionStatus"] == "Stopped"
    with pytest.raises(sagemaker.exceptions.ConflictException):
        sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)


def test_what_an_update_says_outlives_the_end(
    sagemaker: Any, start: Start, ended: Ended, lab: Lab
) -> None:
    arn = start(lab.processing_step("Wait"))
    sagemaker.update_pipeline_execution(
        PipelineExecutionArn=arn,
        PipelineExecutionDescription="the one with the wrong seed",
        PipelineExecutionDisplayName="wrong-seed",
    )
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    found = ended(arn)
    assert found["PipelineExecutionDescription"] == "the one with the wrong seed"
    assert found["PipelineExecutionDisplayName"] == "wrong-seed"


def test_modeled_errors_are_exceptions_of_the_client(sagemaker: Any) -> None:
    with pytest.raises(sagemaker.exceptions.ResourceNotFound) as caught:
        sagemaker.describe_pipeline(PipelineName="none")
    response = caught.value.response
    assert response["Error"]["Code"] == "ResourceNotFound"
    assert response["Error"]["Message"].endswith("does not exist.")
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert response["ResponseMetadata"]["RequestId"]


def test_a_duplicate_pipeline(sagemaker: Any, start: Start, lab: Lab) -> None:
    start(lab.processing_step("Wait"))
    with pytest.raises(ClientError, match=r"Pipeline with name \(Lab\) already exists") as caught:
        sagemaker.create_pipeline(
            PipelineName="Lab", PipelineDefinition=lab.definition(), RoleArn=lab.role
        )
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_what_the_client_does_not_check_the_gateway_does(sagemaker: Any, lab: Lab) -> None:
    with pytest.raises(ClientError, match="regular expression pattern") as caught:
        sagemaker.create_pipeline(
            PipelineName="not a name", PipelineDefinition=lab.definition(), RoleArn=lab.role
        )
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_pages_by_boto3s_own_paginators(sagemaker: Any, lab: Lab) -> None:
    for number in range(7):
        name = f"g-{number}"
        sagemaker.create_model_package_group(ModelPackageGroupName=name)
        sagemaker.create_pipeline(
            PipelineName=f"p-{number}", PipelineDefinition=lab.definition(), RoleArn=lab.role
        )
    for operation, member in (
        ("list_pipelines", "PipelineSummaries"),
        ("list_model_package_groups", "ModelPackageGroupSummaryList"),
    ):
        pages = list(sagemaker.get_paginator(operation).paginate(PaginationConfig={"PageSize": 3}))
        assert [len(page[member]) for page in pages] == [3, 3, 1]


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("list_pipelines", {}),
        ("list_model_package_groups", {}),
        ("list_model_packages", {}),
        ("list_models", {}),
        ("list_processing_jobs", {}),
        ("list_training_jobs", {}),
        ("search", {"Resource": "ModelPackage"}),
    ],
)
def test_empty_lists(sagemaker: Any, operation: str, request_: dict[str, Any]) -> None:
    answer = getattr(sagemaker, operation)(**request_)
    assert [] in answer.values()
    assert "NextToken" not in answer


def test_models_and_tags(sagemaker: Any, lab: Lab) -> None:
    arn = sagemaker.create_model(
        ModelName="m",
        PrimaryContainer={"Image": "i", "ModelDataUrl": "s3://b/k"},
        ExecutionRoleArn=lab.role,
        Tags=[{"Key": "team", "Value": "größer"}],
    )["ModelArn"]
    assert sagemaker.describe_model(ModelName="m")["ModelArn"] == arn
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "größer"}]
    sagemaker.delete_model(ModelName="m")


def test_who_am_i(aws: Clients, lab: Lab) -> None:
    identity = aws("sts").get_caller_identity()
    assert identity["Account"] == lab.account
    assert identity["Arn"] == f"arn:aws:sts::{lab.account}:assumed-role/mlops-execution/local"


def test_operations_that_are_not_answered_are_named(sagemaker: Any, aws: Clients) -> None:
    with pytest.raises(ClientError, match="does not answer sagemaker ListClusters") as caught:
        sagemaker.list_clusters()
    error = caught.value.response
    assert error["Error"]["Code"] == "NotImplemented"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 501
    with pytest.raises(ClientError, match="sts GetSessionToken"):
        aws("sts").get_session_token()


@pytest.mark.parametrize(
    ("service", "operation", "request_"),
    [
        ("glue", "get_databases", {}),  # JSON
        ("iam", "get_login_profile", {"UserName": "u"}),  # query
        ("ec2", "describe_instances", {}),  # EC2's query
        ("apigateway", "get_rest_apis", {}),  # REST with JSON
        ("route53", "list_hosted_zones", {}),  # REST with XML
        ("cloudwatch", "describe_alarms", {}),  # CBOR or JSON, as botocore likes
    ],
)
def test_a_service_that_is_not_here_says_so_in_its_protocol(
    aws: Clients, service: str, operation: str, request_: dict[str, Any]
) -> None:
    with pytest.raises(ClientError, match="The local gateway does not answer") as caught:
        getattr(aws(service), operation)(**request_)
    assert caught.value.response["Error"]["Code"] == "NotImplemented"


def test_many_clients_at_once(aws: Clients, sagemaker: Any) -> None:
    def create(number: int) -> str:
        client = sagemaker if number % 2 else aws("sagemaker")
        answer = client.create_model_package_group(ModelPackageGroupName=f"g-{number}")
        arn: str = answer["ModelPackageGroupArn"]
        return arn

    with ThreadPoolExecutor(8) as pool:
        arns = list(pool.map(create, range(24)))
    assert len(set(arns)) == 24
    listed = sagemaker.list_model_package_groups(MaxResults=100)["ModelPackageGroupSummaryList"]
    assert {row["ModelPackageGroupArn"] for row in listed} == set(arns)


class TestOnTheWire:
    """What no client of botocore's would send."""

    def send(self, url: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
        connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", "/", body, names)
        response = connection.getresponse()
        content = json.loads(response.read())
        connection.close()
        return response.status, content

    @pytest.mark.parametrize("body", [b"{not json", b"[1]", b"\xff\xfe"])
    def test_a_body_that_is_no_json_object(self, url: str, body: bytes) -> None:
        status, answer = self.send(url, body, X_Amz_Target="SageMaker.ListPipelines")
        assert (status, answer["__type"]) == (400, "SerializationException")

    def test_an_operation_that_sagemaker_does_not_have(self, url: str) -> None:
        status, answer = self.send(url, b"{}", X_Amz_Target="SageMaker.Juggle")
        assert (status, answer["__type"]) == (400, "UnknownOperationException")

    def test_a_body_too_large_to_be_read(self, url: str) -> None:
        connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
        connection.putrequest("POST", "/")
        connection.putheader("X-Amz-Target", "SageMaker.ListPipelines")
        connection.putheader("Content-Length", str(10**9))
        connection.endheaders()
        assert connection.getresponse().status == 413
        connection.close()

    def test_one_connection_serves_many_requests(self, url: str) -> None:
        connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
        for _ in range(3):
            connection.request("POST", "/", b"{}", {"X-Amz-Target": "SageMaker.ListPipelines"})
            response = connection.getresponse()
            assert response.read() == b'{"PipelineSummaries":[]}'
            assert not response.will_close
        connection.close()
