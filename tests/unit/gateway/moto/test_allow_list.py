"""The allow-list names what botocore and moto have, and each operation once."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest
from botocore import xform_name
from botocore.session import get_session

from mlops.aws_model import load_service
from mlops.gateway.moto.allow_list import AllowedService, allow_list
from mlops.gateway.moto.face import scope_of
from mlops.gateway.moto.journal import SEVERAL

OWN = {"s3", "sagemaker", "lambda", "logs", "events", "sqs", "sts", "ecr", "cloudformation"}
SERVICES = {service.name: service for service in allow_list().services}


def methods_of_moto(service: str) -> set[str]:
    """The methods of the classes that answer in moto, from its source: an import takes long."""
    spec = find_spec("moto")
    assert spec is not None
    assert spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0]) / service
    tree = ast.parse((package / "responses.py").read_text("utf-8"))
    return {
        each.name
        for owner in ast.walk(tree)
        if isinstance(owner, ast.ClassDef)
        for each in owner.body
        if isinstance(each, ast.FunctionDef)
    }


@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
def test_every_name_exists(service: AllowedService) -> None:
    model = load_service(service.name)
    named = service.answered | set(service.refused)
    assert named <= set(model.operation_names)
    methods = methods_of_moto(service.name)
    assert {name for name in named if xform_name(name) not in methods} == set()
    assert service.signing == (model.metadata.get("signingName") or model.endpoint_prefix)
    if "json" in model.metadata["protocols"]:
        assert service.target == model.metadata["targetPrefix"]
    else:
        assert service.target is None
    for rule in service.unless:
        assert rule.operations <= service.answered
        for name in rule.operations:
            shape = model.operation_model(name).input_shape
            assert shape is not None
            assert rule.member in shape.members
    assert service.several | {service.ends or "CreateTable"} <= service.writes | {"CreateTable"}


@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
def test_an_operation_is_decided_upon_once(service: AllowedService) -> None:
    assert service.reads.isdisjoint(service.writes)
    assert service.answered.isdisjoint(service.refused)


def test_moto_has_nothing_that_is_answered_here() -> None:
    assert OWN.isdisjoint(SERVICES)
    assert OWN.isdisjoint(allow_list().refused)


def test_a_refused_service_is_one_of_botocores() -> None:
    session = get_session()
    names = set(session.get_available_services())
    signing = {"states", "tagging"} | {
        "elasticmapreduce",
        "elasticfilesystem",
        "elasticloadbalancing",
    }
    # These sign under another name than botocore calls them.
    assert set(allow_list().refused) <= names | signing
    assert not set(allow_list().refused) & {each.signing for each in SERVICES.values()}


@pytest.mark.parametrize(
    ("signing", "target", "found"),
    [
        ("ssm", "AmazonSSM", "ssm"),
        ("dynamodb", "DynamoDB_20120810", "dynamodb"),
        ("dynamodb", "DynamoDBStreams_20120810", "dynamodbstreams"),
        ("AmazonSSM", "AmazonSSM", "ssm"),  # not signed
        ("monitoring", "", "cloudwatch"),  # in the query protocol
        ("sns", "", "sns"),
        ("dynamodb", "", "dynamodb"),
        ("glue", "AWSGlue", None),
        ("ssm", "AWSGlue", None),
        ("s3", "", None),
    ],
)
def test_a_service_is_found_by_target_or_signature(
    signing: str, target: str, found: str | None
) -> None:
    service = allow_list().find(signing, target)
    assert (service and service.name) == found


@pytest.mark.parametrize(
    ("service", "operation", "request_", "scope"),
    [
        ("dynamodb", "PutItem", {"TableName": "t"}, "t"),
        ("dynamodb", "PutItem", {"TableName": "arn:aws:dynamodb:r:1:table/t"}, "t"),
        ("dynamodb", "TagResource", {"ResourceArn": "arn:aws:dynamodb:r:1:table/t"}, "t"),
        ("dynamodb", "BatchWriteItem", {"RequestItems": {"t": []}}, "t"),
        ("dynamodb", "BatchWriteItem", {"RequestItems": {"t": [], "u": []}}, SEVERAL),
        ("dynamodb", "TransactWriteItems", {"TransactItems": []}, SEVERAL),
        ("dynamodb", "CreateBackup", {"TableName": "t"}, SEVERAL),
        ("kinesis", "PutRecord", {"StreamARN": "arn:aws:kinesis:r:1:stream/s"}, "s"),
        ("iam", "DeleteRole", {"RoleName": "r"}, "r"),
        ("ssm", "PutParameter", {"Name": "/a"}, SEVERAL),
    ],
)
def test_what_a_request_writes_to(
    service: str, operation: str, request_: dict[str, object], scope: str
) -> None:
    assert scope_of(SERVICES[service], operation, request_) == scope
