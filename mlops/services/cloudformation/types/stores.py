"""AWS::SSM::Parameter and AWS::ECR::Repository."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlops.ports import JsonObject
from mlops.services.cloudformation.schema import (
    BOOLEAN,
    DOCUMENT,
    STRING,
    MapOf,
    Struct,
    enum,
    of_operation,
)
from mlops.services.cloudformation.types.base import ApiType, Aws, Made, changed, tag_changes


class Parameter(ApiType):
    """A parameter of the parameter store; SecureString is not for templates (its reference)."""

    type = "AWS::SSM::Parameter"
    service = "ssm"
    operations = ("PutParameter", "GetParameter", "DeleteParameter")
    member = name_property = "Name"
    replacing = ("Name",)
    attributes = ("Type", "Value")
    longest_name = 1011

    def properties(self) -> Struct:
        return of_operation(
            "ssm",
            "PutParameter",
            without=("KeyId", "Overwrite"),
            more={"Type": enum("String", "StringList"), "Tags": MapOf(STRING)},
            required=("Type", "Value"),
        )()

    def tags(self, properties: JsonObject, tags: Mapping[str, str]) -> JsonObject:
        own = properties.get("Tags") or {}
        return (
            {**properties, "Tags": {**tags, **own}}
            if tags and isinstance(own, dict)
            else (properties)
        )

    def request(self, properties: JsonObject) -> JsonObject:
        made = super().request(properties)
        if "Tags" in made:
            made["Tags"] = _as_list(made["Tags"])
        return made

    def read(self, aws: Aws, name: str, properties: JsonObject) -> Made:
        return Made(name, {"Type": properties["Type"], "Value": properties["Value"]})

    def update(self, aws: Aws, name: str, old: JsonObject, new: JsonObject) -> None:
        request = {k: v for k, v in self.request(new).items() if k != "Tags"}
        aws.call("ssm", "PutParameter", **{**request, "Name": name}, Overwrite=True)
        added, gone = tag_changes(
            *({"Tags": _as_list(each.get("Tags") or {})} for each in (old, new))
        )
        of: Any = {"ResourceType": "Parameter", "ResourceId": name}
        if gone:
            aws.call("ssm", "RemoveTagsFromResource", **of, TagKeys=gone)
        if added:
            aws.call("ssm", "AddTagsToResource", **of, Tags=added)


def _as_list(tags: Mapping[str, str]) -> list[JsonObject]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


class Repository(ApiType):
    """A repository with images in it is deleted where EmptyOnDelete says so."""

    type = "AWS::ECR::Repository"
    service = "ecr"
    operations = ("CreateRepository", "DescribeRepositories", "DeleteRepository")
    member = "repositoryName"
    name_property = "RepositoryName"
    replacing = ("RepositoryName", "EncryptionConfiguration")
    attributes = ("Arn", "RepositoryUri")
    longest_name = 256
    lower_case = True
    not_here = ("ImageTagMutabilityExclusionFilters",)
    not_sent = ("LifecyclePolicy", "RepositoryPolicyText", "EmptyOnDelete", "RepositoryName")

    def properties(self) -> Struct:
        return of_operation(
            "ecr",
            "CreateRepository",
            without=("RegistryId", "ImageTagMutabilityExclusionFilters"),
            more={
                "LifecyclePolicy": Struct({"LifecyclePolicyText": STRING, "RegistryId": STRING}),
                "RepositoryPolicyText": DOCUMENT,
                "EmptyOnDelete": BOOLEAN,
            },
            required=(),
            capitals=True,
        )()

    def describe(self, aws: Aws, name: str) -> JsonObject:
        answer = aws.call("ecr", "DescribeRepositories", repositoryNames=[name])
        described: JsonObject = answer["repositories"][0]
        return described

    def settle(self, aws: Aws, name: str, properties: JsonObject) -> None:
        lifecycle = (properties.get("LifecyclePolicy") or {}).get("LifecyclePolicyText")
        if lifecycle is not None:
            aws.call(
                "ecr", "PutLifecyclePolicy", repositoryName=name, lifecyclePolicyText=lifecycle
            )
        policy = properties.get("RepositoryPolicyText")
        if policy is not None:
            text = DOCUMENT.request(policy)
            aws.call("ecr", "SetRepositoryPolicy", repositoryName=name, policyText=text)

    def read(self, aws: Aws, name: str, properties: JsonObject) -> Made:
        found = self.describe(aws, name)
        return Made(name, {"Arn": found["repositoryArn"], "RepositoryUri": found["repositoryUri"]})

    def update(self, aws: Aws, name: str, old: JsonObject, new: JsonObject) -> None:
        wanted = self.request(new)
        if changed("ImageTagMutability", old, new):
            aws.call(
                "ecr",
                "PutImageTagMutability",
                repositoryName=name,
                imageTagMutability=wanted.get("imageTagMutability", "MUTABLE"),
            )
        if changed("ImageScanningConfiguration", old, new):
            aws.call(
                "ecr",
                "PutImageScanningConfiguration",
                repositoryName=name,
                imageScanningConfiguration=wanted.get(
                    "imageScanningConfiguration", {"scanOnPush": False}
                ),
            )
        if "LifecyclePolicy" in old and "LifecyclePolicy" not in new:
            aws.call("ecr", "DeleteLifecyclePolicy", repositoryName=name)
        if "RepositoryPolicyText" in old and "RepositoryPolicyText" not in new:
            aws.call("ecr", "DeleteRepositoryPolicy", repositoryName=name)
        self.settle(aws, name, new)
        added, gone = tag_changes(old, new)
        arn = self.describe(aws, name)["repositoryArn"]
        if gone:
            aws.call("ecr", "UntagResource", resourceArn=arn, tagKeys=gone)
        if added:
            aws.call("ecr", "TagResource", resourceArn=arn, tags=added)

    def delete(self, aws: Aws, name: str, properties: JsonObject) -> None:
        force = bool(properties.get("EmptyOnDelete"))
        aws.call("ecr", "DeleteRepository", repositoryName=name, force=force)
