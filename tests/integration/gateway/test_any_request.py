"""Any request that botocore would send gets an answer of the service's model, never a 500.

MLOPS_FUZZ_REQUESTS says how many requests each operation gets; MLOPS_FUZZ_SEED where they begin.
"""

from __future__ import annotations

import json
import os
import random
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from mlops import aws_model
from mlops.app import compose_gateway
from mlops.gateway.server import GatewayThread
from mlops.runtimes.fake import FakeRuntime
from mlops.settings import Settings

from .any_request import AnyRequest
from .conftest import ACCOUNT, IMAGE, ROLE, check_answer, definition, evaluate, processing_step

REQUESTS = int(os.environ.get("MLOPS_FUZZ_REQUESTS", "3"))
SEED = int(os.environ.get("MLOPS_FUZZ_SEED", "0"))
SERVICES = (
    *("sagemaker", "lambda", "logs", "events", "sqs", "sts", "iam", "sagemaker-runtime"),
    *("ecr", "cloudformation"),
)
ANY_SERVICE = {
    # Errors that AWS's common errors and protocols have for every operation.
    "ValidationException",
    "ValidationError",
    "SerializationException",
    "InvalidParameterValue",
    "InvalidParameterValueException",
    "MissingParameter",
    "InvalidParameterCombination",
    "RequestEntityTooLargeException",
    # botocore's errors of SQS have no code; the service has, for clients of its old protocol.
    "AWS.SimpleQueueService.NonExistentQueue",
}
FAULTS = (0.0, 0.0, 0.05, 0.3)
NEVER = {("lambda", "Invoke"), ("lambda", "InvokeWithResponseStream")}
"""Wait for a function's container, which the fake does not have."""


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    settings = Settings(store=tmp_path_factory.mktemp("any") / "store", account_id=ACCOUNT)
    session = boto3.Session("any", "thing", region_name="us-east-1")
    with GatewayThread(compose_gateway(settings, FakeRuntime({"*": evaluate}))) as url:

        def make(service: str) -> Any:
            config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
            made = session.client(service, endpoint_url=url, config=config)
            if service != "iam":  # botocore decodes its policies before the check
                made.meta.events.register("after-call", check_answer)
            return made

        yield make


@pytest.fixture(scope="module")
def known(aws: Callable[[str], Any]) -> dict[str, list[str]]:
    """One thing of each kind, and what names them."""
    sagemaker = aws("sagemaker")
    aws("s3").create_bucket(Bucket="bucket")
    pipeline = sagemaker.create_pipeline(
        PipelineName="Lab", PipelineDefinition=definition(), RoleArn=ROLE
    )["PipelineArn"]
    execution = sagemaker.start_pipeline_execution(PipelineName="Lab")["PipelineExecutionArn"]
    group = sagemaker.create_model_package_group(ModelPackageGroupName="group")
    group_arn = group["ModelPackageGroupArn"]
    _fill(sagemaker)
    queue = aws("sqs").create_queue(QueueName="queue")["QueueUrl"]
    repository = aws("ecr").create_repository(repositoryName="repo")["repository"]
    return {
        "PipelineExecutionArn": [execution],
        "ResourceArn": [pipeline, group_arn, execution, "arn:aws:nothing"],
        "PipelineDefinition": [definition(), "{}", "[]", "{"],
        "PipelineName": ["Lab", "lab", pipeline],
        "ModelPackageGroupName": ["group", group_arn],
        "ModelPackageName": ["group", f"{group_arn}/1"],
        "QueueUrl": [queue, "queue"],
        "RoleArn": [ROLE],
        "S3Uri": ["s3://bucket/some", "s3://bucket", "s3://", "file:///etc"],
        "LogGroup": ["/any/group", "/aws/sagemaker/ProcessingJobs"],
        "NextToken": ["", "MTA", "x"],
        "EventPattern": ['{"source":["aws.sagemaker"]}', "{", "[]"],
        "ScheduleExpression": ["rate(5 minutes)", "cron(x)"],
        "Policy": ["{}", "{"],
        "RepositoryName": ["repo", "repo", "other/repo"],
        "Arn": [repository["repositoryArn"], "arn:aws:ecr:eu-west-1:1:repository/repo"],
        "ImageManifest": ['{"schemaVersion":2,"manifests":[]}', "{", "[]", '{"config":1}'],
        "MediaType": ["application/vnd.oci.image.index.v1+json", "text/plain"],
        "Name": ["one", "two", "Lab", "group"],
    }


