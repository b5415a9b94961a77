"""The model registry: groups, their versions, and approval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mlops.errors import ServiceError
from mlops.ports import JsonObject, ModelPackageGroupRecord, ModelPackageRecord, StateStore
from mlops.services.arns import Arns, resource_name
from mlops.services.operation import Handler, Now
from mlops.services.paging import between, ordered, page
from mlops.services.tags import forget_tags, store_tags
from mlops.services.validation import invalid, missing, refuse_unsupported

_NOT_DESCRIBED = {"ClientToken", "Tags", "ModelApprovalStatus"}


class ModelPackageOperations:
    def __init__(self, state: StateStore, arns: Arns, now: Now) -> None:
        self._state = state
        self._arns = arns
        self._now = now

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "CreateModelPackageGroup": self.create_group,
            "DescribeModelPackageGroup": self.describe_group,
            "ListModelPackageGroups": self.list_groups,
            "DeleteModelPackageGroup": self.delete_group,
            "CreateModelPackage": self.create,
            "DescribeModelPackage": self.describe,
            "BatchDescribeModelPackage": self.describe_several,
            "UpdateModelPackage": self.update,
            "ListModelPackages": self.list_packages,
            "DeleteModelPackage": self.delete,
        }

    # --- groups ---

    def create_group(self, request: JsonObject) -> JsonObject:
        refuse_unsupported(
            request, {"ManagedConfiguration": "its storage is this machine's state folder"}
        )
        name = request["ModelPackageGroupName"]
        arn = self._arns.model_package_group(name)
        with self._state.transaction():
            if self._state.get_model_package_group(name) is not None:
                raise invalid(f"Model Package Group already exists: {arn}")
            self._put_group(name, request.get("ModelPackageGroupDescription"))
            store_tags(self._state, arn, request.get("Tags", []))
        return {"ModelPackageGroupArn": arn}

    def _put_group(self, name: str, description: str | None = None) -> None:
        self._state.put_model_package_group(
            ModelPackageGroupRecord(
                name=name,
                arn=self._arns.model_package_group(name),
                created_at=self._now(),
                description=description,
            )
        )

    def ensure_group(self, name_or_arn: str) -> None:
        """Make a group if it is not there, as a RegisterModel step does."""
        name = resource_name(name_or_arn)
        with self._state.transaction():
            if self._state.get_model_package_group(name) is None:
                self._put_group(name)

    def describe_group(self, request: JsonObject) -> JsonObject:
        group = self._group("DescribeModelPackageGroup", request["ModelPackageGroupName"])
        return self.group_description(group)

    def group_description(self, group: ModelPackageGroupRecord) -> JsonObject:
        return {**_group_summary(group), "CreatedBy": self._arns.user_context}

    def list_groups(self, request: JsonObject) -> JsonObject:
        part = request.get("NameContains", "")
        found = [
            group
            for group in self._state.list_model_package_groups()
            if part in group.name and _created_between(group.created_at, request)
        ]
        by: dict[str, Callable[[Any], Any]] = {"Name": lambda group: group.name}
        rows, token = page(ordered(found, request, by), request, lambda group: group.name)
        return {
            "ModelPackageGroupSummaryList": [_group_summary(row) for row in rows],
            "NextToken": token,
        }

    def delete_group(self, request: JsonObject) -> JsonObject:
        with self._state.transaction():
            group = self._group("DeleteModelPackageGroup", request["ModelPackageGroupName"])
            if self._state.list_model_packages(group.name):
                raise ServiceError(
                    "ConflictException",
                    f"Model Package Group {group.arn} is not empty: delete its versions first.",
                )
            self._state.delete_model_package_group(group.name)
            forget_tags(self._state, group.arn)
        return {}

    def _group(self, operation: str, name_or_arn: str) -> ModelPackageGroupRecord:
        name = resource_name(name_or_arn)
        group = self._state.get_model_package_group(name)
        if group is None:
            arn = self._arns.model_package_group(name)
            raise missing(operation, f"Model Package Group {arn} does not exist.")
        return group

    # --- packages ---

    def create(self, request: JsonObject) -> JsonObject:
        """CreateModelPackage: a new version in a group. The same ClientToken again adds none."""
        _check_create(request)
        now = self._now()
        with self._state.transaction():
            group = self._group("CreateModelPackage", request["ModelPackageGroupName"])
            existing = self._made_with(group.name, request.get("ClientToken"))
            stored = existing or self._state.add_model_package(
                ModelPackageRecord(
                    arn=self._arns.model_package(group.name, 0),
                    group_name=group.name,
                    version=0,
                    approval_status=request.get("ModelApprovalStatus", "PendingManualApproval"),
                    created_at=now,
                    last_modified_at=now,
                    request=request,
                )
            )
        return {"ModelPackageArn": stored.arn}

    def _made_with(self, group_name: str, token: str | None) -> ModelPackageRecord | None:
        packages = self._state.list_model_packages(group_name) if token else ()
        return next((row for row in packages if row.request.get("ClientToken") == token), None)

    def describe(self, request: JsonObject) -> JsonObject:
        package = self._package("DescribeModelPackage", request["ModelPackageName"])
        described = self.description(package)
        if request.get("IncludedData") == "MetadataOnly":
            # The documentation of IncludedData: everything but the model card's content.
            described.pop("ModelCard", None)
        return described

    def description(self, package: ModelPackageRecord) -> JsonObject:
        asked = {k: v for k, v in package.request.items() if k not in _NOT_DESCRIBED}
        return {
            **asked,
            **_package_summary(package),
            # Required by the output shape, though a version has only its group's name.
            "ModelPackageName": package.group_name,
            "ModelPackageStatusDetails": {"ValidationStatuses": []},
            "CertifyForMarketplace": package.request.get("CertifyForMarketplace", False),
            "ApprovalDescription": package.approval_description,
            "CreatedBy": self._arns.user_context,
            "LastModifiedTime": package.last_modified_at,
            "LastModifiedBy": self._arns.user_context,
        }

    def describe_several(self, request: JsonObject) -> JsonObject:
        """BatchDescribeModelPackage: by ARN, those that are there and those that are not."""
        found, missed = {}, {}
        for arn in dict.fromkeys(request["ModelPackageArnList"]):
            try:
                found[arn] = _listed(self._package("BatchDescribeModelPackage", arn))
            except ServiceError as error:
                missed[arn] = {"ErrorCode": error.code, "ErrorResponse": error.what}
        return {"ModelPackageSummaries": found, "BatchDescribeModelPackageErrorMap": missed}

    def update(self, request: JsonObject) -> JsonObject:
        """UpdateModelPackage: approval, description, metadata, specifications."""
        with self._state.transaction():
            old = self._package("UpdateModelPackage", request["ModelPackageArn"])
            changed = replace(
                old,
                approval_status=request.get("ModelApprovalStatus", old.approval_status),
                approval_description=request.get("ApprovalDescription", old.approval_description),
                request=_updated(old.request, request),
                last_modified_at=self._now(),
            )
            self._state.update_model_package(changed)
        return {"ModelPackageArn": old.arn}

    def list_packages(self, request: JsonObject) -> JsonObject:
        found = [row for row in self._candidates(request) if _wanted(row, request)]
        by: dict[str, Callable[[Any], Any]] = {"Name": lambda row: (row.group_name, row.version)}
        rows, token = page(ordered(found, request, by), request, lambda row: row.arn)
        return {
            "ModelPackageSummaryList": [
                {
                    **_package_summary(row),
                    "ModelPackageDescription": row.request.get("ModelPackageDescription"),
                    "ModelLifeCycle": row.request.get("ModelLifeCycle"),
                    "ModelPackageRegistrationType": row.request.get("ModelPackageRegistrationType"),
                }
                for row in rows
            ],
            "NextToken": token,
        }

    def _candidates(self, request: JsonObject) -> list[ModelPackageRecord]:
        group = request.get("ModelPackageGroupName")
        kind = request.get("ModelPackageType", "Versioned" if group else "Unversioned")
        if kind == "Unversioned":
            return []  # every package here is a version in a group
        if group is None:
            return list(self._state.list_model_packages())
        name = self._group("ListModelPackages", group).name
        return list(self._state.list_model_packages(name))

    def delete(self, request: JsonObject) -> JsonObject:
        with self._state.transaction():
            package = self._package("DeleteModelPackage", request["ModelPackageName"])
            self._state.delete_model_package(package.arn)
            forget_tags(self._state, package.arn)
        return {}

    def _package(self, operation: str, name_or_arn: str) -> ModelPackageRecord:
        arn = name_or_arn
        if not arn.startswith("arn:"):
            group_name, _, version = arn.partition("/")
            arn = self._arns.model_package(group_name, int(version or 0))
        package = self._state.get_model_package(arn)
        if package is None:
            # SDK v2, model_card.py, looks for these words.
            raise missing(operation, f"Could not find model package {arn}.")
        return package


def _check_create(request: JsonObject) -> None:
    if "ModelPackageGroupName" not in request:
        raise invalid(
            "The local registry keeps versioned model packages only: give ModelPackageGroupName"
        )
    if "ModelPackageName" in request:
        raise invalid("ModelPackageName is for unversioned model packages: leave it out")
    if "Tags" in request:
        # The documentation of CreateModelPackage's Tags.
        raise invalid("A model package in a group has the group's tags: tag the group instead")
    refuse_unsupported(
        request,
        {
            "ValidationSpecification": "no transform job validates the model here",
            "ManagedStorageType": "its storage is this machine's state folder",
        },
    )


def _updated(old: JsonObject, request: JsonObject) -> JsonObject:
    """The stored CreateModelPackage request after an UpdateModelPackage request."""
    new = dict(old)
    for name in (
        "InferenceSpecification",
        "SourceUri",
        "ModelCard",
        "ModelLifeCycle",
        "ModelPackageRegistrationType",
    ):
        if name in request:
            new[name] = request[name]
    removed = request.get("CustomerMetadataPropertiesToRemove", [])
    properties = {
        **old.get("CustomerMetadataProperties", {}),
        **request.get("CustomerMetadataProperties", {}),
    }
    if properties:
        new["CustomerMetadataProperties"] = {
            key: value for key, value in properties.items() if key not in removed
        }
    added = request.get("AdditionalInferenceSpecificationsToAdd", [])
    if added:
        new["AdditionalInferenceSpecifications"] = [
            *old.get("AdditionalInferenceSpecifications", []),
            *added,
        ]
    return new


def _created_between(at: Any, request: JsonObject) -> bool:
    return between(at, request.get("CreationTimeAfter"), request.get("CreationTimeBefore"))


def _wanted(package: ModelPackageRecord, request: JsonObject) -> bool:
    status = request.get("ModelApprovalStatus", package.approval_status)
    return (
        package.approval_status == status
        and request.get("NameContains", "") in package.group_name
        and _created_between(package.created_at, request)
    )


def _group_summary(group: ModelPackageGroupRecord) -> JsonObject:
    return {
        "ModelPackageGroupName": group.name,
        "ModelPackageGroupArn": group.arn,
        "ModelPackageGroupDescription": group.description,
        "CreationTime": group.created_at,
        "ModelPackageGroupStatus": "Completed",
    }


def _listed(package: ModelPackageRecord) -> JsonObject:
    """botocore's ``BatchDescribeModelPackageSummary``."""
    asked = ("InferenceSpecification", "ModelPackageDescription", "ModelPackageRegistrationType")
    return _package_summary(package) | {name: package.request.get(name) for name in asked}


def _package_summary(package: ModelPackageRecord) -> JsonObject:
    return {
        "ModelPackageGroupName": package.group_name,
        "ModelPackageVersion": package.version,
        "ModelPackageArn": package.arn,
        "CreationTime": package.created_at,
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": package.approval_status,
    }
