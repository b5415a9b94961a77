from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from mlops.errors import ServiceError
from mlops.ports import ExecutionStatus

ROLE = "arn:aws:iam::000000000000:role/mlops-execution"
TOKEN = "t" * 32
ARN = "arn:aws:sagemaker:us-east-1:000000000000:pipeline/Lab-Pipeline"

Call = Callable[..., dict[str, Any]]


def definition(**more: Any) -> str:
    step = {"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}
    return json.dumps({"Version": "2020-12-01", "Steps": [step], **more})


def create(call: Call, name: str = "Lab-Pipeline", **more: Any) -> dict[str, Any]:
    request = {
        "PipelineName": name,
        "PipelineDefinition": definition(),
        "RoleArn": ROLE,
        "ClientRequestToken": TOKEN,
        **more,
    }
    return call("CreatePipeline", **{k: v for k, v in request.items() if v is not None})


def refused(call: Call, operation: str, **request: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        call(operation, **request)
    return caught.value


def test_create_and_describe(call: Call) -> None:
    made = create(
        call,
        PipelineDescription="d",
        ParallelismConfiguration={"MaxParallelExecutionSteps": 2},
        Tags=[{"Key": "team", "Value": "ml"}],
    )
    assert made == {"PipelineArn": ARN}
    for name in ("Lab-Pipeline", ARN):
        found = call("DescribePipeline", PipelineName=name)
        assert found["PipelineDefinition"] == definition()
        assert found["PipelineDisplayName"] == "Lab-Pipeline"
        assert found["PipelineStatus"] == "Active"
        assert found["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 2}
        assert isinstance(found["CreationTime"], float)
        assert "LastRunTime" not in found
    assert call("ListTags", ResourceArn=ARN)["Tags"] == [{"Key": "team", "Value": "ml"}]


def test_the_same_token_again_is_no_duplicate(call: Call) -> None:
    assert create(call) == create(call)
    assert len(call("ListPipelines")["PipelineSummaries"]) == 1


def test_a_duplicate_is_refused_in_the_words_that_upsert_looks_for(call: Call) -> None:
    create(call)
    with pytest.raises(ServiceError) as caught:
        create(call, ClientRequestToken="u" * 32)
    assert caught.value.code == "ValidationException"
    assert str(caught.value) == (
        "Pipeline names must be unique within an AWS account and region. "
        "Pipeline with name (Lab-Pipeline) already exists."
    )


def test_every_problem_of_a_definition_is_named(call: Call) -> None:
    broken = json.dumps(
        {
            "Version": "2020-12-01",
            "Steps": [
                {"Name": "A", "Type": "Fail", "Arguments": {"ErrorMessage": {"Get": "Steps.X.Y"}}},
                {"Name": "B", "Type": "Juggle", "Arguments": {}},
            ],
        }
    )
    with pytest.raises(ServiceError) as caught:
        create(call, PipelineDefinition=broken)
    assert caught.value.code == "ValidationException"
    assert "Steps[0]" in str(caught.value)
    assert "Steps[1]" in str(caught.value)
    assert call("ListPipelines")["PipelineSummaries"] == []


def test_a_definition_from_s3(call: Call, objects: Any) -> None:
    objects.texts["bucket", "p/definition.json"] = definition()
    location = {"Bucket": "bucket", "ObjectKey": "p/definition.json"}
    create(call, PipelineDefinition=None, PipelineDefinitionS3Location=location)
    described = call("DescribePipeline", PipelineName="Lab-Pipeline")
    assert described["PipelineDefinition"] == definition()


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ({"Bucket": "nowhere", "ObjectKey": "k"}, "s3://nowhere/k cannot be read"),
        ({"Bucket": "bucket", "ObjectKey": "none"}, "s3://bucket/none cannot be read"),
        ({"Bucket": "bucket", "ObjectKey": "k", "VersionId": "7"}, "keeps no versions"),
    ],
)
def test_a_definition_that_cannot_be_read(
    call: Call, objects: Any, location: dict[str, str], said: str
) -> None:
    objects.texts["bucket", "k"] = definition()
    with pytest.raises(ServiceError, match=said) as caught:
        create(call, PipelineDefinition=None, PipelineDefinitionS3Location=location)
    assert caught.value.code == "ValidationException"


def test_a_definition_is_given_once(call: Call) -> None:
    both = {"PipelineDefinitionS3Location": {"Bucket": "bucket", "ObjectKey": "k"}}
    with pytest.raises(ServiceError, match="Give one of"):
        create(call, **both)
    with pytest.raises(ServiceError, match="is required"):
        create(call, PipelineDefinition=None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"PipelineName": "no spaces"}, "pattern"),
        ({"PipelineName": None}, "pipelineName"),
        ({"RoleArn": "role"}, "roleArn"),
        ({"ClientRequestToken": "short"}, "32"),
        ({"ParallelismConfiguration": {"MaxParallelExecutionSteps": 0}}, "greater than"),
        ({"Tags": [{"Key": "aws:x", "Value": ""}]}, "reserved"),
        ({"Tags": [{"Key": "x", "Value": ""}, {"Key": "x", "Value": ""}]}, "Duplicate tag keys"),
        ({"PipelineDisplayName": 7}, "string"),
    ],
)
def test_a_wrong_request_is_refused(call: Call, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ServiceError, match=said) as caught:
        create(call, **change)
    assert caught.value.code == "ValidationException"
    assert caught.value.status == 400


