"""The cache keys of "Default cache key attributes by pipeline step type", SageMaker's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlops.definition import CacheConfig, StepType
from mlops.definition.duration import parse_duration
from mlops.engine.caching import (
    cache_key,
    content_attributes,
    key_attributes,
    made_after,
    output_uris,
)

TRAINING_KEYS = {
    "AlgorithmSpecification",
    "CheckpointConfig",
    "DebugHookConfig",
    "DebugRuleConfigurations",
    "Environment",
    "HyperParameters",
    "InputDataConfig",
}
OTHERS = {"RoleArn", "ResourceConfig", "OutputDataConfig", "StoppingCondition", "Tags", "VpcConfig"}


@pytest.mark.parametrize(
    ("step_type", "expected"),
    [
        (StepType.PROCESSING, {"AppSpecification", "Environment", "ProcessingInputs"}),
        (StepType.TRAINING, TRAINING_KEYS),
        (StepType.TRANSFORM, {"DataProcessing", "Environment", "ModelName", "TransformInput"}),
    ],
)
def test_the_keys_of_each_type_are_exactly_the_documented_ones(
    step_type: StepType, expected: set[str]
) -> None:
    names = expected | OTHERS | {"ProcessingOutputConfig", "TransformOutput", "NetworkConfig"}
    request: dict[str, Any] = {name: {} for name in names}
    assert set(key_attributes(step_type, request)) == expected


def test_a_key_is_of_one_pipeline_step_type_and_its_attributes() -> None:
    attributes = {"HyperParameters": {"a": "1", "b": "2"}}
    same = {"HyperParameters": {"b": "2", "a": "1"}}
    key = cache_key("arn", "Train", StepType.TRAINING, attributes)
    assert key == cache_key("arn", "Train", StepType.TRAINING, same)
    others = [
        cache_key("other", "Train", StepType.TRAINING, attributes),
        cache_key("arn", "Other", StepType.TRAINING, attributes),
        cache_key("arn", "Train", StepType.PROCESSING, attributes),
        cache_key("arn", "Train", StepType.TRAINING, {"HyperParameters": {"a": "1"}}),
    ]
    assert len({key, *others}) == 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("P30D", timedelta(days=30)),
        ("30d", timedelta(days=30)),
        ("p30d", timedelta(days=30)),
        ("T16m", timedelta(minutes=16)),
        ("30dT5h", timedelta(days=30, hours=5)),
        ("PT1H", timedelta(hours=1)),
        ("P4DT12H", timedelta(days=4, hours=12)),
        ("T12H", timedelta(hours=12)),
        ("5y", timedelta(days=5 * 365)),
        ("P2M", timedelta(days=60)),
        ("P1W", timedelta(days=7)),
        ("PT90S", timedelta(seconds=90)),
        ("999999999y", timedelta(days=365 * 1000)),
    ],
)
def test_durations_as_documented(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "P", "T", "PT", "30", "d", "16mT", "P1.5D", "-1d", "1d\n"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


def test_expiry() -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    assert made_after(CacheConfig(True, "P1D"), now) == now - timedelta(days=1)
    assert made_after(CacheConfig(True, None), now) is None


def test_content_mode_leaves_the_marks_of_a_build_out() -> None:
    def request(build: str) -> dict[str, Any]:
        source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://b/job-{build}/input/code"}
        return {
            "HyperParameters": {
                "epochs": "3",
                "model_dir": f'"s3://b/tensorflow-training-{build}/model"',
                "sagemaker_job_name": f'"tensorflow-training-{build}"',
                "sagemaker_submit_directory": f'"s3://b/{build}/sourcedir.tar.gz"',
            },
            "DebugHookConfig": {"S3OutputPath": f"s3://b/{build}"},
            "InputDataConfig": [
                {"ChannelName": "code", "DataSource": {"S3DataSource": source}},
            ],
        }

    def contents(uri: str, manifest: bool) -> str:
        assert not manifest
        return "sources" if uri.endswith("sourcedir.tar.gz") else "drivers"

    first, second = request("2026-11-24"), request("2026-11-25")
    found = content_attributes(StepType.TRAINING, first, contents)
    assert found == content_attributes(StepType.TRAINING, second, contents)
    assert first == request("2026-11-24"), "the request itself is left alone"
    assert found["contents"]["HyperParameters"] == {
        "epochs": "3",
        "sagemaker_submit_directory": "sources",
    }


def test_content_mode_asks_what_lies_at_every_input() -> None:
    asked: list[tuple[str, bool]] = []

    def contents(uri: str, manifest: bool) -> str:
        asked.append((uri, manifest))
        return "x"

    s3 = {"S3DataType": "ManifestFile", "S3Uri": "s3://b/manifest"}
    inputs = [{"S3Input": {"S3Uri": "s3://b/data"}}, {"S3Input": s3}, {"DatasetDefinition": {}}]
    content_attributes(StepType.PROCESSING, {"ProcessingInputs": inputs}, contents)
    transform = {"TransformInput": {"DataSource": {"S3DataSource": {"S3Uri": "s3://b/rows"}}}}
    content_attributes(StepType.TRANSFORM, transform, contents)
    assert asked == [("s3://b/data", False), ("s3://b/manifest", True), ("s3://b/rows", False)]


def test_where_a_job_has_put_something() -> None:
    outputs = [{"OutputName": "a", "S3Output": {"S3Uri": "s3://b/a"}}, {"OutputName": "store"}]
    processing = {"ProcessingOutputConfig": {"Outputs": outputs}}
    assert list(output_uris(StepType.PROCESSING, processing)) == ["s3://b/a"]
    assert list(output_uris(StepType.PROCESSING, {})) == []
    training = {"ModelArtifacts": {"S3ModelArtifacts": "s3://b/model.tar.gz"}}
    assert list(output_uris(StepType.TRAINING, training)) == ["s3://b/model.tar.gz"]
    transform = {"TransformOutput": {"S3OutputPath": "s3://b/out"}}
    assert list(output_uris(StepType.TRANSFORM, transform)) == ["s3://b/out"]
