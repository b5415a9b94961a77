"""Operations on one object."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from mlops.errors import InvalidKey, NoSuchKey, ServiceError
from mlops.gateway.s3.answers import (
    OWNER_ID,
    FileBody,
    Nodes,
    Response,
    S3Error,
    as_service_error,
    joined,
    owner,
    quoted,
    xml,
    xml_response,
)
from mlops.gateway.s3.attributes import (
    attributes_of,
    checked_tags,
    checksum_headers,
    encryption_headers,
    no_content,
    object_headers,
    version_headers,
)
from mlops.gateway.s3.checksums import Verifier, checked_algorithm, new_digest
from mlops.gateway.s3.conditions import check_read, range_of, write_conditions
from mlops.gateway.s3.request import S3Request, malformed_xml, required_text, text_of
from mlops.stores.objects.keys import check_bucket, check_key
from mlops.stores.objects.model import Attributes, OpenedObject, StoredObject
from mlops.stores.objects.staging import StagedFile
from mlops.stores.objects.store import FileObjectStore

_MAX_DELETE = 1000  # API reference, DeleteObjects
_MAX_OBJECT_TAGS = 10


def is_versioned(store: FileObjectStore, bucket: str) -> bool:
    return store.versioning(bucket) is not None


# --- Writing ---


def put_object(store: FileObjectStore, request: S3Request) -> Response:
    bucket, key = request.target()
    attributes = attributes_of(request)
    conditions = write_conditions(request.headers)
    check_key(key)
    store.require_bucket(bucket)
    staged, checksums = receive(store, request)
    with staged:
        attributes = replace(
            attributes,
            checksums=checksums,
            checksum_type="FULL_OBJECT" if checksums else None,
        )
        stored = store.publish(bucket, key, staged, attributes, conditions=conditions)
    headers = {
        "ETag": quoted(stored.etag),
        **checksum_headers(attributes),
        **encryption_headers(attributes),
        **version_headers(stored, is_versioned(store, bucket)),
    }
    return Response(200, headers)


def receive(store: FileObjectStore, request: S3Request) -> tuple[StagedFile, dict[str, str]]:
    """Stream the body into a staged file, for the caller to enter; and its verified checksums."""
    if not request.body.is_announced:
        raise ServiceError(
            "MissingContentLength", "You must provide the Content-Length HTTP header.", status=411
        )
    verifier = Verifier(request.headers)
    staged = store.stage(*verifier.digests)
    try:
        for piece in request.body:
            staged.write(piece)
        return staged, verifier.check(staged.md5, request.body)
    except BaseException:
        staged.remove()
        raise


def copy_object(store: FileObjectStore, request: S3Request) -> Response:
    bucket, key = request.target()
    store.require_bucket(bucket)
    conditions = write_conditions(request.headers)
    opened = open_source(store, request)
    with opened.file:
        source = opened.object
        attributes = _copied_attributes(request, source)
        if (source.bucket, source.key) == (bucket, key) and not _changes(request):
            raise ServiceError(
                "InvalidRequest",
                "This copy request is illegal because it is trying to copy an object to itself"
                " without changing the object's metadata, storage class, website redirect"
                " location or encryption attributes.",
            )
        staged, etag, attributes = _copy_content(store, request, opened, attributes)
        with staged:
            stored = store.publish(
                bucket, key, staged, attributes, etag=etag, conditions=conditions
            )
    nodes: Nodes = [("ETag", quoted(etag)), ("LastModified", stored.last_modified)]
    headers = {
        **encryption_headers(attributes),
        **version_headers(stored, is_versioned(store, bucket)),
        **source_headers(store, source),
    }
    return xml_response(
        "CopyObjectResult", joined(nodes, checksum_nodes(attributes)), headers=headers
    )


def open_source(store: FileObjectStore, request: S3Request) -> OpenedObject:
    """The object of x-amz-copy-source, when its conditions hold; the caller closes the file."""
    bucket, key, version_id = _source_of(request.headers["x-amz-copy-source"])
    try:
        opened = store.open_object(bucket, key, version_id=version_id)
    except InvalidKey as error:
        raise ServiceError("InvalidArgument", f"Invalid copy source: {error}") from error
    try:
        check_read(request.headers, opened.object, prefix="x-amz-copy-source-")
    except BaseException:
        opened.file.close()
        raise
    return opened


def _source_of(header: str) -> tuple[str, str, str | None]:
    path, _, version = header.partition("?versionId=")
    try:
        text = unquote(path, errors="strict").removeprefix("/")
        bucket, _, key = text.partition("/")
        return check_bucket(bucket), check_key(key), unquote(version) or None
    except (UnicodeDecodeError, InvalidKey) as error:
        raise ServiceError(
            "InvalidArgument", "Copy Source must mention the source bucket and key"
        ) from error


def source_headers(store: FileObjectStore, source: StoredObject) -> dict[str, str]:
    if not is_versioned(store, source.bucket):
        return {}
    return {"x-amz-copy-source-version-id": source.version_id}


def _is_replacing(request: S3Request, what: str) -> bool:
    directive = request.headers.get(f"x-amz-{what}-directive", "COPY").upper()
    if directive not in ("COPY", "REPLACE"):
        raise ServiceError("InvalidArgument", f"Unknown {what} directive.")
    return directive == "REPLACE"


def _changes(request: S3Request) -> bool:
    changing = ("x-amz-storage-class", "x-amz-website-redirect-location")
    return (
        _is_replacing(request, "metadata")
        or any(name in request.headers for name in changing)
        or any(name.startswith("x-amz-server-side-encryption") for name in request.headers)
        or "versionId=" in request.headers["x-amz-copy-source"]
    )


def _copied_attributes(request: S3Request, source: StoredObject) -> Attributes:
    """CopyObject: metadata and tags are copied or replaced, class and encryption never copied."""
    asked = attributes_of(request)
    tags = asked.tags if _is_replacing(request, "tagging") else source.attributes.tags
    if _is_replacing(request, "metadata"):
        return replace(asked, tags=tags)
    kept = {
        name: value
        for name, value in source.attributes.headers.items()
        if not name.startswith("x-amz-")
    }
    own = {name: value for name, value in asked.headers.items() if name.startswith("x-amz-")}
    return Attributes(
        content_type=source.attributes.content_type,
        metadata=source.attributes.metadata,
        headers=kept | own,
        tags=tags,
    )


def _copy_content(
    store: FileObjectStore, request: S3Request, opened: OpenedObject, attributes: Attributes
) -> tuple[StagedFile, str, Attributes]:
    """Copy the bytes, inside the kernel where ETag and checksum are known already."""
    source = opened.object
    known = source.attributes.checksums if source.attributes.checksum_type != "COMPOSITE" else {}
    algorithm = checked_algorithm(request.header("x-amz-checksum-algorithm"))
    wanted = algorithm or next(iter(source.attributes.checksums), None)
    digest = None if wanted in known else new_digest(wanted)
    staged = store.stage(*([digest] if digest else []))
    try:
        if digest is None and "-" not in source.etag:
            staged.copy_unseen(opened.file)
            etag = source.etag
        else:
            staged.copy_from(opened.file)
            etag = staged.md5
    except BaseException:
        staged.remove()
        raise
    checksums = dict(known) if wanted in known else {}
    if digest is not None and wanted is not None:
        checksums = {wanted: base64.b64encode(digest.digest()).decode()}
    kind = "FULL_OBJECT" if checksums else None
    return staged, etag, replace(attributes, checksums=checksums, checksum_type=kind)


def checksum_nodes(attributes: Attributes) -> Nodes:
    nodes: Nodes = [(f"Checksum{name}", value) for name, value in attributes.checksums.items()]
    return [*nodes, ("ChecksumType", attributes.checksum_type)] if nodes else []


def delete_object(store: FileObjectStore, request: S3Request) -> Response:
    bucket, key = request.target()
    deletion = store.delete_object(
        bucket,
        key,
        version_id=request.version_id,
        if_match=write_conditions(request.headers).if_match,
    )
    headers = {}
    if deletion.version_id is not None and is_versioned(store, bucket):
        headers["x-amz-version-id"] = deletion.version_id
    if deletion.is_marker:
        headers["x-amz-delete-marker"] = "true"
    return no_content(headers)


def delete_objects(store: FileObjectStore, request: S3Request) -> Response:
    bucket = request.in_bucket()
    store.require_bucket(bucket)
    document = request.xml("Delete")
    wanted = document.findall("Object")
    if not 0 < len(wanted) <= _MAX_DELETE:
        raise malformed_xml()
    is_quiet = (text_of(document, "Quiet") or "").strip().lower() == "true"
    results = [_delete_one(store, bucket, element) for element in wanted]
    nodes: Nodes = [node for node in results if not (is_quiet and node[0] == "Deleted")]
    return xml_response("DeleteResult", nodes)


def _delete_one(store: FileObjectStore, bucket: str, element: ET.Element) -> tuple[str, Nodes]:
    key, version_id = required_text(element, "Key"), text_of(element, "VersionId") or None
    etag = text_of(element, "ETag")
    try:
        deletion = store.delete_object(
            bucket, key, version_id=version_id, if_match=etag.strip('"') if etag else None
        )
    except (InvalidKey, ServiceError) as error:
        answer = as_service_error(error)
        return "Error", [
            ("Key", key),
            ("VersionId", version_id),
            ("Code", answer.code),
            ("Message", str(answer)),
        ]
    made_marker = deletion.is_marker and version_id is None
    return "Deleted", [
        ("Key", key),
        ("VersionId", version_id),
        ("DeleteMarker", True if deletion.is_marker else None),
        ("DeleteMarkerVersionId", deletion.version_id if made_marker else version_id)
        if deletion.is_marker
        else ("DeleteMarkerVersionId", None),
    ]


# --- Reading ---


def get_object(store: FileObjectStore, request: S3Request) -> Response:
    opened = _open(store, request)
    try:
        return _answer(store, request, opened)
    except BaseException:
        opened.file.close()
        raise


def head_object(store: FileObjectStore, request: S3Request) -> Response:
    """The head of what GetObject would answer; the face leaves the body out."""
    return get_object(store, request)


def _open(store: FileObjectStore, request: S3Request) -> OpenedObject:
    bucket, key = request.target()
    try:
        return store.open_object(bucket, key, version_id=request.version_id)
    except NoSuchKey as error:
        marker = store.latest_marker(bucket, key) if is_versioned(store, bucket) else None
        if marker is None:
            raise
        headers = {"x-amz-delete-marker": "true", "x-amz-version-id": marker.version_id}
        answer = as_service_error(error)
        raise S3Error(answer.code, str(answer), status=404, headers=headers) from error
    except ServiceError as error:
        if error.code != "MethodNotAllowed":
            raise
        headers = {"x-amz-delete-marker": "true", "Allow": "DELETE"}
        raise S3Error(error.code, str(error), status=405, headers=headers) from error


def _answer(store: FileObjectStore, request: S3Request, opened: OpenedObject) -> Response:
    stored = opened.object
    headers = object_headers(request, stored, is_versioned(store, stored.bucket))
    if not check_read(request.headers, stored):
        opened.file.close()
        return Response(304, {name: headers[name] for name in ("ETag", "Last-Modified")})
    span, part_headers = _span(request, stored)
    headers |= part_headers
    if span is None:
        return Response(200, headers, FileBody(opened.file, 0, stored.size))
    first, last = span
    if stored.size:
        headers["Content-Range"] = f"bytes {first}-{last}/{stored.size}"
    return Response(206, headers, FileBody(opened.file, first, last - first + 1))


def _span(
    request: S3Request, stored: StoredObject
) -> tuple[tuple[int, int] | None, dict[str, str]]:
    """First and last byte to send, by Range or by partNumber."""
    number = request.number("partNumber", 0, lowest=1, highest=10_000)
    if not number:
        return range_of(request.headers, stored), {}
    if "range" in request.headers:
        raise ServiceError(
            "InvalidRequest", "Cannot specify both Range header and partNumber query parameter"
        )
    sizes = stored.attributes.part_sizes or (stored.size,)
    if number > len(sizes):
        raise ServiceError(
            "InvalidPartNumber", "The requested partnumber is not satisfiable", status=416
        )
    start = sum(sizes[: number - 1])
    counted = {"x-amz-mp-parts-count": str(len(sizes))} if stored.attributes.part_sizes else {}
    return (start, start + sizes[number - 1] - 1), counted


def get_object_attributes(store: FileObjectStore, request: S3Request) -> Response:
    stored = head_of(store, request)
    wanted = {
        name.strip() for name in request.headers.get("x-amz-object-attributes", "").split(",")
    } - {""}
    if not wanted:
        raise ServiceError("InvalidArgument", "The x-amz-object-attributes header is missing")
    attributes = stored.attributes
    known: dict[str, Nodes] = {
        "ETag": [("ETag", stored.etag)],
        "Checksum": [("Checksum", checksum_nodes(attributes))] if attributes.checksums else [],
        "ObjectParts": _parts_nodes(attributes),
        "StorageClass": [("StorageClass", storage_class(stored))],
        "ObjectSize": [("ObjectSize", stored.size)],
    }
    if not wanted <= set(known):
        raise ServiceError("InvalidArgument", "Invalid attribute name specified.")
    nodes = joined(*(known[name] for name in known if name in wanted))
    headers = {
        "Last-Modified": object_headers(request, stored, False)["Last-Modified"],
        **version_headers(stored, is_versioned(store, stored.bucket)),
    }
    return xml_response("GetObjectAttributesResponse", nodes, headers=headers)


def _parts_nodes(attributes: Attributes) -> Nodes:
    if not attributes.part_sizes:
        return []
    return [("ObjectParts", [("PartsCount", len(attributes.part_sizes)), ("IsTruncated", False)])]


def storage_class(stored: StoredObject) -> str:
    return stored.attributes.headers.get("x-amz-storage-class", "STANDARD")


def head_of(store: FileObjectStore, request: S3Request) -> StoredObject:
    opened = _open(store, request)
    opened.file.close()
    return opened.object


# --- Tags and access control ---


def get_object_tagging(store: FileObjectStore, request: S3Request) -> Response:
    stored = head_of(store, request)
    headers = version_headers(stored, is_versioned(store, stored.bucket))
    return xml_response("Tagging", tag_nodes(stored.attributes.tags), headers=headers)


def put_object_tagging(store: FileObjectStore, request: S3Request) -> Response:
    tags = checked_tags(tag_pairs(request.xml("Tagging")), limit=_MAX_OBJECT_TAGS)
    stored = store.set_tags(*request.target(), tags, version_id=request.version_id)
    return Response(200, version_headers(stored, is_versioned(store, stored.bucket)))


def delete_object_tagging(store: FileObjectStore, request: S3Request) -> Response:
    stored = store.set_tags(*request.target(), {}, version_id=request.version_id)
    return no_content(version_headers(stored, is_versioned(store, stored.bucket)))


def tag_pairs(document: ET.Element) -> list[tuple[str, str]]:
    tag_set = document.find("TagSet")
    if tag_set is None:
        raise malformed_xml()
    return [(required_text(tag, "Key"), required_text(tag, "Value")) for tag in tag_set]


def tag_nodes(tags: Mapping[str, str]) -> Nodes:
    rows: Nodes = [("Tag", [("Key", key), ("Value", value)]) for key, value in tags.items()]
    return [("TagSet", rows)]


def get_object_acl(store: FileObjectStore, request: S3Request) -> Response:
    head_of(store, request)
    return owner_has_all()


def put_object_acl(store: FileObjectStore, request: S3Request) -> Response:
    head_of(store, request)
    return accept_private_acl(request)


def owner_has_all() -> Response:
    """The access control of every new bucket: its owner's, and nobody else's."""
    grantee = (
        f'<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        f' xsi:type="CanonicalUser"><ID>{OWNER_ID}</ID><DisplayName>mlops</DisplayName></Grantee>'
    )
    body = xml("AccessControlPolicy", [owner(), ("AccessControlList", [("Grant", [])])])
    grant = f"<Grant>{grantee}<Permission>FULL_CONTROL</Permission></Grant>"
    return Response(
        200,
        {"Content-Type": "application/xml"},
        body.replace(b"<Grant></Grant>", grant.encode()),
    )


def accept_private_acl(request: S3Request) -> Response:
    """Buckets are made with "bucket owner enforced", as S3 does: access control lists are off."""
    canned = request.headers.get("x-amz-acl")
    if canned in ("private", "bucket-owner-full-control"):
        return Response(200)
    raise ServiceError("AccessControlListNotSupported", "The bucket does not allow ACLs")