def test_unknown_members_are_ignored(call: Call) -> None:
    create(call, FromTheFuture={"a": 1}, Tags=[{"Key": "k", "Value": "v", "Colour": "red"}])
    assert call("DescribePipeline", PipelineName="Lab-Pipeline")["PipelineArn"] == ARN


def test_update_changes_what_is_named(call: Call) -> None:
    create(call, PipelineDescription="old")
    call("UpdatePipeline", PipelineName="Lab-Pipeline", PipelineDefinition=definition(Metadata={}))
    found = call("DescribePipeline", PipelineName="Lab-Pipeline")
    assert json.loads(found["PipelineDefinition"])["Metadata"] == {}
    assert found["PipelineDescription"] == "old"
    assert found["LastModifiedTime"] > found["CreationTime"]


def test_update_refuses_a_broken_definition(call: Call) -> None:
    create(call)
    error = refused(
        call, "UpdatePipeline", PipelineName="Lab-Pipeline", PipelineDefinition="{not json"
    )
    assert error.code == "ValidationException"
    found = call("DescribePipeline", PipelineName="Lab-Pipeline")
    assert found["PipelineDefinition"] == definition()


@pytest.mark.parametrize("operation", ["DescribePipeline", "UpdatePipeline", "DeletePipeline"])
def test_a_missing_pipeline(call: Call, operation: str) -> None:
    token = {"ClientRequestToken": TOKEN} if operation == "DeletePipeline" else {}
    error = refused(call, operation, PipelineName="Lab-Pipeline", **token)
    assert (error.code, str(error)) == ("ResourceNotFound", f"Pipeline '{ARN}' does not exist.")


def test_list_filters_and_orders(call: Call) -> None:
    for name in ("b-1", "a-1", "b-2"):
        create(call, name)

    def names(**request: Any) -> list[str]:
        rows = call("ListPipelines", **request)["PipelineSummaries"]
        return [row["PipelineName"] for row in rows]

    assert names() == ["b-2", "a-1", "b-1"]
    assert names(SortOrder="Ascending") == ["b-1", "a-1", "b-2"]
    assert names(SortBy="Name", SortOrder="Ascending") == ["a-1", "b-1", "b-2"]
    assert names(PipelineNamePrefix="b") == ["b-2", "b-1"]
    second = call("DescribePipeline", PipelineName="a-1")["CreationTime"]
    assert names(CreatedAfter=second) == ["b-2"]
    assert names(CreatedBefore=second) == ["b-1"]


def test_pages_do_not_repeat_or_skip(call: Call) -> None:
    for number in range(5):
        create(call, f"p-{number}")
    first = call("ListPipelines", MaxResults=2)
    create(call, "p-new")
    second = call("ListPipelines", MaxResults=2, NextToken=first["NextToken"])
    third = call("ListPipelines", MaxResults=2, NextToken=second["NextToken"])
    rows = [
        row["PipelineName"] for page in (first, second, third) for row in page["PipelineSummaries"]
    ]
    assert rows == ["p-4", "p-3", "p-2", "p-1", "p-0"]
    assert "NextToken" not in third


@pytest.mark.parametrize("token", ["garbage", "Z2FyYmFnZQ==", "e30=", "ÿ"])
def test_a_token_that_is_none_of_ours(call: Call, token: str) -> None:
    error = refused(call, "ListPipelines", NextToken=token)
    assert (error.code, "NextToken" in str(error)) == ("ValidationException", True)


def test_a_token_of_another_request(call: Call) -> None:
    for number in range(3):
        create(call, f"p-{number}")
    token = call("ListPipelines", MaxResults=1)["NextToken"]
    error = refused(call, "ListPipelines", NextToken=token, SortOrder="Ascending")
    assert "other filters" in str(error)


def test_delete_takes_the_executions_and_tags_along(
    call: Call, start: Callable[..., str], executions: Any
) -> None:
    arn = start()
    call("AddTags", ResourceArn=ARN, Tags=[{"Key": "k", "Value": "v"}])
    error = refused(call, "DeletePipeline", PipelineName="Lab-Pipeline", ClientRequestToken=TOKEN)
    assert error.code == "ConflictException"
    assert arn in str(error)
    executions.end(arn, ExecutionStatus.SUCCEEDED)
    call("DeletePipeline", PipelineName="Lab-Pipeline", ClientRequestToken=TOKEN)
    assert refused(call, "DescribePipelineExecution", PipelineExecutionArn=arn).code == (
        "ResourceNotFound"
    )
    create(call)
    assert call("ListTags", ResourceArn=ARN)["Tags"] == []


def test_a_version_that_is_not_there(call: Call) -> None:
    create(call)
    error = refused(call, "DescribePipeline", PipelineName="Lab-Pipeline", PipelineVersionId=2)
    assert "has no version 2" in str(error)
