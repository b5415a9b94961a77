"""AWS::S3: Bucket and BucketPolicy.

CloudFormation nests and names a bucket's settings in its own way; each is one S3 operation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlops.ports import JsonObject
from mlops.services.cloudformation.schema import (
    BOOLEAN,
    DOCUMENT,
    INTEGER,
    STRING,
    TAGS,
    ListOf,
    Schema,
    Struct,
    enum,
)
from mlops.services.cloudformation.types.base import Aws, Made, ResourceType, changed, found

_ENCRYPTION = Struct(
    {
        "ServerSideEncryptionConfiguration": ListOf(
            Struct(
                {
                    "ServerSideEncryptionByDefault": Struct(
                        {
                            "SSEAlgorithm": enum("AES256", "aws:kms", "aws:kms:dsse"),
                            "KMSMasterKeyID": STRING,
                        },
                        ("SSEAlgorithm",),
                    ),
                    "BucketKeyEnabled": BOOLEAN,
                },
                names={"ServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault"},
            )
        )
    },
    ("ServerSideEncryptionConfiguration",),
    {"ServerSideEncryptionConfiguration": "Rules"},
)
_TRANSITION = Struct(
    {"StorageClass": STRING, "TransitionInDays": INTEGER, "TransitionDate": STRING},
    ("StorageClass",),
    {"TransitionInDays": "Days", "TransitionDate": "Date"},
)
_NONCURRENT = Struct(
    {"StorageClass": STRING, "TransitionInDays": INTEGER, "NewerNoncurrentVersions": INTEGER},
    ("StorageClass", "TransitionInDays"),
    {"TransitionInDays": "NoncurrentDays"},
)
_LIFECYCLE_RULE = Struct(
    {
        "Id": STRING,
        "Status": enum("Enabled", "Disabled"),
        "Prefix": STRING,
        "TagFilters": TAGS,
        "ObjectSizeGreaterThan": INTEGER,
        "ObjectSizeLessThan": INTEGER,
        "ExpirationInDays": INTEGER,
        "ExpirationDate": STRING,
        "ExpiredObjectDeleteMarker": BOOLEAN,
        "Transitions": ListOf(_TRANSITION),
        "NoncurrentVersionTransitions": ListOf(_NONCURRENT),
        "NoncurrentVersionExpiration": Struct(
            {"NoncurrentDays": INTEGER, "NewerNoncurrentVersions": INTEGER}, ("NoncurrentDays",)
        ),
        "AbortIncompleteMultipartUpload": Struct(
            {"DaysAfterInitiation": INTEGER}, ("DaysAfterInitiation",)
        ),
    },
    ("Status",),
    {"Id": "ID"},
)
_CORS = Struct(
    {
        "CorsRules": ListOf(
            Struct(
                {
                    "Id": STRING,
                    "AllowedHeaders": ListOf(STRING),
                    "AllowedMethods": ListOf(STRING),
                    "AllowedOrigins": ListOf(STRING),
                    "ExposedHeaders": ListOf(STRING),
                    "MaxAge": INTEGER,
                },
                ("AllowedMethods", "AllowedOrigins"),
                {"Id": "ID", "ExposedHeaders": "ExposeHeaders", "MaxAge": "MaxAgeSeconds"},
            )
        )
    },
    ("CorsRules",),
    {"CorsRules": "CORSRules"},
)


@dataclass(frozen=True, slots=True)
class _Setting:
    """A property that is one sub-resource of a bucket."""

    prop: str
    schema: Schema
    put: str
    member: str
    delete: str | None
    """None: it cannot be deleted; `cleared` is put instead."""
    cleared: Any = None
    convert: Callable[[Any], Any] = lambda value: value

    def set(self, aws: Aws, bucket: str, value: Any) -> None:
        sent = self.convert(self.schema.request(value))
        aws.call("s3", self.put, Bucket=bucket, **{self.member: sent})

    def clear(self, aws: Aws, bucket: str) -> None:
        if self.delete is not None:
            aws.call("s3", self.delete, Bucket=bucket)
        else:
            aws.call("s3", self.put, Bucket=bucket, **{self.member: self.cleared})


def _lifecycle(value: JsonObject) -> JsonObject:
    return {"Rules": [_lifecycle_rule(dict(rule)) for rule in value["Rules"]]}


def _lifecycle_rule(rule: JsonObject) -> JsonObject:
    """Flat properties of a rule to S3's Filter and Expiration."""
    expiration = {
        member: rule.pop(name)
        for name, member in (
            ("ExpirationInDays", "Days"),
            ("ExpirationDate", "Date"),
            ("ExpiredObjectDeleteMarker", "ExpiredObjectDeleteMarker"),
        )
        if name in rule
    }
    conditions: JsonObject = {
        name: rule.pop(name)
        for name in ("Prefix", "ObjectSizeGreaterThan", "ObjectSizeLessThan")
        if name in rule
    }
    tags = rule.pop("TagFilters", [])
    several = len(conditions) + len(tags) > 1
    if several:
        conditions = {"And": {**conditions, **({"Tags": tags} if tags else {})}}
    elif tags:
        conditions = {"Tag": tags[0]}
    return {
        **rule,
        "Filter": conditions or {"Prefix": ""},
        **({"Expiration": expiration} if expiration else {}),
    }


