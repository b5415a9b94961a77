"""Buckets and their settings, by boto3."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

BUCKET = "bucket"
POLICY = json.dumps({"Version": "2012-10-17", "Statement": []})

SETTINGS: list[tuple[str, dict[str, Any], str]] = [
    ("bucket_policy", {"Policy": POLICY}, "NoSuchBucketPolicy"),
    ("bucket_tagging", {"Tagging": {"TagSet": [{"Key": "a", "Value": "é"}]}}, "NoSuchTagSet"),
    (
        "bucket_cors",
        {
            "CORSConfiguration": {
                "CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]
            }
        },
        "NoSuchCORSConfiguration",
    ),
    (
        "bucket_lifecycle_configuration",
        {
            "LifecycleConfiguration": {
                "Rules": [
                    {
                        "ID": "r",
                        "Filter": {"Prefix": "tmp/"},
                        "Status": "Enabled",
                        "Expiration": {"Days": 1},
                    }
                ]
            }
        },
        "NoSuchLifecycleConfiguration",
    ),
    (
        "public_access_block",
        {"PublicAccessBlockConfiguration": {"BlockPublicAcls": True}},
        "NoSuchPublicAccessBlockConfiguration",
    ),
    (
        "bucket_ownership_controls",
        {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}},
        "OwnershipControlsNotFoundError",
    ),
]
_DELETES = {"bucket_lifecycle_configuration": "bucket_lifecycle"}


def code_of(call: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as refused:
        call()
    response = refused.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_a_buckets_life(s3: Any) -> None:
    s3.create_bucket(Bucket="mine")
    s3.create_bucket(Bucket="mine")
    names = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert names == [BUCKET, "mine"]
    head = s3.head_bucket(Bucket="mine")
    assert head["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket="mine")["LocationConstraint"] is None
    s3.put_object(Bucket="mine", Key="k", Body=b"")
    assert code_of(lambda: s3.delete_bucket(Bucket="mine")) == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket="mine", Key="k")
    s3.delete_bucket(Bucket="mine")
    assert code_of(lambda: s3.head_bucket(Bucket="mine")) == ("404", 404)
    assert code_of(lambda: s3.delete_bucket(Bucket="mine")) == ("NoSuchBucket", 404)


def test_a_bucket_of_another_region(server: Any) -> None:
    s3 = server.client()
    where = {"LocationConstraint": "eu-central-1"}
    s3.create_bucket(Bucket="there", CreateBucketConfiguration=where)
    assert s3.get_bucket_location(Bucket="there")["LocationConstraint"] == "eu-central-1"
    assert s3.head_bucket(Bucket="there")["BucketRegion"] == "eu-central-1"
    again = code_of(lambda: s3.create_bucket(Bucket="there", CreateBucketConfiguration=where))
    assert again == ("BucketAlreadyOwnedByYou", 409)


@pytest.mark.parametrize(("name", "value", "missing"), SETTINGS)
def test_settings_are_kept_given_back_and_deleted(
    s3: Any, name: str, value: dict[str, Any], missing: str
) -> None:
    get = getattr(s3, f"get_{name}")
    assert code_of(lambda: get(Bucket=BUCKET)) == (missing, 404)
    getattr(s3, f"put_{name}")(Bucket=BUCKET, **value)
    answer = get(Bucket=BUCKET)
    ((key, given),) = value.items()
    if key in answer:
        assert answer[key] == given
    else:  # botocore gives some documents' members without their root
        assert {name: answer[name] for name in given} == given
    getattr(s3, f"delete_{_DELETES.get(name, name)}")(Bucket=BUCKET)
    assert code_of(lambda: get(Bucket=BUCKET)) == (missing, 404)
    assert code_of(lambda: get(Bucket="missing")) == ("NoSuchBucket", 404)


def test_settings_with_defaults(s3: Any) -> None:
    (rule,) = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert "EventBridgeConfiguration" not in s3.get_bucket_notification_configuration(Bucket=BUCKET)
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    assert "EventBridgeConfiguration" in s3.get_bucket_notification_configuration(Bucket=BUCKET)
    assert "Status" not in s3.get_bucket_versioning(Bucket=BUCKET)
    assert s3.get_bucket_request_payment(Bucket=BUCKET)["Payer"] == "BucketOwner"
    assert s3.get_bucket_acl(Bucket=BUCKET)["Grants"][0]["Permission"] == "FULL_CONTROL"


def test_settings_go_with_their_bucket(s3: Any) -> None:
    s3.put_bucket_policy(Bucket=BUCKET, Policy=POLICY)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.delete_bucket(Bucket=BUCKET)
    s3.create_bucket(Bucket=BUCKET)
    assert code_of(lambda: s3.get_bucket_policy(Bucket=BUCKET))[0] == "NoSuchBucketPolicy"
    assert "Status" not in s3.get_bucket_versioning(Bucket=BUCKET)


def test_what_is_not_supported_says_its_name(s3: Any) -> None:
    calls = {
        "PutBucketReplication": lambda: s3.put_bucket_replication(
            Bucket=BUCKET, ReplicationConfiguration={"Role": "r", "Rules": []}
        ),
        "PutBucketWebsite": lambda: s3.put_bucket_website(Bucket=BUCKET, WebsiteConfiguration={}),
        "RestoreObject": lambda: s3.restore_object(Bucket=BUCKET, Key="k", RestoreRequest={}),
        "GetObjectRetention": lambda: s3.get_object_retention(Bucket=BUCKET, Key="k"),
        "GetBucketInventoryConfiguration": lambda: s3.get_bucket_inventory_configuration(
            Bucket=BUCKET, Id="i"
        ),
    }
    for name, call in calls.items():
        with pytest.raises(ClientError, match=f"{name} is not implemented") as refused:
            call()
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
