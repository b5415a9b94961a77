"""Headers to `Attributes` and back: what S3 keeps with an object."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import parse_qsl

from mlops.errors import ServiceError
from mlops.gateway.s3.answers import Response, http_moment, not_implemented, quoted
from mlops.gateway.s3.checksums import PREFIX
from mlops.gateway.s3.request import S3Request
from mlops.stores.objects.model import DEFAULT_CONTENT_TYPE, Attributes, StoredObject

_META = "x-amz-meta-"
_MAX_METADATA_BYTES = 2048  # documentation "Working with object metadata"
_MAX_TAGS, _MAX_TAG_KEY, _MAX_TAG_VALUE = 10, 128, 256  # documentation "Object tagging"

_KEPT_HEADERS = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
)
_STORAGE_CLASSES = (
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "GLACIER_IR",
    "EXPRESS_ONEZONE",
    "OUTPOSTS",
    "SNOW",
)
_OVERRIDES = (  # query parameters of GetObject and HeadObject
    "content-type",
    "content-language",
    "expires",
    "cache-control",
    "content-disposition",
    "content-encoding",
)


def attributes_of(request: S3Request) -> Attributes:
    """What a PutObject, CopyObject or CreateMultipartUpload request says of the new object."""
    _refuse_what_would_be_a_lie(request.headers)
    headers = {name: value for name in _KEPT_HEADERS if (value := request.header(name))}
    encoding = _without_aws_chunked(headers.pop("content-encoding", ""))
    if encoding:
        headers["content-encoding"] = encoding
    storage_class = headers.get("x-amz-storage-class", "STANDARD")
    if storage_class not in _STORAGE_CLASSES:
        raise ServiceError("InvalidStorageClass", "The storage class you specified is not valid")
    if storage_class == "STANDARD":
        headers.pop("x-amz-storage-class", None)
    return Attributes(
        content_type=request.header("content-type") or DEFAULT_CONTENT_TYPE,
        metadata=_metadata(request.headers),
        headers=headers,
        tags=_header_tags(request.header("x-amz-tagging")),
    )


def _refuse_what_would_be_a_lie(headers: Mapping[str, str]) -> None:
    """Encryption with the client's key and locks are promises that plain files do not keep."""
    for name in headers:
        if name.startswith("x-amz-server-side-encryption-customer-"):
            raise not_implemented("Server-side encryption with customer-provided keys (SSE-C)")
        if name.startswith("x-amz-object-lock-"):
            raise not_implemented("Object Lock")
    if "x-amz-write-offset-bytes" in headers:
        raise not_implemented("Appending to an object (x-amz-write-offset-bytes)")


def _without_aws_chunked(encoding: str) -> str:
    names = [name.strip() for name in encoding.split(",")]
    return ",".join(name for name in names if name and name.lower() != "aws-chunked")


def _metadata(headers: Mapping[str, str]) -> dict[str, str]:
    metadata = {
        name[len(_META) :]: _utf8(value)
        for name, value in headers.items()
        if name.startswith(_META)
    }
    size = sum(len(name) + len(value.encode()) for name, value in metadata.items())
    if size > _MAX_METADATA_BYTES:
        raise ServiceError(
            "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size"
        )
    return metadata


def _utf8(value: str) -> str:
    """A header value comes as Latin-1; S3 reads it as UTF-8."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _header_tags(text: str | None) -> dict[str, str]:
    if text is None:
        return {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=100)
    except ValueError as error:
        raise ServiceError(
            "InvalidArgument",
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query"
            " parameters without tag name duplicates.",
        ) from error
    return checked_tags(pairs, limit=_MAX_TAGS)


def checked_tags(pairs: list[tuple[str, str]], *, limit: int) -> dict[str, str]:
    tags = dict(pairs)
    if len(tags) != len(pairs):
        raise ServiceError("InvalidTag", "Cannot provide multiple Tags with the same key")
    if len(tags) > limit:
        raise ServiceError("BadRequest", f"Tags cannot be greater than {limit}")
    for key, value in tags.items():
        if not 0 < len(key) <= _MAX_TAG_KEY:
            raise ServiceError("InvalidTag", "The TagKey you have provided is invalid")
        if len(value) > _MAX_TAG_VALUE:
            raise ServiceError("InvalidTag", "The TagValue you have provided is invalid")
    return tags


# --- Back ---


def version_headers(stored: StoredObject, versioned: bool) -> dict[str, str]:
    return {"x-amz-version-id": stored.version_id} if versioned else {}


def encryption_headers(attributes: Attributes) -> dict[str, str]:
    return {
        name: value
        for name, value in attributes.headers.items()
        if name.startswith("x-amz-server-side-encryption")
    }


def checksum_headers(attributes: Attributes) -> dict[str, str]:
    headers = {
        f"{PREFIX}{algorithm.lower()}": value for algorithm, value in attributes.checksums.items()
    }
    if headers and attributes.checksum_type:
        headers["x-amz-checksum-type"] = attributes.checksum_type
    return headers


def object_headers(request: S3Request, stored: StoredObject, versioned: bool) -> dict[str, str]:
    """The head of an answer to GetObject and HeadObject, but for length and range."""
    attributes = stored.attributes
    headers = {
        "ETag": quoted(stored.etag),
        "Last-Modified": http_moment(stored.last_modified),
        "Accept-Ranges": "bytes",
        "Content-Type": attributes.content_type,
        **attributes.headers,
        **{f"{_META}{name}": _header_text(text) for name, text in attributes.metadata.items()},
        **version_headers(stored, versioned),
    }
    if attributes.tags:
        headers["x-amz-tagging-count"] = str(len(attributes.tags))
    # Checksums are those of the whole object: not to be compared with a part of it.
    is_whole = "range" not in request.headers and "partNumber" not in request.query
    if request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED" and is_whole:
        headers |= checksum_headers(attributes)
    return headers | _overrides(request)


def _overrides(request: S3Request) -> dict[str, str]:
    found = {}
    for name in _OVERRIDES:
        value = request.query.get(f"response-{name}")
        if value is not None:
            if any(ord(character) < 32 for character in value):
                raise ServiceError("InvalidArgument", f"response-{name} has a control character")
            found["Content-Type" if name == "content-type" else name] = _header_text(value)
    return found


def _header_text(text: str) -> str:
    """Text that is not ASCII goes as RFC 2047 says, as S3 answers it."""
    if text.isascii():
        return text
    return f"=?UTF-8?B?{base64.b64encode(text.encode()).decode()}?="


def no_content(headers: Mapping[str, str] | None = None) -> Response:
    return Response(204, headers or {})