_SETTINGS = (
    _Setting(
        "BucketEncryption",
        _ENCRYPTION,
        "PutBucketEncryption",
        "ServerSideEncryptionConfiguration",
        "DeleteBucketEncryption",
    ),
    _Setting(
        "VersioningConfiguration",
        Struct({"Status": enum("Enabled", "Suspended")}, ("Status",)),
        "PutBucketVersioning",
        "VersioningConfiguration",
        None,
        {"Status": "Suspended"},
    ),
    _Setting(
        "PublicAccessBlockConfiguration",
        Struct(
            dict.fromkeys(
                (
                    "BlockPublicAcls",
                    "BlockPublicPolicy",
                    "IgnorePublicAcls",
                    "RestrictPublicBuckets",
                ),
                BOOLEAN,
            )
        ),
        "PutPublicAccessBlock",
        "PublicAccessBlockConfiguration",
        "DeletePublicAccessBlock",
    ),
    _Setting(
        "OwnershipControls",
        Struct({"Rules": ListOf(Struct({"ObjectOwnership": STRING}))}, ("Rules",)),
        "PutBucketOwnershipControls",
        "OwnershipControls",
        "DeleteBucketOwnershipControls",
    ),
    _Setting(
        "LifecycleConfiguration",
        Struct({"Rules": ListOf(_LIFECYCLE_RULE)}, ("Rules",)),
        "PutBucketLifecycleConfiguration",
        "LifecycleConfiguration",
        "DeleteBucketLifecycle",
        convert=_lifecycle,
    ),
    _Setting("CorsConfiguration", _CORS, "PutBucketCors", "CORSConfiguration", "DeleteBucketCors"),
    _Setting(
        "Tags",
        TAGS,
        "PutBucketTagging",
        "Tagging",
        "DeleteBucketTagging",
        convert=lambda tags: {"TagSet": tags},
    ),
)


class Bucket(ResourceType):
    """A bucket with objects in it is not deleted, as S3 has it."""

    type = "AWS::S3::Bucket"
    name_property = "BucketName"
    replacing = ("BucketName",)
    attributes = ("Arn", "DomainName", "RegionalDomainName", "DualStackDomainName")
    lower_case = True
    not_here = (
        "AccelerateConfiguration",
        "AnalyticsConfigurations",
        "IntelligentTieringConfigurations",
        "InventoryConfigurations",
        "LoggingConfiguration",
        "MetadataConfiguration",
        "MetadataTableConfiguration",
        "MetricsConfigurations",
        "NotificationConfiguration",
        "ObjectLockConfiguration",
        "ObjectLockEnabled",
        "ReplicationConfiguration",
        "WebsiteConfiguration",
    )

    def properties(self) -> Struct:
        settings = {setting.prop: setting.schema for setting in _SETTINGS}
        return Struct({"BucketName": STRING, "AccessControl": enum("Private"), **settings})

    def exists(self, aws: Aws, name: str) -> bool:
        return found(lambda: aws.call("s3", "HeadBucket", Bucket=name))

    def create(self, aws: Aws, name: str, properties: JsonObject, token: str) -> str:
        place: Any = {"CreateBucketConfiguration": {"LocationConstraint": aws.region}}
        aws.call("s3", "CreateBucket", Bucket=name, **({} if aws.region == "us-east-1" else place))
        return name

    def settle(self, aws: Aws, name: str, properties: JsonObject) -> None:
        for setting in _SETTINGS:
            if properties.get(setting.prop):
                setting.set(aws, name, properties[setting.prop])

    def update(self, aws: Aws, name: str, old: JsonObject, new: JsonObject) -> None:
        for setting in _SETTINGS:
            if setting.prop in old and not new.get(setting.prop):
                setting.clear(aws, name)
            elif new.get(setting.prop) and changed(setting.prop, old, new):
                setting.set(aws, name, new[setting.prop])

    def read(self, aws: Aws, name: str, properties: JsonObject) -> Made:
        return Made(
            name,
            {
                "Arn": f"arn:aws:s3:::{name}",
                "DomainName": f"{name}.s3.amazonaws.com",
                "RegionalDomainName": f"{name}.s3.{aws.region}.amazonaws.com",
                "DualStackDomainName": f"{name}.s3.dualstack.{aws.region}.amazonaws.com",
            },
        )

    def delete(self, aws: Aws, name: str, properties: JsonObject) -> None:
        aws.call("s3", "DeleteBucket", Bucket=name)


class BucketPolicy(ResourceType):
    type = "AWS::S3::BucketPolicy"
    name_property = "Bucket"
    replacing = ("Bucket",)
    tagged = False

    def properties(self) -> Struct:
        return Struct({"Bucket": STRING, "PolicyDocument": DOCUMENT}, ("Bucket", "PolicyDocument"))

    def exists(self, aws: Aws, name: str) -> bool:
        return found(lambda: aws.call("s3", "GetBucketPolicy", Bucket=name))

    def create(self, aws: Aws, name: str, properties: JsonObject, token: str) -> str:
        policy = DOCUMENT.request(properties["PolicyDocument"])
        aws.call("s3", "PutBucketPolicy", Bucket=name, Policy=policy)
        return name

    def update(self, aws: Aws, name: str, old: JsonObject, new: JsonObject) -> None:
        self.create(aws, name, new, "")

    def read(self, aws: Aws, name: str, properties: JsonObject) -> Made:
        return Made(name)

    def delete(self, aws: Aws, name: str, properties: JsonObject) -> None:
        aws.call("s3", "DeleteBucketPolicy", Bucket=name)
