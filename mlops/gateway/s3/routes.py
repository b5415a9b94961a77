"""Which operation a request asks for: by level, method and the query's subresource."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache

from mlops.aws_model import load_service
from mlops.errors import ServiceError
from mlops.gateway.s3 import buckets, listing, multipart, objects
from mlops.gateway.s3.answers import not_implemented
from mlops.gateway.s3.buckets import READ_ONLY_SETTINGS, SETTINGS, Handler
from mlops.gateway.s3.request import S3Request


class Level(StrEnum):
    SERVICE = "service"
    BUCKET = "bucket"
    OBJECT = "object"


_Route = tuple[Level, str, str]


def _settings_routes() -> dict[_Route, Handler]:
    routes: dict[_Route, Handler] = {}
    for setting in SETTINGS:
        routes[Level.BUCKET, "PUT", setting.subresource] = setting.put
        if setting.can_delete:
            routes[Level.BUCKET, "DELETE", setting.subresource] = setting.delete
    for setting in (*SETTINGS, *READ_ONLY_SETTINGS):
        routes[Level.BUCKET, "GET", setting.subresource] = setting.get
    return routes


ROUTES: dict[_Route, Handler] = {
    (Level.SERVICE, "GET", ""): buckets.list_buckets,
    (Level.BUCKET, "PUT", ""): buckets.create_bucket,
    (Level.BUCKET, "HEAD", ""): buckets.head_bucket,
    (Level.BUCKET, "DELETE", ""): buckets.delete_bucket,
    (Level.BUCKET, "GET", ""): listing.list_objects,
    (Level.BUCKET, "GET", "list-type"): listing.list_objects_v2,
    (Level.BUCKET, "GET", "versions"): listing.list_object_versions,
    (Level.BUCKET, "GET", "uploads"): multipart.list_multipart_uploads,
    (Level.BUCKET, "POST", "delete"): objects.delete_objects,
    (Level.BUCKET, "GET", "location"): buckets.get_bucket_location,
    (Level.BUCKET, "GET", "versioning"): buckets.get_bucket_versioning,
    (Level.BUCKET, "PUT", "versioning"): buckets.put_bucket_versioning,
    (Level.BUCKET, "GET", "acl"): buckets.get_bucket_acl,
    (Level.BUCKET, "PUT", "acl"): buckets.put_bucket_acl,
    (Level.BUCKET, "GET", "policy"): buckets.get_bucket_policy,
    (Level.BUCKET, "PUT", "policy"): buckets.put_bucket_policy,
    (Level.BUCKET, "DELETE", "policy"): buckets.delete_bucket_policy,
    (Level.BUCKET, "GET", "policyStatus"): buckets.get_bucket_policy_status,
    **_settings_routes(),
    (Level.OBJECT, "GET", ""): objects.get_object,
    (Level.OBJECT, "HEAD", ""): objects.head_object,
    (Level.OBJECT, "PUT", ""): objects.put_object,
    (Level.OBJECT, "DELETE", ""): objects.delete_object,
    (Level.OBJECT, "GET", "attributes"): objects.get_object_attributes,
    (Level.OBJECT, "GET", "tagging"): objects.get_object_tagging,
    (Level.OBJECT, "PUT", "tagging"): objects.put_object_tagging,
    (Level.OBJECT, "DELETE", "tagging"): objects.delete_object_tagging,
    (Level.OBJECT, "GET", "acl"): objects.get_object_acl,
    (Level.OBJECT, "PUT", "acl"): objects.put_object_acl,
    (Level.OBJECT, "POST", "uploads"): multipart.create_multipart_upload,
    (Level.OBJECT, "PUT", "uploadId"): multipart.upload_part,
    (Level.OBJECT, "GET", "uploadId"): multipart.list_parts,
    (Level.OBJECT, "POST", "uploadId"): multipart.complete_multipart_upload,
    (Level.OBJECT, "DELETE", "uploadId"): multipart.abort_multipart_upload,
}

_COPIES: dict[Handler, Handler] = {
    objects.put_object: objects.copy_object,
    multipart.upload_part: multipart.upload_part_copy,
}

# Query parameters that never name an operation. Anything else is looked up in botocore's model,
# which takes 40 ms to load: not for what clients send every day.
_PARAMETERS = frozenset(
    (
        "AWSAccessKeyId",
        "Expires",
        "Signature",
        "bucket-region",
        "continuation-token",
        "delimiter",
        "encoding-type",
        "fetch-owner",
        "key-marker",
        "list-type",
        "marker",
        "max-buckets",
        "max-keys",
        "max-parts",
        "max-uploads",
        "partNumber",
        "part-number-marker",
        "prefix",
        "start-after",
        "upload-id-marker",
        "version-id-marker",
        "versionId",
        "x-id",
    )
)
_PARAMETER_PREFIXES = ("x-amz-", "x-amzn-", "response-")


def handler_for(request: S3Request) -> Handler:
    """The handler of the request's operation.

    Raises:
        ServiceError: NotImplemented with the operation's name, or MethodNotAllowed.
    """
    level = level_of(request)
    for name in request.query:
        route = ROUTES.get((level, request.method, name))
        if route is not None and name:
            return _copying(route, request)
    _refuse_unknown(level, request)
    route = ROUTES.get((level, request.method, ""))
    if route is not None:
        return _copying(route, request)
    raise _unsupported(level, request.method, "")


def level_of(request: S3Request) -> Level:
    if request.bucket is None:
        return Level.SERVICE
    return Level.BUCKET if request.key is None else Level.OBJECT


def _copying(route: Handler, request: S3Request) -> Handler:
    is_copy = "x-amz-copy-source" in request.headers
    return _COPIES.get(route, route) if is_copy else route


def _refuse_unknown(level: Level, request: S3Request) -> None:
    for name in request.query:
        is_parameter = name in _PARAMETERS or name.lower().startswith(_PARAMETER_PREFIXES)
        if not is_parameter and any(sub == name for _, _, sub in _operations()):
            raise _unsupported(level, request.method, name)


def _unsupported(level: Level, method: str, subresource: str) -> ServiceError:
    operation = _operations().get((level, method, subresource))
    if operation is not None:
        return not_implemented(operation)
    if method == "POST" and level is Level.BUCKET and not subresource:
        return not_implemented("PostObject (uploads by an HTML form)")
    if method == "OPTIONS":
        return not_implemented("The CORS preflight request (OPTIONS)")
    return ServiceError(
        "MethodNotAllowed",
        "The specified method is not allowed against this resource.",
        status=405,
    )


@cache
def _operations() -> dict[_Route, str]:
    """Every operation of botocore's S3 model."""
    model = load_service("s3")
    found: dict[_Route, str] = {}
    for name in model.operation_names:
        http = model.operation_model(name).http
        path, _, query = str(http["requestUri"]).partition("?")
        level = Level.OBJECT if "{Key" in path else Level.BUCKET
        if "{" not in path:
            level = Level.SERVICE
        subresource = re.split("[=&]", query)[0]
        found.setdefault((level, str(http["method"]), subresource), name)
    return found
