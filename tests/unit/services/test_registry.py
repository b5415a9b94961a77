"""Model package groups, packages, models, and what pipeline steps call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mlops.errors import ServiceError
from mlops.services import ServiceRegistry

Call = Callable[..., dict[str, Any]]
ARN = "arn:aws:sagemaker:us-east-1:000000000000"
CONTAINER = {
    "Image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/x:1",
    "ModelDataUrl": "s3://b/k",
}
SPECIFICATION = {
    "Containers": [CONTAINER],
    "SupportedContentTypes": ["text/csv"],
    "SupportedResponseMIMETypes": ["text/csv"],
}
METRICS = {
    "ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://b/e.json"}}
}


def refused(call: Call, operation: str, **request: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        call(operation, **request)
    return caught.value


@pytest.fixture
def group(call: Call) -> str:
    call("CreateModelPackageGroup", ModelPackageGroupName="Diamonds")
    return "Diamonds"


def add(call: Call, group: str = "Diamonds", **more: Any) -> str:
    request = {"ModelPackageGroupName": group, "InferenceSpecification": SPECIFICATION, **more}
    arn: str = call("CreateModelPackage", **request)["ModelPackageArn"]
    return arn


class TestGroups:
    def test_create_and_describe(self, call: Call) -> None:
        made = call(
            "CreateModelPackageGroup",
            ModelPackageGroupName="Diamonds",
            ModelPackageGroupDescription="prices · größer",
            Tags=[{"Key": "k", "Value": "v"}],
        )
        arn = f"{ARN}:model-package-group/Diamonds"
        assert made == {"ModelPackageGroupArn": arn}
        for name in ("Diamonds", arn):
            found = call("DescribeModelPackageGroup", ModelPackageGroupName=name)
            assert found["ModelPackageGroupStatus"] == "Completed"
            assert found["ModelPackageGroupDescription"] == "prices · größer"
            assert found["CreatedBy"]["IamIdentity"]["PrincipalId"] == "000000000000"
        assert call("ListTags", ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]

    def test_a_duplicate_is_refused_in_the_words_that_the_sdk_looks_for(
        self, call: Call, group: str
    ) -> None:
        error = refused(call, "CreateModelPackageGroup", ModelPackageGroupName=group)
        assert error.code == "ValidationException"
        assert "already exists" in str(error)

    def test_list(self, call: Call) -> None:
        for name in ("b", "a"):
            call("CreateModelPackageGroup", ModelPackageGroupName=name)
        listed = call("ListModelPackageGroups", SortBy="Name")["ModelPackageGroupSummaryList"]
        assert [row["ModelPackageGroupName"] for row in listed] == ["a", "b"]
        listed = call("ListModelPackageGroups", NameContains="b")["ModelPackageGroupSummaryList"]
        assert [row["ModelPackageGroupName"] for row in listed] == ["b"]

    def test_only_an_empty_group_is_deleted(self, call: Call, group: str) -> None:
        arn = add(call)
        error = refused(call, "DeleteModelPackageGroup", ModelPackageGroupName=group)
        assert error.code == "ConflictException"
        call("DeleteModelPackage", ModelPackageName=arn)
        call("DeleteModelPackageGroup", ModelPackageGroupName=group)
        error = refused(call, "DescribeModelPackageGroup", ModelPackageGroupName=group)
        assert (error.code, "does not exist" in str(error)) == ("ValidationException", True)


class TestPackages:
    def test_versions_count_up(self, call: Call, group: str) -> None:
        assert [add(call) for _ in range(2)] == [
            f"{ARN}:model-package/Diamonds/1",
            f"{ARN}:model-package/Diamonds/2",
        ]

    def test_describe_gives_back_what_was_registered(self, call: Call, group: str) -> None:
        arn = add(
            call,
            ModelApprovalStatus="Approved",
            ModelMetrics=METRICS,
            ModelPackageDescription="d",
            CustomerMetadataProperties={"k": "v"},
            ClientToken="token",
        )
        for name in (arn, "Diamonds/1"):
            found = call("DescribeModelPackage", ModelPackageName=name)
            assert found["ModelPackageVersion"] == 1
            assert found["ModelApprovalStatus"] == "Approved"
            assert found["ModelPackageStatus"] == "Completed"
            assert found["InferenceSpecification"] == SPECIFICATION
            assert found["ModelMetrics"] == METRICS
            assert found["CustomerMetadataProperties"] == {"k": "v"}
            assert "ClientToken" not in found
            assert "ApprovalDescription" not in found

    def test_a_version_waits_for_approval_unless_told_otherwise(
        self, call: Call, group: str
    ) -> None:
        found = call("DescribeModelPackage", ModelPackageName=add(call))
        assert found["ModelApprovalStatus"] == "PendingManualApproval"

    def test_approve(self, call: Call, group: str) -> None:
        arn = add(call)
        call(
            "UpdateModelPackage",
            ModelPackageArn=arn,
            ModelApprovalStatus="Approved",
            ApprovalDescription="good enough",
        )
        found = call("DescribeModelPackage", ModelPackageName=arn)
        assert found["ModelApprovalStatus"] == "Approved"
        assert found["ApprovalDescription"] == "good enough"
        assert found["LastModifiedTime"] > found["CreationTime"]

    def test_update_of_metadata_and_specifications(self, call: Call, group: str) -> None:
        arn = add(call, CustomerMetadataProperties={"a": "1", "b": "2"})
        more = {"Name": "other", "Containers": [CONTAINER]}
        call(
            "UpdateModelPackage",
            ModelPackageArn=arn,
            CustomerMetadataProperties={"c": "3"},
            CustomerMetadataPropertiesToRemove=["a"],
            AdditionalInferenceSpecificationsToAdd=[more],
            SourceUri="s3://b/k",
        )
        found = call("DescribeModelPackage", ModelPackageName=arn)
        assert found["CustomerMetadataProperties"] == {"b": "2", "c": "3"}
        assert found["AdditionalInferenceSpecifications"] == [more]
        assert found["SourceUri"] == "s3://b/k"
        assert found["ModelApprovalStatus"] == "PendingManualApproval"

    def test_list(self, call: Call, group: str) -> None:
        call("CreateModelPackageGroup", ModelPackageGroupName="Abalone")
        first, second = add(call), add(call, ModelApprovalStatus="Approved")
        other = add(call, "Abalone")

        def listed(**request: Any) -> list[str]:
            rows = call("ListModelPackages", **request)["ModelPackageSummaryList"]
            return [row["ModelPackageArn"] for row in rows]

        assert listed(ModelPackageGroupName=group) == [first, second]
        assert listed(ModelPackageGroupName=group, SortOrder="Descending") == [second, first]
        assert listed(ModelPackageGroupName=group, ModelApprovalStatus="Approved") == [second]
        assert listed(ModelPackageType="Versioned") == [first, second, other]
        assert listed() == []
        assert refused(call, "ListModelPackages", ModelPackageGroupName="None").code == (
            "ValidationException"
        )

    def test_the_same_client_token_adds_no_version(self, call: Call, group: str) -> None:
        assert add(call, ClientToken="a") == add(call, ClientToken="a")
        assert add(call, ClientToken="b").endswith("/2")

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"ModelPackageGroupName": "None"}, "does not exist"),
            ({"ModelApprovalStatus": "Maybe"}, "enum value set"),
            ({"InferenceSpecification": {"Containers": []}}, "inferenceSpecification.containers"),
            ({"Tags": [{"Key": "k", "Value": "v"}]}, "tag the group instead"),
            ({"ModelPackageName": "name"}, "unversioned"),
        ],
    )
    def test_a_wrong_request(
        self, call: Call, group: str, change: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(ServiceError, match=said) as caught:
            add(call, **{"group": group} | change) if "group" in change else add(call, **change)
        assert caught.value.code == "ValidationException"

    @pytest.mark.parametrize("name", ["Diamonds/9", "Diamonds", f"{ARN}:model-package/Diamonds/9"])
    def test_a_missing_package(self, call: Call, name: str) -> None:
        error = refused(call, "DescribeModelPackage", ModelPackageName=name)
        assert error.code == "ValidationException"
        assert str(error).startswith("Could not find model package")


class TestModels:
    def test_create_describe_list_delete(self, call: Call) -> None:
        request = {
            "ModelName": "m-1",
            "PrimaryContainer": CONTAINER,
            "ExecutionRoleArn": "arn:aws:iam::000000000000:role/r",
        }
        arn = f"{ARN}:model/m-1"
        assert call("CreateModel", **request, Tags=[{"Key": "k", "Value": "v"}]) == {
            "ModelArn": arn
        }
        found = call("DescribeModel", ModelName="m-1")
        assert found["PrimaryContainer"] == CONTAINER
        assert found["EnableNetworkIsolation"] is False
        assert "Tags" not in found
        assert [row["ModelName"] for row in call("ListModels")["Models"]] == ["m-1"]
        assert "Cannot create already existing model" in str(
            refused(call, "CreateModel", **request)
        )
        call("DeleteModel", ModelName="m-1")
        error = refused(call, "DescribeModel", ModelName="m-1")
        assert (error.code, str(error)) == (
            "ValidationException",
            f'Could not find model "{arn}".',
        )

    @pytest.mark.parametrize(
        "containers",
        [
            {},
            {"PrimaryContainer": {"ModelDataUrl": "s3://b/k"}},
            {"PrimaryContainer": CONTAINER, "Containers": [CONTAINER]},
        ],
    )
    def test_a_model_has_an_image(self, call: Call, containers: dict[str, Any]) -> None:
        error = refused(call, "CreateModel", ModelName="m-1", **containers)
        assert error.code == "ValidationException"


class TestSearch:
    def equals(self, name: str, value: str) -> dict[str, Any]:
        return {"Filters": [{"Name": name, "Operator": "Equals", "Value": value}]}

    def test_the_sdks_question_before_it_registers(self, call: Call, group: str) -> None:
        for name, hits in ((group, 1), ("Diamond", 0)):
            found = call(
                "Search",
                Resource="ModelPackageGroup",
                SearchExpression=self.equals("ModelPackageGroupName", name),
            )
            assert len(found["Results"]) == hits
        assert call("Search", Resource="ModelPackageGroup")["Results"][0]["ModelPackageGroup"][
            "ModelPackageGroupName"
        ] == (group)

    def test_filters(self, call: Call, group: str) -> None:
        add(call, ModelApprovalStatus="Approved")
        add(call, CustomerMetadataProperties={"stage": "dev"})

        def versions(*filters: tuple[str, str, str | None], **more: Any) -> list[int]:
            rules = [
                {"Name": name, "Operator": operator, **({"Value": value} if value else {})}
                for name, operator, value in filters
            ]
            found = call(
                "Search",
                Resource="ModelPackage",
                SortBy="ModelPackageVersion",
                SortOrder="Ascending",
                SearchExpression={"Filters": rules, **more},
            )
            return [row["ModelPackage"]["ModelPackageVersion"] for row in found["Results"]]

        assert versions(("ModelPackageVersion", "GreaterThanOrEqualTo", "2")) == [2]
        assert versions(("ModelApprovalStatus", "NotEquals", "Approved")) == [2]
        assert versions(("CustomerMetadataProperties.stage", "Equals", "dev")) == [2]
        assert versions(("CustomerMetadataProperties.stage", "NotExists", None)) == [1]
        assert versions(("ModelPackageGroupName", "Contains", "mond")) == [1, 2]
        either = (("ModelPackageVersion", "Equals", "1"), ("ModelPackageVersion", "In", "2,3"))
        assert versions(*either) == []
        assert versions(*either, Operator="Or") == [1, 2]

    def test_what_is_not_searched_is_said(self, call: Call) -> None:
        error = refused(call, "Search", Resource="FeatureGroup")
        assert (error.code, error.status) == ("NotImplemented", 501)


class TestTags:
    def test_add_list_delete(self, call: Call, group: str) -> None:
        arn = f"{ARN}:model-package-group/{group}"
        rows = [{"Key": f"k{number}", "Value": "v"} for number in range(3)]
        assert call("AddTags", ResourceArn=arn, Tags=rows)["Tags"] == rows
        call("DeleteTags", ResourceArn=arn, TagKeys=["k0", "none"])
        assert call("ListTags", ResourceArn=arn)["Tags"] == rows[1:]

    def test_fifty_at_most(self, call: Call, group: str) -> None:
        arn = f"{ARN}:model-package-group/{group}"
        rows = [{"Key": f"k{number}", "Value": "v"} for number in range(50)]
        call("AddTags", ResourceArn=arn, Tags=rows)
        error = refused(call, "AddTags", ResourceArn=arn, Tags=[{"Key": "one-more", "Value": "v"}])
        assert "50" in str(error)

    @pytest.mark.parametrize("kind", ["pipeline", "endpoint", "model-package"])
    def test_a_thing_that_is_not_there(self, call: Call, kind: str) -> None:
        error = refused(call, "ListTags", ResourceArn=f"{ARN}:{kind}/none")
        assert (error.code, "does not exist" in str(error)) == ("ValidationException", True)


class TestStepRegistry:
    """What RegisterModel and Model steps call."""

    def test_register_makes_the_group(self, registry: ServiceRegistry, call: Call) -> None:
        request = {
            "ModelPackageGroupName": "New",
            "InferenceSpecification": SPECIFICATION,
            "ModelApprovalStatus": "Approved",
        }
        described = registry.register(request)
        assert described["ModelPackageArn"] == f"{ARN}:model-package/New/1"
        assert described == call("DescribeModelPackage", ModelPackageName="New/1")
        assert registry.register(request)["ModelPackageVersion"] == 2

    def test_register_checks_the_request(self, registry: ServiceRegistry, call: Call) -> None:
        with pytest.raises(ServiceError, match="enum value set"):
            registry.register({"ModelPackageGroupName": "New", "ModelApprovalStatus": "x"})
        assert call("ListModelPackageGroups")["ModelPackageGroupSummaryList"] == []

    def test_create_model(self, registry: ServiceRegistry, call: Call) -> None:
        described = registry.create_model({"ModelName": "m", "PrimaryContainer": CONTAINER})
        assert described == call("DescribeModel", ModelName="m")
