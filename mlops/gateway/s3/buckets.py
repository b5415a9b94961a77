"""Operations on buckets, and the settings that are kept with them and given back.

Most settings have no effect here: nothing expires, replicates or notifies locally. They are kept
so that what sets and reads them (a template, a tool, the SDK) works as it does in the cloud.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias
from xml.etree import ElementTree as ET

from mlops.errors import ServiceError
from mlops.gateway.s3.answers import (
    NAMESPACE,
    Nodes,
    Response,
    owner,
    xml_response,
)
from mlops.gateway.s3.attributes import checked_tags, no_content
from mlops.gateway.s3.bodies import read_all
from mlops.gateway.s3.objects import accept_private_acl, owner_has_all, tag_pairs
from mlops.gateway.s3.request import S3Request, malformed_xml, text_of
from mlops.json_text import parse_json
from mlops.stores.objects.store import VERSIONING, FileObjectStore

Handler: TypeAlias = Callable[[FileObjectStore, S3Request], Response]

DEFAULT_REGION = "us-east-1"
_LOCATION = "location"
_MAX_POLICY_BYTES = 20 << 10  # documentation "Bucket policies and user policies"
_MAX_BUCKET_TAGS = 50


def list_buckets(store: FileObjectStore, request: S3Request) -> Response:
    prefix = request.query.get("prefix", "")
    limit = request.number("max-buckets", 10_000, lowest=1, highest=10_000)
    after = request.query.get("continuation-token", "")
    found = [
        (name, created)
        for name, created in store.list_buckets()
        if name.startswith(prefix) and name > after
    ]
    rows: Nodes = [
        ("Bucket", [("Name", name), ("CreationDate", created)]) for name, created in found[:limit]
    ]
    token = found[limit - 1][0] if len(found) > limit else None
    nodes: Nodes = [owner(), ("Buckets", rows), ("ContinuationToken", token)]
    return xml_response("ListAllMyBucketsResult", nodes)


def create_bucket(store: FileObjectStore, request: S3Request) -> Response:
    bucket = request.in_bucket()
    location = _asked_location(request)
    if store.has_bucket(bucket):
        if _location(store, bucket) != DEFAULT_REGION:  # where S3 answers 200
            raise ServiceError(
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own"
                " it.",
                status=409,
            )
        return Response(200, {"Location": f"/{bucket}"})
    if request.headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true":
        raise ServiceError("NotImplemented", "Object Lock is not implemented.", status=501)
    store.create_bucket(bucket)
    if location:
        store.put_setting(bucket, _LOCATION, location)
    return Response(200, {"Location": f"/{bucket}"})


def _asked_location(request: S3Request) -> str | None:
    document = request.optional_xml("CreateBucketConfiguration")
    if document is None:
        return None
    return (text_of(document, "LocationConstraint") or "").strip() or None


def _location(store: FileObjectStore, bucket: str) -> str:
    return store.get_setting(bucket, _LOCATION) or DEFAULT_REGION


def head_bucket(store: FileObjectStore, request: S3Request) -> Response:
    region = _location(store, request.in_bucket())
    return Response(200, {"x-amz-bucket-region": region, "Content-Type": "application/xml"})


def delete_bucket(store: FileObjectStore, request: S3Request) -> Response:
    store.delete_bucket(request.in_bucket())
    return no_content()


def get_bucket_location(store: FileObjectStore, request: S3Request) -> Response:
    region = _location(store, request.in_bucket())
    text = "" if region == DEFAULT_REGION else region
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<LocationConstraint xmlns="{NAMESPACE}">'
    return Response(
        200,
        {"Content-Type": "application/xml"},
        f"{body}{text}</LocationConstraint>".encode(),
    )


def get_bucket_versioning(store: FileObjectStore, request: S3Request) -> Response:
    store.require_bucket(request.in_bucket())
    status = store.versioning(request.in_bucket())
    return xml_response("VersioningConfiguration", [("Status", status)])


def put_bucket_versioning(store: FileObjectStore, request: S3Request) -> Response:
    document = request.xml("VersioningConfiguration")
    status = text_of(document, "Status")
    if (text_of(document, "MfaDelete") or "Disabled") != "Disabled":
        raise ServiceError("NotImplemented", "MFA delete is not implemented.", status=501)
    if status not in ("Enabled", "Suspended"):
        raise ServiceError(
            "IllegalVersioningConfigurationException",
            "The Versioning element must be specified",
        )
    store.put_setting(request.in_bucket(), VERSIONING, status)
    return Response(200)


def get_bucket_acl(store: FileObjectStore, request: S3Request) -> Response:
    store.require_bucket(request.in_bucket())
    return owner_has_all()


def put_bucket_acl(store: FileObjectStore, request: S3Request) -> Response:
    store.require_bucket(request.in_bucket())
    return accept_private_acl(request)


# --- Policy: the one setting in JSON ---


def put_bucket_policy(store: FileObjectStore, request: S3Request) -> Response:
    store.require_bucket(request.in_bucket())
    try:
        text = read_all(request.body, _MAX_POLICY_BYTES).decode()
        policy = parse_json(text)
    except ValueError as error:  # no UTF-8, no JSON
        raise _malformed_policy("This policy contains invalid Json") from error
    if not isinstance(policy, dict) or "Statement" not in policy:
        raise _malformed_policy("Missing required field Statement")
    store.put_setting(request.in_bucket(), "policy", text)
    return no_content()


def _malformed_policy(message: str) -> ServiceError:
    return ServiceError("MalformedPolicy", message)


def get_bucket_policy(store: FileObjectStore, request: S3Request) -> Response:
    text = store.get_setting(request.in_bucket(), "policy")
    if text is None:
        raise ServiceError("NoSuchBucketPolicy", "The bucket policy does not exist", status=404)
    return Response(200, {"Content-Type": "application/json"}, text.encode())


def get_bucket_policy_status(store: FileObjectStore, request: S3Request) -> Response:
    get_bucket_policy(store, request)
    return xml_response("PolicyStatus", [("IsPublic", False)])


def delete_bucket_policy(store: FileObjectStore, request: S3Request) -> Response:
    store.delete_setting(request.in_bucket(), "policy")
    return no_content()


# --- Settings in XML ---


@dataclass(frozen=True, slots=True)
class Setting:
    """An XML document that is kept as it is. ``default`` is answered where there is none."""

    subresource: str
    operation: str
    root: str
    missing: str = ""
    """The error code where nothing was set and there is no default."""
    default: str | None = None
    put_status: int = 200
    can_delete: bool = True

    def put(self, store: FileObjectStore, request: S3Request) -> Response:
        document = request.xml(self.root)
        if not len(document) and self.default is None:
            raise malformed_xml()
        if self.subresource == "tagging":
            checked_tags(tag_pairs(document), limit=_MAX_BUCKET_TAGS)
        document.set("xmlns", NAMESPACE)
        text = ET.tostring(document, encoding="unicode")
        store.put_setting(request.in_bucket(), self.subresource, text)
        return Response(self.put_status)

    def get(self, store: FileObjectStore, request: S3Request) -> Response:
        text = store.get_setting(request.in_bucket(), self.subresource) or self.default
        if text is None:
            raise ServiceError(self.missing, f"There is no {self.subresource} here", status=404)
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'
        return Response(200, {"Content-Type": "application/xml"}, body.encode())

    def delete(self, store: FileObjectStore, request: S3Request) -> Response:
        store.delete_setting(request.in_bucket(), self.subresource)
        return no_content()


def _empty(root: str) -> str:
    return f'<{root} xmlns="{NAMESPACE}"/>'


_SSE_S3 = (  # what S3 sets for every new bucket since January 2023
    f'<ServerSideEncryptionConfiguration xmlns="{NAMESPACE}"><Rule>'
    "<ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>"
    "</ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled>"
    "</Rule></ServerSideEncryptionConfiguration>"
)

SETTINGS = (
    Setting("cors", "BucketCors", "CORSConfiguration", "NoSuchCORSConfiguration"),
    Setting(
        "encryption",
        "BucketEncryption",
        "ServerSideEncryptionConfiguration",
        default=_SSE_S3,
    ),
    Setting(
        "lifecycle",
        "BucketLifecycleConfiguration",
        "LifecycleConfiguration",
        "NoSuchLifecycleConfiguration",
    ),
    Setting(
        "notification",
        "BucketNotificationConfiguration",
        "NotificationConfiguration",
        default=_empty("NotificationConfiguration"),
        can_delete=False,
    ),
    Setting(
        "ownershipControls",
        "BucketOwnershipControls",
        "OwnershipControls",
        "OwnershipControlsNotFoundError",
    ),
    Setting(
        "publicAccessBlock",
        "PublicAccessBlock",
        "PublicAccessBlockConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
    ),
    Setting("tagging", "BucketTagging", "Tagging", "NoSuchTagSet", put_status=204),
)

# What S3 answers for a bucket on which nobody set these; setting them is not implemented.
READ_ONLY_SETTINGS = (
    Setting(
        "accelerate",
        "BucketAccelerateConfiguration",
        "AccelerateConfiguration",
        default=_empty("AccelerateConfiguration"),
    ),
    Setting(
        "logging", "BucketLogging", "BucketLoggingStatus", default=_empty("BucketLoggingStatus")
    ),
    Setting(
        "object-lock",
        "ObjectLockConfiguration",
        "ObjectLockConfiguration",
        "ObjectLockConfigurationNotFoundError",
    ),
    Setting(
        "replication",
        "BucketReplication",
        "ReplicationConfiguration",
        "ReplicationConfigurationNotFoundError",
    ),
    Setting(
        "requestPayment",
        "BucketRequestPayment",
        "RequestPaymentConfiguration",
        default=f'<RequestPaymentConfiguration xmlns="{NAMESPACE}"><Payer>BucketOwner</Payer>'
        "</RequestPaymentConfiguration>",
    ),
    Setting("website", "BucketWebsite", "WebsiteConfiguration", "NoSuchWebsiteConfiguration"),
)
