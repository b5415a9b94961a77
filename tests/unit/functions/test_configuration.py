"""From requests to configurations, plans and variables."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mlops.aws_model import find_problems
from mlops.errors import ServiceError
from mlops.functions.configuration import (
    changed_configuration,
    check_package,
    check_supported,
    new_configuration,
)
from mlops.functions.function import Function
from mlops.functions.plan import FunctionFolders, worker_plan
from mlops.surroundings import Surroundings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROLE = "arn:aws:iam::123456789012:role/x"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:f"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mlops-endpoint-test:latest"
ZIP: dict[str, Any] = {
    "FunctionName": "f",
    "Role": ROLE,
    "Runtime": "python3.12",
    "Handler": "index.handler",
    "Code": {"ZipFile": b""},
}
AS_IMAGE: dict[str, Any] = {
    "FunctionName": "f",
    "Role": ROLE,
    "PackageType": "Image",
    "Code": {"ImageUri": IMAGE},
}


def test_the_services_defaults() -> None:
    made = new_configuration(ZIP, ARN, NOW)
    assert (made["Timeout"], made["MemorySize"], made["PackageType"]) == (3, 128, "Zip")
    assert made["LastModified"] == "2026-03-01T12:00:00.000+0000"
    assert find_problems("lambda", "CreateFunction", made, output=True) == []


def test_a_change_keeps_the_rest_and_makes_a_revision() -> None:
    before = new_configuration(ZIP | {"Environment": {"Variables": {"A": "1"}}}, ARN, NOW)
    after = changed_configuration(before, {"FunctionName": "f", "Timeout": 60}, NOW)
    assert (after["Timeout"], after["Handler"]) == (60, "index.handler")
    assert after["Environment"] == {"Variables": {"A": "1"}}
    assert after["RevisionId"] != before["RevisionId"]


def test_empty_values_ask_for_nothing() -> None:
    """SDK v2's helper sends every member, empty where it has nothing."""
    check_supported({"Layers": [], "VpcConfig": {}, "Environment": {}, "Publish": False})


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ({"Layers": ["arn"]}, "Layers is not supported by the local gateway"),
        ({"Publish": True}, "keeps no versions"),
        ({"DeadLetterConfig": {"TargetArn": "arn"}}, "DeadLetterConfig is not supported"),
        ({"ImageConfig": {"WorkingDirectory": "/x"}}, "ImageConfig.WorkingDirectory is not"),
        ({"Timeout": 901}, "'timeout' failed to satisfy constraint.*less than or equal to 900"),
        ({"MemorySize": 10241}, "'memorySize' failed.*less than or equal to 10240"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "reserved keys.*AWS_REGION"),
    ],
)
def test_what_is_refused(member: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError, match=message) as caught:
        check_supported(member)
    assert caught.value.code == "InvalidParameterValueException"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (AS_IMAGE | {"Handler": "x.y"}, "don't provide Handler or Runtime"),
        (AS_IMAGE | {"Code": {"ZipFile": b""}}, "Please provide ImageUri"),
        (ZIP | {"Code": {"ImageUri": IMAGE}}, "don't provide ImageUri"),
        ({k: v for k, v in ZIP.items() if k != "Handler"}, "Runtime and Handler are mandatory"),
        (ZIP | {"Runtime": "nodejs20.x"}, "build the function as an image"),
    ],
)
def test_packages_that_do_not_go_together(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        check_package(request_)


def plan_of(request: dict[str, Any], code: dict[str, str]) -> Any:
    function = Function.new(new_configuration(request, ARN, NOW), code, NOW)
    return worker_plan(
        function,
        FunctionFolders(Path("/store/functions/f")),
        Surroundings("us-east-1", "http://gateway:1"),
        "/store",
        "w1",
        NOW,
    )


def test_a_worker_of_a_zip() -> None:
    plan = plan_of(ZIP | {"Timeout": 9, "MemorySize": 256}, {"digest": "abc"})
    spec, variables = plan.spec, plan.spec.environment
    assert spec.image == "public.ecr.aws/lambda/python:3.12"
    assert (spec.command, spec.arguments, spec.port) == ((), ("index.handler",), None)
    assert spec.memory_megabytes == 256
    assert [str(mount.source) for mount in spec.mounts] == ["/store/functions/f/code/abc/task"]
    assert variables["LAMBDA_TASK_ROOT"] == spec.mounts[0].target
    assert variables["_HANDLER"] == "index.handler"
    assert variables["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.12"


def test_a_worker_of_an_image() -> None:
    command = {"EntryPoint": ["run"], "Command": ["other.handler"]}
    plan = plan_of(AS_IMAGE | {"ImageConfig": command}, {"ImageUri": IMAGE})
    assert plan.spec.image == IMAGE
    assert (plan.spec.command, plan.spec.arguments) == (("run",), ("other.handler",))
    assert plan.spec.mounts == ()
    assert "LAMBDA_TASK_ROOT" not in plan.spec.environment


def test_the_variables_that_lambda_sets() -> None:
    own = {"Environment": {"Variables": {"MINE": "1", "TZ": "Europe/Berlin"}}}
    variables = plan_of(AS_IMAGE | own, {"ImageUri": IMAGE}).spec.environment
    expected = {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://gateway:1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2026/03/01/[$LATEST]w1",
        "AWS_REGION": "us-east-1",
        "MINE": "1",
        "TZ": "Europe/Berlin",
    }
    assert expected.items() <= variables.items()


def test_the_variables_for_logs_in_json() -> None:
    logging = {"LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG"}}
    variables = plan_of(AS_IMAGE | logging, {"ImageUri": IMAGE}).spec.environment
    assert variables["AWS_LAMBDA_LOG_FORMAT"] == "JSON"
    assert variables["AWS_LAMBDA_LOG_LEVEL"] == "DEBUG"