def _fill(sagemaker: Any) -> None:
    container = {"Image": IMAGE, "ModelDataUrl": "s3://bucket/model.tar.gz"}
    sagemaker.create_model(ModelName="one", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {"VariantName": "one", "ModelName": "one", "InitialInstanceCount": 1}
    variant["InstanceType"] = "ml.m5.large"
    sagemaker.create_endpoint_config(EndpointConfigName="one", ProductionVariants=[variant])
    sagemaker.create_model_package(
        ModelPackageGroupName="group",
        InferenceSpecification={
            "Containers": [container],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )
    arguments = processing_step()["Arguments"]
    sagemaker.create_processing_job(ProcessingJobName="one", **arguments)


@pytest.mark.parametrize("service", SERVICES)
def test_any_request_gets_an_answer_of_the_model(
    service: str, aws: Callable[[str], Any], known: dict[str, list[str]]
) -> None:
    client = aws(service)
    model = aws_model.load_service(service)
    problems: list[str] = []
    for name in model.operation_names:
        if (service, name) in NEVER:
            continue
        for number in range(REQUESTS):
            rng = random.Random(f"{SEED + number} {name}")
            request = AnyRequest(rng, known, rng.choice(FAULTS)).of(
                aws_model.load_shape(service, name)
            )
            if _has_no_path(aws_model.load_shape(service, name), request):
                continue
            raw = model.protocol == "json" and rng.random() < 0.3
            told = _raw(client, model, name, request) if raw else _told(client, name, request)
            if told is None or told["Code"] in _codes(model.operation_model(name)):
                continue
            if told["Code"] == "NotImplemented" and name in told["Message"]:
                break
            problems.append(f"{name}: {told} for {request!r:.2000}")
    assert not problems, "\n".join(problems)


def _has_no_path(shape: Any, request: dict[str, Any]) -> bool:
    """Whether a name in the path is empty: that path is no operation's."""
    members = {} if shape is None else shape.members
    return any(
        request.get(name, "any") in ("", None)
        for name, member in members.items()
        if member.serialization.get("location") == "uri"
    )


def _codes(operation: Any) -> set[str]:
    own = {shape.name for shape in operation.error_shapes}
    own |= {shape.metadata.get("error", {}).get("code", "") for shape in operation.error_shapes}
    return own | ANY_SERVICE


def _told(client: Any, operation: str, request: dict[str, Any]) -> dict[str, Any] | None:
    """The error of a call; None where it succeeded, or botocore cannot put it on the wire."""
    try:
        answer = getattr(client, xform_name(operation))(**request)
    except ClientError as error:
        return dict(error.response["Error"])
    except ResponseParserError:
        raise
    except (BotoCoreError, TypeError, ValueError, AttributeError, KeyError, RuntimeError):
        return None
    for member in answer.values():
        if hasattr(member, "close"):
            member.close()
    return None


def _raw(client: Any, model: Any, operation: str, request: dict[str, Any]) -> dict[str, Any] | None:
    """The error of a request that botocore has not touched: wrong times and bytes get through."""
    answer = _post(
        client.meta.endpoint_url,
        f"{model.metadata['targetPrefix']}.{operation}",
        json.dumps(request, default=str).encode(),
    )
    assert answer.status < 500 or answer.status == 501, answer.body
    document = json.loads(answer.body or b"{}")
    if answer.status < 400:
        return None
    return {"Code": document["__type"].rpartition("#")[2], "Message": document["message"]}


def _post(url: str, target: str, body: bytes) -> SimpleNamespace:
    headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, body, headers), timeout=60
        ) as answer:
            return SimpleNamespace(status=answer.status, body=answer.read())
    except urllib.error.HTTPError as refused:
        return SimpleNamespace(status=refused.code, body=refused.read())


BODIES = {
    "deep lists": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "half a character": '{"pipelineName": "\\ud800"}',
    "a large number": '{"PipelineName": ' + "9" * 5000 + "}",
    "no number": '{"PipelineName": NaN}',
    "no text": "\xff\xfe",
    "nothing": "",
    "null": "null",
    "a long name": json.dumps({"PipelineName": "x" * 1_000_000}),
}
TARGETS = ("SageMaker.DescribePipeline", "Logs_20140328.FilterLogEvents", "AmazonSQS.GetQueueUrl")


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_any_body_gets_an_answer_of_the_protocol(aws: Callable[[str], Any], body: str) -> None:
    for target in TARGETS:
        answer = _post(aws("sagemaker").meta.endpoint_url, target, body.encode("latin-1"))
        assert answer.status == 400, (target, answer.body)
        assert json.loads(answer.body)["__type"]
