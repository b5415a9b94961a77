"""The request check says what the real service would, from botocore's model alone."""

from __future__ import annotations

from typing import Any

import pytest

from mlops.aws_model import _compiled, find_problems, load_service, members, validate_request
from mlops.errors import ServiceError

ROLE = "arn:aws:iam::000000000000:role/mlops-execution"


def pipeline(**changes: Any) -> dict[str, Any]:
    request = {
        "PipelineName": "p",
        "PipelineDefinition": "{}",
        "ClientRequestToken": "t" * 32,
        "RoleArn": ROLE,
    }
    return {name: value for name, value in (request | changes).items() if value is not ...}


def processing(**changes: Any) -> dict[str, Any]:
    return {
        "ProcessingJobName": "job",
        "AppSpecification": {"ImageUri": "image"},
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 30,
            }
        },
        "RoleArn": ROLE,
    } | changes


def test_a_valid_request_passes() -> None:
    validate_request("sagemaker", "CreatePipeline", pipeline())
    validate_request("sagemaker", "CreateProcessingJob", processing())


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            pipeline(RoleArn=...),
            "Value null at 'roleArn' failed to satisfy constraint: Member must not be null",
        ),
        (pipeline(PipelineName="-p"), "Member must satisfy regular expression pattern"),
        (pipeline(ClientRequestToken="short"), "length greater than or equal to 32"),
        (
            pipeline(PipelineName=7),
            "Value '7' at 'pipelineName' failed to satisfy constraint: Member must be a string",
        ),
        (
            pipeline(PiplineName="p"),
            "Unknown member 'PiplineName' at 'request': did you mean PipelineName?",
        ),
        (pipeline(Tags=[{"Key": "k"}]), "Value null at 'tags.1.member.value'"),
        (pipeline(Tags={"k": "v"}), "Member must be a list"),
        (
            pipeline(ParallelismConfiguration={"MaxParallelExecutionSteps": 0}),
            "value greater than or equal to 1",
        ),
        (
            pipeline(ParallelismConfiguration={"MaxParallelExecutionSteps": True}),
            "Member must be an integer",
        ),
    ],
)
def test_each_kind_of_mistake_is_named(request_: dict[str, Any], message: str) -> None:
    problems = find_problems("sagemaker", "CreatePipeline", request_)
    assert len(problems) == 1
    assert message in problems[0]


def test_enums_and_maps_are_checked() -> None:
    request = processing(
        Environment={"A": 1},
        ProcessingInputs=[
            {"InputName": "i", "S3Input": {"S3Uri": "s3://b/k", "S3DataType": "Prefix"}}
        ],
    )
    first, second = find_problems("sagemaker", "CreateProcessingJob", request)
    assert "'environment.A.member'" in first
    assert second == (
        "Value 'Prefix' at 'processingInputs.1.member.s3Input.s3DataType' failed to satisfy "
        "constraint: Member must satisfy enum value set: [ManifestFile, S3Prefix]"
    )


def test_the_error_counts_every_problem_as_the_service_does() -> None:
    with pytest.raises(ServiceError, match=r"^2 validation errors detected: Value") as caught:
        validate_request("sagemaker", "CreatePipeline", pipeline(RoleArn=..., PipelineName="-"))
    assert caught.value.code == "ValidationException"


def test_a_null_member_counts_as_absent() -> None:
    assert not find_problems("sagemaker", "CreatePipeline", pipeline(PipelineDescription=None))


def test_every_pattern_of_the_model_can_be_checked() -> None:
    shapes = load_service("sagemaker")._service_description["shapes"]
    for shape in shapes.values():
        if "pattern" in shape:
            _compiled(shape["pattern"])


@pytest.mark.parametrize("key", ["Team: ÄÖ/β", "a_b-c@d"])
def test_unicode_classes_of_java_patterns_are_understood(key: str) -> None:
    assert not find_problems(
        "sagemaker", "CreatePipeline", pipeline(Tags=[{"Key": key, "Value": key}])
    )


def test_members_are_named() -> None:
    assert "ModelArtifacts" in members("sagemaker", "DescribeTrainingJob", output=True)
    assert "HyperParameters" in members("sagemaker", "CreateTrainingJob")
