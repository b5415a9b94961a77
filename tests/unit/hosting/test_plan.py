"""What an endpoint configuration comes to, and how a plan is kept and changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from mlops.errors import ServiceError
from mlops.hosting.plan import (
    Catalogue,
    DeploymentPlan,
    ModelData,
    ServerlessPlan,
    plan_deployment,
    with_desired,
    with_retained,
)
from mlops.ports import JsonObject, ModelPackageRecord, ModelRecord

from .conftest import plan, variant

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def catalogue(
    container: JsonObject, package: JsonObject | None = None, *more: JsonObject
) -> Catalogue:
    """Every model has these containers; there is one package, "arn"."""
    request = {"Containers": [container, *more]}
    record = ModelPackageRecord(
        arn="arn",
        group_name="g",
        version=1,
        approval_status="Approved",
        created_at=NOW,
        last_modified_at=NOW,
        request={"InferenceSpecification": {"Containers": [package or {}]}},
    )
    return Catalogue(
        lambda name: (
            None
            if name == "none"
            else ModelRecord(name=name, arn=name, created_at=NOW, request=request)
        ),
        lambda name: record if name == "arn" and package is not None else None,
        lambda name: f"model/{name}",
    )


def config(**variant: Any) -> JsonObject:
    return {
        "EndpointConfigName": "c",
        "ProductionVariants": [
            {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", **variant}
        ],
    }


def test_what_a_variant_is_by_default() -> None:
    (made,) = plan_deployment(config(), catalogue({"Image": "i"})).variants
    assert (made.image, made.environment, made.data) == ("i", {}, None)
    assert (made.weight, made.count, made.startup_seconds) == (1.0, 1, 480)
    assert made.memory_megabytes is None


def test_a_package_gives_what_the_container_does_not_say() -> None:
    package = {
        "Image": "packaged",
        "ModelDataUrl": "s3://b/m.tar.gz",
        "Environment": {"A": "package", "B": "package"},
    }
    container = {"ModelPackageName": "arn", "Environment": {"B": "model"}}
    (made,) = plan_deployment(config(), catalogue(container, package)).variants
    assert made.image == "packaged"
    assert made.data == ModelData("s3://b/m.tar.gz", "archive")
    assert made.environment == {"A": "package", "B": "model"}
    with pytest.raises(ServiceError, match="Could not find model package arn"):
        plan_deployment(config(), catalogue(container))


@pytest.mark.parametrize(
    ("kind", "compression", "expected"),
    [
        ("S3Object", "Gzip", "archive"),
        ("S3Object", "None", "object"),
        ("S3Prefix", "None", "prefix"),
    ],
)
def test_model_data_sources(kind: str, compression: str, expected: str) -> None:
    source = {"S3Uri": "s3://b/m", "S3DataType": kind, "CompressionType": compression}
    container = {"Image": "i", "ModelDataSource": {"S3DataSource": source}}
    (made,) = plan_deployment(config(), catalogue(container)).variants
    assert made.data == ModelData("s3://b/m", expected)


@pytest.mark.parametrize(
    ("container", "said"),
    [
        (
            {
                "ModelDataSource": {
                    "S3DataSource": {
                        "S3Uri": "s3://b/m",
                        "S3DataType": "S3Prefix",
                        "CompressionType": "Gzip",
                    }
                }
            },
            "gzipped data behind a prefix",
        ),
        (
            {
                "ModelDataSource": {
                    "S3DataSource": {
                        "S3Uri": "s3://b/m",
                        "S3DataType": "S3Object",
                        "CompressionType": "None",
                        "ManifestS3Uri": "s3://b/x",
                    }
                }
            },
            "ManifestS3Uri",
        ),
        ({"AdditionalModelDataSources": [{}]}, "AdditionalModelDataSources"),
    ],
)
def test_data_that_cannot_be_had(container: JsonObject, said: str) -> None:
    with pytest.raises(ServiceError, match=said):
        plan_deployment(config(), catalogue({"Image": "i", **container}))


def test_a_missing_model_is_named() -> None:
    with pytest.raises(ServiceError, match='Could not find model "model/none"'):
        plan_deployment(config(ModelName="none"), catalogue({}))


def test_a_plan_comes_back_from_json_as_it_was() -> None:
    whole = plan(
        variant(
            "a",
            data=ModelData("s3://b/m", "archive"),
            serverless=ServerlessPlan(memory_megabytes=1024, maximum_concurrency=5),
            routing={"RoutingStrategy": "RANDOM"},
        ),
        variant("b", weight=0.5, count=3, instance_type="ml.m5.large"),
    )
    assert DeploymentPlan.read(json.loads(json.dumps(whole.document()))) == whole


def test_an_update_may_keep_weights_and_counts() -> None:
    before = plan(variant("a", weight=3.0, count=2), variant("gone"))
    after = plan(variant("a", weight=1.0, count=5, image="new"), variant("b", weight=7.0))
    kept, new = with_retained(after, before, []).variants
    assert (kept.weight, kept.count, kept.image) == (3.0, 2, "new")
    assert new == after.variants[1]
    (kept, _) = with_retained(after, before, ["DesiredInstanceCount"]).variants
    assert (kept.weight, kept.count) == (3.0, 5)


def test_weights_and_capacities_are_changed_by_name() -> None:
    serverless = ServerlessPlan(memory_megabytes=1024, maximum_concurrency=5)
    before = plan(variant("a"), variant("s", serverless=serverless))
    after = with_desired(
        before,
        [
            {"VariantName": "a", "DesiredWeight": 0.5, "DesiredInstanceCount": 2},
            {"VariantName": "s", "ServerlessUpdateConfig": {"MaxConcurrency": 9}},
        ],
    )
    a, s = after.variants
    assert (a.weight, a.count) == (0.5, 2)
    assert s.serverless is not None
    assert s.serverless.maximum_concurrency == 9
    for desired, said in (
        ({"VariantName": "s", "DesiredInstanceCount": 2}, "has no instance count"),
        ({"VariantName": "a", "ServerlessUpdateConfig": {"MaxConcurrency": 1}}, "not serverless"),
        ({"VariantName": "x", "DesiredWeight": 1}, 'Variant "x" is not in the endpoint'),
    ):
        with pytest.raises(ServiceError, match=said):
            with_desired(before, [desired])
