"""botocore's list of SageMaker's operations: each is answered and tested, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError

from mlops import aws_model

from .conftest import IMAGE

TESTS = Path(__file__).parents[1]


@pytest.fixture
def unchecked(url: str) -> Any:
    """A client that sends whatever it is given."""
    session = boto3.Session("any", "thing", region_name="us-east-1")
    config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
    return session.client("sagemaker", endpoint_url=url, config=config)


def test_each_is_tested_or_refused_by_name(unchecked: Any) -> None:
    sources = "\n".join(file.read_text() for file in TESTS.rglob("*.py"))
    problems = []
    for operation in aws_model.load_service("sagemaker").operation_names:
        name = xform_name(operation)
        error = _error(getattr(unchecked, name))
        if error["Code"] == "NotImplemented":
            if f"sagemaker {operation}." not in error["Message"]:
                problems.append(f"{operation} is refused without its name: {error}")
        elif f"{name}(" not in sources and f'"{name}"' not in sources:
            problems.append(f"{operation} is answered, and no test calls {name}")
        elif error["Code"] == "InternalFailure":
            problems.append(f"{operation} fails without members: {error}")
    assert not problems, "\n".join(problems)


def _error(call: Any) -> dict[str, str]:
    try:
        call()
    except ClientError as error:
        return dict(error.response["Error"])
    return {"Code": "", "Message": ""}


def test_a_pipeline_is_updated_tagged_and_deleted(
    sagemaker: Any, start: Callable[..., str], ended: Callable[[str], Any], lab: SimpleNamespace
) -> None:
    first = start(lab.processing_step("Evaluate"))
    ended(first)
    sagemaker.update_pipeline(
        PipelineName="Lab",
        PipelineDefinition=lab.definition(lab.processing_step("Other")),
        PipelineDescription="another step",
    )
    found = sagemaker.describe_pipeline(PipelineName="Lab")
    assert found["PipelineDescription"] == "another step"
    assert '"Other"' in found["PipelineDefinition"]
    ran = sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=first)
    assert '"Evaluate"' in ran["PipelineDefinition"]
    arn = found["PipelineArn"]
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": k, "Value": "1"} for k in "ab"])
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "1"}]
    sagemaker.delete_pipeline(PipelineName="Lab")
    with pytest.raises(sagemaker.exceptions.ResourceNotFound):
        sagemaker.describe_pipeline_execution(PipelineExecutionArn=first)


def test_a_package_is_approved_found_and_deleted_with_its_group(sagemaker: Any) -> None:
    sagemaker.create_model_package_group(ModelPackageGroupName="Group")
    group = sagemaker.describe_model_package_group(ModelPackageGroupName="Group")
    assert group["ModelPackageGroupStatus"] == "Completed"
    arn = sagemaker.create_model_package(
        ModelPackageGroupName="Group",
        ModelApprovalStatus="PendingManualApproval",
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://bucket/model.tar.gz"}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )["ModelPackageArn"]
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    approved = {"Name": "ModelApprovalStatus", "Operator": "Equals", "Value": "Approved"}
    (hit,) = sagemaker.search(Resource="ModelPackage", SearchExpression={"Filters": [approved]})[
        "Results"
    ]
    assert hit["ModelPackage"]["ModelPackageArn"] == arn
    place = "InferenceSpecification.Containers"
    for image, count in ((IMAGE, 1), ("another", 0)):
        filters = [{"Name": f"{place}.Image", "Operator": "Equals", "Value": image}]
        nested = {"NestedPropertyName": place, "Filters": filters}
        found = sagemaker.search(
            Resource="ModelPackage", SearchExpression={"NestedFilters": [nested]}
        )
        assert len(found["Results"]) == count
    gone = arn.replace("/1", "/7")
    several = sagemaker.batch_describe_model_package(ModelPackageArnList=[arn, gone])
    assert several["ModelPackageSummaries"][arn]["ModelApprovalStatus"] == "Approved"
    missed = several["BatchDescribeModelPackageErrorMap"][gone]
    assert missed["ErrorCode"] == "ValidationException"
    assert "Could not find model package" in missed["ErrorResponse"]
    sagemaker.delete_model_package(ModelPackageName=arn)
    sagemaker.delete_model_package_group(ModelPackageGroupName="Group")
    assert sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []


def test_versions(
    sagemaker: Any, start: Callable[..., str], ended: Callable[[str], Any], lab: SimpleNamespace
) -> None:
    first = start(lab.processing_step("First"))
    ended(first)
    definition = lab.definition(lab.processing_step("Second"))
    made = sagemaker.update_pipeline(
        PipelineName="Lab", PipelineDefinition=definition, PipelineVersionAliases=["new"]
    )
    assert made["PipelineVersionId"] == 2
    same = sagemaker.update_pipeline(PipelineName="Lab", PipelineDefinition=definition)
    assert same["PipelineVersionId"] == 2
    with pytest.raises(ClientError, match="need an update of the definition"):
        sagemaker.update_pipeline(PipelineName="Lab", PipelineVersionAliases=["newest"])
    with pytest.raises(sagemaker.exceptions.ConflictException):
        sagemaker.update_pipeline_version(
            PipelineArn=made["PipelineArn"],
            PipelineVersionId=1,
            PipelineVersionAliasOperations={"Add": ["new"]},
        )
    sagemaker.update_pipeline_version(
        PipelineArn=made["PipelineArn"],
        PipelineVersionId=1,
        PipelineVersionDisplayName="the-old-one",
        PipelineVersionAliasOperations={"Add": ["old"]},
    )
    newest, oldest = sagemaker.list_pipeline_versions(PipelineName="Lab")[
        "PipelineVersionSummaries"
    ]
    assert (newest["PipelineVersionId"], newest["PipelineVersionAliases"]) == (2, ["new"])
    assert oldest["PipelineVersionDisplayName"] == "the-old-one"
    assert oldest["LastExecutionPipelineExecutionArn"] == first
    old = sagemaker.describe_pipeline(PipelineName="Lab", PipelineVersionAlias="old")
    assert '"First"' in old["PipelineDefinition"]
    again = sagemaker.start_pipeline_execution(PipelineName="Lab", PipelineVersionId=1)
    found = ended(again["PipelineExecutionArn"])
    assert (found["PipelineVersionId"], found["PipelineExecutionStatus"]) == (1, "Succeeded")
    for operation in (sagemaker.start_pipeline_execution, sagemaker.list_pipeline_executions):
        with pytest.raises(sagemaker.exceptions.ResourceNotFound):
            operation(PipelineName="Lab", PipelineVersionAlias="none")
    for alias, order, expected in (
        ("old", "Descending", [again["PipelineExecutionArn"], first]),
        ("old", "Ascending", [first, again["PipelineExecutionArn"]]),
        ("new", "Descending", []),
    ):
        pages = sagemaker.get_paginator("list_pipeline_executions").paginate(
            PipelineName="Lab", PipelineVersionAlias=alias, SortOrder=order
        )
        listed = [row for page in pages for row in page["PipelineExecutionSummaries"]]
        assert [row["PipelineExecutionArn"] for row in listed] == expected
    sagemaker.delete_pipeline(PipelineName="Lab")
    with pytest.raises(sagemaker.exceptions.ResourceNotFound):
        sagemaker.list_pipeline_versions(PipelineName="Lab")
